"""One registry, many faces: nothing is offered that is not declared, and nothing declared is lost on the way."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from pydantic import Field

from envmgr.app.aliases import aliases
from envmgr.app.context import App
from envmgr.app.examples import EXAMPLES
from envmgr.app.faces import FROM_CLI, FROM_HTTP
from envmgr.app.manifest import manifest, params, served
from envmgr.app.openapi import openapi
from envmgr.app.operations import Operation, operation, parse
from envmgr.app.registry import OPERATIONS
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.app.views import Done
from envmgr.config.settings import Settings
from envmgr.config.source import TemplateFiles
from envmgr.drivers.docker import DockerEngine
from envmgr.errors import UsageError
from envmgr.interfaces.cli import generate
from envmgr.interfaces.cli.main import manifest as installed
from envmgr.interfaces.cli.main import root
from envmgr.interfaces.http.server import application
from envmgr.model.ids import InstanceId
from tests.support.requirements import proves

# Any throughout: JSON documents.

COMMANDS = """spawn ls show why health events logs attach send exec env url stop start rm undo snapshot snapshots archive fork down doctor init
    audit key plan apply drift restart scale template audit-resources reap maintain daemon version incidents recover safe-mode capacity mcp
    help skills memory discover task handoff session bridge whoami lock changes"""
EACH = pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)


@pytest.fixture
def app(tmp_path: Path) -> App:
    """One without a daemon's supervisor."""
    templates = TemplateFiles(Settings())
    engine = DockerEngine(instance=InstanceId("test"))
    return App(
        state_dir=tmp_path, worktree_root=tmp_path, version="1.2.3", templates=templates, engine=engine
    )


# --- the command line --------------------------------------------------------------------------------------------


@proves("OPS-001")
def test_the_commands_are_the_ones_that_were_promised() -> None:
    assert sorted(root().commands) == sorted(COMMANDS.split())


@proves("OPS-001")
@EACH
def test_an_operation_with_a_command_is_in_the_manifest_with_all_a_person_can_give(op: Operation) -> None:
    entries = [entry for entry in installed() if entry["name"] == op.name]

    assert bool(op.command) == (op.name not in FROM_CLI), "give it a command, or the reason in app/faces.py"
    if not op.command:
        assert entries == []
        return
    (entry,) = entries
    assert entry["command"] == list(op.command)
    assert (entry["method"], entry["path"]) == op.route
    assert (entry["summary"], entry["touch"]) == (op.summary, op.touch.value)
    assert (entry["stream"], entry["local"]) == (op.stream, op.is_local)
    assert entry["params"] == params(op.takes)


@proves("OPS-001")
def test_the_generated_files_are_fresh() -> None:
    stale = [
        str(path)
        for path, text in generate.documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]

    assert stale == [], "run: python -m envmgr.interfaces.cli.generate"


@proves("OPS-001")
def test_every_command_is_in_the_help_that_is_printed_without_building_it() -> None:
    text = (Path(generate.__file__).parent / "help.txt").read_text(encoding="utf-8")

    assert [name for name in COMMANDS.split() if not re.search(rf"^  {name} ", text, re.MULTILINE)] == []


