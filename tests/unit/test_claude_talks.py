"""What is read from a conversation that Claude Code keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envmgr.assistants import claude_talks
from envmgr.model.handoff import Talk
from tests.support.requirements import proves

TALK = "0f0f0f0f-0000-4000-8000-000000000000"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "projects" / "-repo").mkdir(parents=True)
    return {"CLAUDE_CONFIG_DIR": str(tmp_path)}


def keep(env: dict[str, str], *entries: object) -> None:
    file = Path(env["CLAUDE_CONFIG_DIR"], "projects", "-repo", f"{TALK}.jsonl")
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def user(content: object, **more: object) -> object:
    return {"type": "user", "message": {"role": "user", "content": content}, **more}


def answer(*blocks: object, **more: object) -> object:
    return {"type": "assistant", "message": {"role": "assistant", "content": list(blocks)}, **more}


def uses(name: str, **given: object) -> object:
    return {"type": "tool_use", "name": name, "input": given}


@proves("HAND-003")
def test_prompts_answers_todos_and_changed_files_are_read(env: dict[str, str]) -> None:
    todos = [
        {"content": "parse", "status": "completed"},
        {"content": "render", "status": "in_progress"},
        {"content": "document", "status": "pending"},
    ]
    keep(
        env,
        user("Build a parser"),
        answer({"type": "text", "text": "I begin."}, uses("TodoWrite", todos=[])),
        user([{"type": "tool_result", "content": "ok"}]),
        answer(
            uses("Edit", file_path="/w/a.py"), uses("Bash", command="ls"), uses("Write", file_path="/w/b.py")
        ),
        answer({"type": "text", "text": "of a subagent"}, isSidechain=True),
        user("caveat", isMeta=True),
        user([{"type": "text", "text": "Also render"}]),
        answer(uses("TodoWrite", todos=todos), {"type": "text", "text": "Half done."}),
    )

    assert claude_talks.tail(env, TALK) == Talk(
        asked=("Build a parser", "Also render"),
        said=("I begin.", "Half done."),
        done=("parse",),
        doing=("render",),
        planned=("document",),
        files=("/w/b.py", "/w/a.py"),
    )


@proves("HAND-003")
@pytest.mark.parametrize(
    "entry",
    ["", "{", "[]", "null", '{"message": 3}', {"message": {}}, {"type": "user", "message": {"content": 3}}, {"type": "user", "message": {"content": [None, 3, {}]}},
     answer(uses("TodoWrite", todos="x")), answer(uses("Edit", file_path=3)), answer(uses("TodoWrite", todos=[1]))],
)  # fmt: skip
def test_lines_of_another_form_are_passed_over(env: dict[str, str], entry: object) -> None:
    keep(env, entry, user("still read"))

    assert claude_talks.tail(env, TALK).asked == ("still read",)


@proves("HAND-003")
def test_of_a_long_conversation_the_end_is_read(env: dict[str, str]) -> None:
    keep(env, *(user(f"{number} {'x' * 1000}") for number in range(3000)), user("last"))

    assert claude_talks.tail(env, TALK).asked[-1] == "last"
    assert claude_talks.tail(env, "none") == Talk()
