"""What MCP offers, as data: small, plain, and true to its own words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, Field

from envmgr.app import skill_pack
from envmgr.app.briefs import brief
from envmgr.app.faces import FROM_MCP
from envmgr.app.operations import Operation
from envmgr.app.registry import OPERATIONS
from envmgr.app.saying import said
from envmgr.app.shapes import Ask, View, option, supplied
from envmgr.app.tools import gives, names, offered, takes, tool
from envmgr.app.topics import TOPICS
from envmgr.app.views import Done
from envmgr.errors import NotFound, UsageError
from envmgr.interfaces.mcp import catalogue, prompts, serving
from envmgr.interfaces.mcp.bridge import asking
from envmgr.interfaces.mcp.catalogue import RESOURCES, Choice, Tool
from tests.support.requirements import proves

# Any throughout: JSON documents.
COMPACT = """acquire_lock release_lock check_locks why_lock submit_work get_work get_task heartbeat_task complete_work fail_work
    why_task list_tasks write_handoff read_handoff register_session heartbeat discover_agents remember recall query_audit
    recent_changes help"""
# A token is some four characters of such text.
MOST_CHARS = 30_000


@proves("MCP-002")
def test_the_compact_set_is_the_one_that_was_promised_and_costs_little_context() -> None:
    shown = catalogue.chosen(Choice.COMPACT)

    listed = [serving.listed(tool, supplies=True, is_brief=True) for tool in shown.values()]
    cost = sum(len(one.model_dump_json(by_alias=True, exclude_none=True)) for one in listed)
    assert sorted(shown) == sorted(COMPACT.split())
    assert cost < MOST_CHARS


@proves("MCP-002")
def test_what_is_shown_in_brief_still_names_every_part_of_a_result() -> None:
    locks = catalogue.outline(catalogue.everything()["check_locks"].output)

    item = locks["properties"]["locks"]["items"]
    assert item["type"] == "object"
    assert {"target", "holder", "token", "mode"} <= set(item["description"].split(", "))
    assert "$defs" not in json.dumps(locks)


@proves("MCP-001")
def test_every_operation_is_a_tool_of_its_own_or_withheld_with_a_reason() -> None:
    tools = catalogue.everything()

    assert {t.operation for t in tools.values()} | set(FROM_MCP) == set(OPERATIONS)
    assert not {t.operation for t in tools.values()} & set(FROM_MCP)
    assert len({op.tool for op in OPERATIONS.values()}) == len(OPERATIONS)
    # What Claude Code makes of it, mcp__envmgr__NAME, may have 64 characters.
    assert [name for name in tools if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", name)] == []


def _nodes(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for value in node for found in _nodes(value)]
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in _nodes(value))]
    return []


@proves("MCP-001")
@pytest.mark.parametrize("op", offered(), ids=lambda op: op.name)
def test_schemas_are_objects_that_every_provider_of_models_understands(op: Operation) -> None:
    asked, given = takes(op), gives(op)

    assert asked["type"] == given["type"] == "object"
    assert [node for node in _nodes(asked) if "$ref" in node or node.get("type") == "null"] == []
    undescribed = [name for name, field in asked["properties"].items() if not field.get("description")]
    assert undescribed == []


class Inner(BaseModel):
    """A part."""

    size: int | None = Field(default=None, description="How big", le=5)


class Sample(Ask):
    """What a sample takes."""

    task: str = Field(description="Which", validation_alias=AliasChoices("task", "task_id"))
    title: str = option("Its title", default="")
    count: int = option("How many", default=3)
    parts: list[Inner] = Field(default=[], description="Its parts")
    repo: str = supplied("Folder inside the repository", "cwd", default="")
    environment: dict[str, str] = supplied("Variables", "environment", default={})


class Result(View):
    """What a sample gives."""

    ok: bool = True
    found: list[str] = []


def sample(**more: Any) -> Operation:
    async def handler(ask: Sample, app: Any) -> Result:
        raise NotImplementedError

    given: dict[str, Any] = {
        "name": "sample.do", "summary": "Do.", "doc": "Do.", "takes": Sample, "gives": Result, "touch": OPERATIONS["down"].touch,
        "route": ("POST", "/api/v1/samples/{task}"), "command": (), "stream": False, "is_local": False, "handler": handler,
        "text": lambda result, style: "done\n", "status": lambda result: 0, "scope": "read", "tool": "do_sample",
    }  # fmt: skip
    return Operation(**given | more)


@proves("MCP-001")
def test_arguments_are_told_plainly_and_what_only_a_command_line_has_is_not() -> None:
    schema = takes(sample())

    assert schema["properties"] == {
        "task": {"type": "string", "description": "Which"},
        "title": {"type": "string", "description": "Its title"},
        "count": {"type": "integer", "description": "How many", "default": 3},
        "parts": {
            "type": "array",
            "description": "Its parts",
            "items": {
                "type": "object",
                "description": "A part.",
                "properties": {"size": {"type": "integer", "description": "How big", "maximum": 5}},
            },
        },
        "repo": {"type": "string", "description": "Folder inside the repository"},
    }
    assert schema["required"] == ["task"]
    assert names("task", Sample.model_fields["task"]) == ["task", "task_id"]


@proves("MCP-008")
def test_what_a_stream_gives_is_promised_as_a_collection() -> None:
    schema = gives(sample(stream=True))

    assert set(schema["properties"]) == {"items", "is_complete"}
    assert schema["properties"]["items"]["items"]["properties"]["ok"]["type"] == "boolean"


@proves("MCP-001")
def test_a_call_becomes_a_request_with_all_that_the_bridge_knows_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Tool(**tool(sample()))
    looked = Tool(**tool(sample(route=("GET", "/api/v1/samples"), takes=Sample)))

    method, path, body = asking(made, {"task_id": "a/b", "count": 2, "title": None})
    _, query, nothing = asking(looked, {"task": "a b", "parts": ["x", "y"], "environment": {}})

    assert (method, path) == ("POST", "/api/v1/samples/a%2Fb")
    assert body is not None
    assert (body["count"], body["repo"], "title" in body) == (2, str(tmp_path), False)
    assert query.startswith("/api/v1/samples?task=a+b&parts=x&parts=y&repo=")
    assert nothing is None
    with pytest.raises(UsageError, match="task is missing"):
        asking(made, {"task": ""})


@proves("MCP-001")
@pytest.mark.parametrize(
    ("shown", "result", "line"),
    [
        ("all well\n", Result(), "all well"),
        ("NAME\na\nb\n", Result(found=["a", "b"]), "found: 2"),
        ("one\ntwo\n", Done(message="x"), "one"),
        ("", Done(message="x"), "sample.do: done"),
    ],
)
def test_a_result_is_said_in_one_line(shown: str, result: View, line: str) -> None:
    assert said(sample(text=lambda given, style: shown), result) == line


@proves("MCP-001")
def test_a_result_of_the_coordination_is_said_by_what_it_is_about() -> None:
    lock = {"target": "src/a.py", "token": 3, "mode": "write", "holder": "ann", "holder_id": "ann001", "left_s": 720, "expires_at": "", "ttl_s": 900, "renew_after_s": 300}  # fmt: skip
    claim = {"ok": True, "success": True, "task_id": "t-000001", "task_type": "fix", "description": "Fix login\nSoon.", "priority": 5,
             "lease_token": 7, "lease_expires_at": "2026-11-20T18:00:00Z", "attempt": 1, "locks": ["src/a.py"]}  # fmt: skip
    memory = {"memory_id": "m-000002", "event_type": "discovery", "summary": "Port 5432 is taken", "outcome": "", "importance": 0.5,
              "agent": "ann", "agent_id": "ann001", "created_at": "", "age_days": 1}  # fmt: skip
    for name, result, line in [
        ("lock.list", {"locks": [lock], "waiting": []}, "1 lock: src/a.py by ann (write, 12m left)"),
        (
            "task.claim",
            claim,
            "took t-000001 (fix, priority 5, attempt 1): Fix login; lease_token 7, until 2026-11-20T18:00:00Z; locked src/a.py",
        ),
        ("memory.recall", {"memories": [memory], "text": "x"}, "m-000002 Port 5432 is taken"),
        ("memory.recall", {"memories": [], "text": ""}, "nothing is known about that"),
    ]:
        op = OPERATIONS[name]
        assert said(op, op.gives.model_validate(result)) == line


@proves("MCP-001")
def test_no_tool_of_the_compact_set_is_said_by_a_mere_count() -> None:
    """Each result of several lines has words of its own."""
    lists = {
        op.tool for op in offered() if op.is_compact and brief.dispatch(op.gives) is brief.dispatch(BaseModel)
    }

    assert lists == {
        "submit_work", "heartbeat_task", "complete_work", "fail_work", "write_handoff", "register_session",
    }  # fmt: skip


# --- words ----------------------------------------------------------------------------------------------------------

_TOOL = re.compile(r"`([a-z]+(?:_[a-z]+)+|remember|recall|heartbeat|help)`")
# Fields and values that have the form of a tool's name.
_NO_TOOLS = {
    "file_path",
    "depends_on",
    "lease_token",
    "token_budget",
    "wait_s",
    "stale_lease",
    "locked_by_other",
}


def _mentioned(text: str) -> set[str]:
    return set(_TOOL.findall(text)) - _NO_TOOLS


@proves("SKILL-003")
def test_skill_prompts_help_and_instructions_name_only_tools_that_are_shown() -> None:
    texts = {
        "skill": skill_pack.BODY,
        "instructions": serving.INSTRUCTIONS,
        **{name: prompt.text for name, prompt in prompts.PROMPTS.items()},
        **{name: text for name, (_, text) in TOPICS.items()},
    }

    shown = set(catalogue.chosen(Choice.COMPACT))
    unknown = {name: sorted(_mentioned(text) - shown) for name, text in texts.items()}

    assert {name: tools for name, tools in unknown.items() if tools} == {}
    assert len(_mentioned(skill_pack.BODY)) > 10


@proves("MCP-003")
def test_every_resource_is_the_result_of_a_tool_with_arguments_that_it_takes() -> None:
    tools = catalogue.everything()

    wrong = {
        r.uri: r.tool
        for r in RESOURCES
        if r.tool not in tools or not set(r.arguments) <= set(tools[r.tool].input["properties"])
    }

    assert wrong == {}
    assert [r.uri for r in RESOURCES if tools[r.tool].touch != "read"] == []


@proves("MCP-003")
def test_a_prompt_leaves_out_what_was_not_told_and_takes_nothing_else() -> None:
    full = prompts.render("coordinate_file_edit", {"file_path": "a{b}.py", "task": "{file_path}"})
    short = prompts.render("coordinate_file_edit", {"file_path": "a.py"})

    assert 'targets ["a{b}.py"]' in full
    assert "What to do: {file_path}" in full
    assert "What to do" not in short
    for name, arguments, words in [
        ("nothing", {}, "no prompt is called 'nothing'"),
        ("coordinate_file_edit", {}, "file_path is missing"),
        ("hand_over", {"colour": "red"}, "colour is unknown"),
        ("hand_over", {"summary": "x" * 2001}, "longer than 2000 characters"),
    ]:
        with pytest.raises((NotFound, UsageError), match=words):
            prompts.render(name, arguments)


@proves("MCP-002")
def test_a_tool_that_is_not_shown_is_named_with_the_way_to_it() -> None:
    for name, hint in [
        ("agent_rm", "--tools all"),
        ("aquire_lock", "acquire_lock"),
        ("zzz", "List the tools"),
        ("check_guardrails", "nobody has looked"),
        ("get_my_profile", "profiles://current"),
    ]:
        with pytest.raises(UsageError) as refused:
            catalogue.find(name, Choice.COMPACT)
        assert hint in refused.value.hint
    assert catalogue.find("agent_rm", Choice.ALL).operation == "agent.rm"
    with pytest.raises(UsageError, match="no set of tools is called 'some'"):
        catalogue.choice_of("some")