def _commands(
    group: click.Group, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


@proves("OPS-001")
def test_every_command_takes_json_and_every_destroying_one_asks_for_a_yes() -> None:
    found = {words: {o for p in command.params for o in p.opts} for words, command in _commands(root())}
    del found["mcp",], found["bridge",]  # a face, and a wrapper for scripts; no operations
    touches = {
        words: op.touch.value for op in OPERATIONS.values() for words in (op.command, op.also) if words
    }

    assert found.keys() == touches.keys()
    assert [words for words, options in found.items() if "--json" not in options] == []
    assert {words for words, options in found.items() if "--yes" in options} == {
        *(words for words, touch in touches.items() if touch == "destroy"),
        ("apply",),  # needs one only where a plan parts a service from its volume
    }


@proves("OPS-001")
def test_no_command_has_two_options_of_one_name() -> None:
    for words, command in _commands(root()):
        options = [o for p in command.params for o in (*p.opts, *p.secondary_opts)]
        assert sorted(options) == sorted(set(options)), words


@proves("OPS-001")
@EACH
def test_every_operation_has_one_sentence_of_help_and_described_fields(op: Operation) -> None:
    assert op.summary.endswith((".", ";")) or len(op.doc.splitlines()) > 1
    assert op.summary[0].isupper()
    assert [p["name"] for p in params(op.takes) if not p["help"]] == []


# --- HTTP --------------------------------------------------------------------------------------------------------


@proves("OPS-002")
def test_every_operation_is_served_or_withheld_with_a_reason() -> None:
    assert {op.name for op in served()} | set(FROM_HTTP) == set(OPERATIONS)
    assert not {op.name for op in served()} & set(FROM_HTTP)


@proves("OPS-002")
@pytest.mark.parametrize("op", served(), ids=lambda op: op.name)
def test_a_request_for_an_operation_reaches_it_and_no_other(op: Operation, app: App) -> None:
    path = re.sub(r"\{\w+\}", "otter", op.route[1])

    assert application(app).routes.find(op.route[0], path).op is op


@proves("OPS-002")
def test_no_two_operations_share_a_route_or_a_command() -> None:
    routes = [op.route for op in OPERATIONS.values()]
    commands = [op.command for op in OPERATIONS.values() if op.command]

    assert len(set(routes)) == len(routes)
    assert len(set(commands)) == len(commands)


async def _call(app: App, method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=application(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://envmgr") as client:
        return await client.request(method, path, **more)


@proves("OPS-002")
@pytest.mark.anyio
async def test_an_answer_is_the_operations_result_as_json_or_what_a_person_sees(app: App) -> None:
    as_json = await _call(app, "GET", "/api/v1/version")
    as_text = await _call(app, "GET", "/api/v1/version", headers={"accept": "text/plain"})

    assert as_json.json()["envmgr"] == "1.2.3"
    assert as_text.text.startswith("envmgr 1.2.3 (Python 3.")


@proves("OPS-002")
@pytest.mark.anyio
@pytest.mark.parametrize(
    "op", [o for o in served() if o.is_local and o.route[0] == "GET"], ids=lambda o: o.name
)
async def test_local_operations_do_not_hold_up_the_daemon_when_they_are_asked_over_http(
    op: Operation, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fixture around every async test raises when code of envmgr blocks the loop.
    monkeypatch.setenv("ENVMGR_STATE_DIR", str(app.state_dir))
    given = {"template": "shell"} if "template" in op.takes.model_fields else {}

    answer = await _call(app, "GET", op.route[1], params=given)

    assert answer.status_code == 200, answer.text


@proves("OPS-003")
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "more", "status", "words"),
    [
        ("GET", "/api/v1/agents", {}, 503, "this needs the daemon"),
        ("GET", "/api/v1/agents?colour=red", {}, 422, "colour is unknown"),
        ("POST", "/api/v1/agents/stop", {"content": b"{"}, 400, "the body is not JSON"),
        ("POST", "/api/v1/agents/stop", {"content": b"[]"}, 400, "the body is not a JSON object"),
        (
            "POST",
            "/api/v1/agents",
            {"json": {"count": 0}},
            422,
            "count must be at least 1",
        ),
        ("GET", "/api/v1/templates/show", {}, 422, "template is missing"),
    ],
)
async def test_a_failure_is_a_problem_document_with_the_next_move(
    app: App, method: str, path: str, more: dict[str, Any], status: int, words: str
) -> None:
    answer = await _call(app, method, path, **more)

    problem = answer.json()
    assert (answer.status_code, problem["message"]) == (status, words)
    assert set(problem) == {"code", "message", "hint", "retryable", "details", "request"}
    assert problem["hint"]


# --- OpenAPI -----------------------------------------------------------------------------------------------------


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)


@proves("OPS-004")
def test_the_openapi_document_describes_exactly_what_is_served() -> None:
    paths = openapi("1")["paths"]

    described = {
        (m.upper(), path, route["operationId"]) for path, r in paths.items() for m, route in r.items()
    }

    own = {(*op.route, op.name) for op in served()}
    others = {(*alias.route, alias.op.name) for alias in aliases()}
    assert {(*route, name.partition("--")[0]) for *route, name in described} == own | others


@proves("OPS-004")
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_of_an_operation_fits_it(name: str) -> None:
    op = OPERATIONS[name]
    in_path = dict.fromkeys(re.findall(r"\{(\w+)\}", op.route[1]), "x")

    assert isinstance(parse(op, EXAMPLES[name] | in_path), op.takes)


@proves("OPS-004")
def test_every_reference_of_the_openapi_document_leads_somewhere() -> None:
    document = openapi("1")
    known = {
        f"#/components/{kind}/{name}" for kind, of_kind in document["components"].items() for name in of_kind
    }

    dangling = [ref for ref in _references(document) if ref not in known]

    assert document["openapi"] == "3.1.0"
    assert dangling == []
    assert json.loads(json.dumps(document)) == document


@proves("OPS-004")
@pytest.mark.parametrize("op", served(), ids=lambda op: op.name)
def test_every_route_of_the_openapi_document_names_its_parameters_and_answers(op: Operation) -> None:
    route = openapi("1")["paths"][op.route[1]][op.route[0].lower()]

    in_path = [p["name"] for p in route["parameters"] if p["in"] == "path"]
    in_query = {p["name"] for p in route["parameters"] if p["in"] == "query"}
    assert in_path == re.findall(r"\{(\w+)\}", op.route[1])
    assert all(p["required"] for p in route["parameters"] if p["in"] == "path")
    if op.route[0] in ("GET", "DELETE"):
        assert in_query == {p["name"] for p in route["parameters"]} - set(in_path)
        assert len(in_query) == len(op.takes.model_fields) - len(in_path)
    else:
        assert "requestBody" in route
    kind = "application/x-ndjson" if op.stream else "application/json"
    assert list(route["responses"]["200"]["content"]) == [kind]


# --- declaring ---------------------------------------------------------------------------------------------------


class Sample(Ask):
    """What a sample takes."""

    name: str = argument("Its name")
    more: list[str] = argument("Further names", default=[])
    count: int = option("How many", short="-n", default=1, ge=1, le=5)
    loud: bool = option("Shout", default=False)
    where: str = supplied("Here", "cwd", default="")
    request: str = Field(default="", description="Not for the command line")


@proves("OPS-005")
def test_fields_become_arguments_options_and_values_the_command_line_supplies() -> None:
    shown = {p["name"]: p for p in params(Sample)}

    def row(name: str, *keys: str) -> list[Any]:
        return [shown[name][key] for key in keys]

    assert list(shown) == ["name", "more", "count", "loud", "where"]
    assert row("name", "argument", "required", "type", "multiple") == [True, True, "string", False]
    assert row("more", "argument", "required", "type", "multiple") == [True, False, "string", True]
    assert row("count", "argument", "short", "type", "default", "least", "most") == [
        False, "-n", "integer", 1, 1, 5,
    ]  # fmt: skip
    assert row("loud", "type", "default") == ["boolean", False]
    assert row("where", "supplied") == ["cwd"]


@proves("OPS-005")
def test_an_operation_cannot_be_declared_twice() -> None:
    async def handler(ask: Sample, app: App) -> Done:
        """Do it."""
        return Done(message="done")

    with pytest.raises(ValueError, match=r"operation agent\.list is declared twice"):
        operation("agent.list", route="GET /api/v1/x", gives=Done, text=lambda r, s: "")(handler)


@proves("OPS-005")
@EACH
def test_a_stream_is_an_async_generator_and_everything_else_is_not(op: Operation) -> None:
    assert op.stream == inspect.isasyncgenfunction(op.handler)
    assert op.stream or inspect.iscoroutinefunction(op.handler)


@proves("OPS-003")
def test_unknown_and_wrong_fields_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="colour is unknown") as refused:
        parse(OPERATIONS["agent.show"], {"agent": "otter", "colour": "red"})

    assert refused.value.hint == "agent.show takes: agent."


def test_the_manifest_is_plain_data() -> None:
    assert json.loads(json.dumps(manifest())) == manifest()


@proves("OPS-001")
def test_generated_files_do_not_depend_on_the_order_of_imports() -> None:
    names = [entry["name"] for entry in manifest()]

    assert names == sorted(names)
    assert [op.name for op in served()] == sorted(op.name for op in served())
