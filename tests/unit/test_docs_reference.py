"""The reference has everything the code has, in the code's own words."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import pytest

import envmgr
from envmgr.app.registry import OPERATIONS
from envmgr.config.fields import Strict
from envmgr.config.settings import Settings
from envmgr.config.templates.describing import texts_of
from envmgr.core.lifecycle import TABLE, decide
from envmgr.errors import EnvmgrError, IllegalTransition
from envmgr.model import stimulus as happen
from envmgr.model.agent import Activity, AgentState, Condition, Lifecycle, Source
from envmgr.model.change import Drift
from envmgr.model.effect import EffectKind
from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung
from envmgr.model.lease import StepState
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import Stimulus
from tests.support.requirements import ROOT, proves

_DOCS = ROOT / "docs"
_KIND = re.compile(r"[a-z]+(\.[a-z_]+)?")


def _page(name: str) -> str:
    return (_DOCS / name).read_text(encoding="utf-8")


def _missing(rows: list[str], page: str) -> str:
    """Rows that the page lacks, ready to be put into it."""
    lines = set(_page(page).splitlines())
    return "\n".join(row for row in rows if row not in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- settings, errors, operations -------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, Strict)
        texts = texts_of(model)
        for key, setting in model.model_fields.items():
            default = "" if setting.default is None else f"`{setting.default}`"
            variable = f"`ENVMGR_{section}__{key}`".upper()
            yield f"| `{section}.{key}` | {variable} | {default} | {_one_line(texts.get(key, ''))} |"


@proves("DOCS-002")
def test_every_setting_is_in_the_reference() -> None:
    assert _missing(list(_settings()), "reference/settings.md") == ""


@proves("CONF-003")
def test_every_setting_is_used() -> None:
    readers = [*(ROOT / "envmgr" / "bootstrap").glob("*.py"), ROOT / "envmgr" / "config" / "source.py"]
    root = "".join(path.read_text(encoding="utf-8") for path in readers)
    names = [row.split("`")[1] for row in _settings()]

    assert [name for name in names if f"settings.{name}" not in root] == []


def _errors(kind: type[EnvmgrError] = EnvmgrError) -> Iterator[type[EnvmgrError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("envmgr."):
            yield from _errors(child)


def _error_row(kind: type[EnvmgrError]) -> str:
    meaning = _one_line((inspect.getdoc(kind) or "").partition("\n\n")[0])
    if kind is EnvmgrError:
        meaning = "A failure that has no class of its own; a bug if there is no hint."
    return f"| `{kind.code}` | {kind.exit} | {kind.http} | {'yes' if kind.retryable else 'no'} | {meaning} |"


@proves("DOCS-002")
def test_every_error_code_is_in_the_reference() -> None:
    for module in pkgutil.walk_packages(envmgr.__path__, "envmgr."):
        if not module.name.startswith("envmgr.testing") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    first = {kind.code: kind for kind in reversed(list(_errors()))}

    assert _missing([_error_row(kind) for kind in first.values()], "reference/errors.md") == ""


@proves("DOCS-002")
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_in_the_reference(name: str) -> None:
    operation = OPERATIONS[name]

    route = f"| `{name}` | `{' '.join(operation.route)}` |"
    command = f"\n## envmgr {' '.join(operation.command)}\n"
    assert command in _page("reference/cli.md") if operation.command else route in _page("reference/http.md")


# --- events ------------------------------------------------------------------------------------------------------

_FAMILIES: dict[str, type[StrEnum]] = {"agent.": Lifecycle, "service.": ServiceState, "step.": StepState}


def _kinds_in(path: Path) -> Iterator[str]:
    """Kinds that a module gives to `NewEvent`, as literals, as families, or through a function of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for kind in _given_kinds(function):
                yield from _expand(kind, function.name, tree, str(path))


def _given_kinds(function: ast.AST) -> Iterator[ast.expr]:
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "NewEvent":
            yield next(keyword.value for keyword in call.keywords if keyword.arg == "kind")


def _expand(kind: ast.expr, function: str, tree: ast.AST, where: str) -> Iterator[str]:
    match kind:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), ast.FormattedValue()]):
            yield from (f"{prefix}{member.value}" for member in _FAMILIES[prefix])
        case ast.Name():
            yield from _arguments(function, tree)
        case ast.Attribute(value=ast.Name(id="note")):
            yield "note.*"
        case _:
            raise AssertionError(f"{where}:{kind.lineno}: teach this test how the kind is made")


def _arguments(function: str, tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call.func) == function:
            for given in call.args:
                if isinstance(given, ast.Constant) and _KIND.fullmatch(str(given.value)):
                    yield str(given.value)


def _name(called: ast.expr) -> str:
    """Of a function or a method."""
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


@proves("DOCS-002")
def test_every_kind_of_event_is_in_the_reference() -> None:
    kinds = {kind for path in (ROOT / "envmgr").rglob("*.py") for kind in _kinds_in(path)}
    table = _page("reference/events.md").partition("| Kind |")[2]
    documented = set(re.findall(r"^\| `([a-z._*]+)` \|", table, flags=re.MULTILINE))

    assert {"agent.running", "step.leaked", "stop.started", "notice"} <= kinds
    assert documented == kinds


# --- lifecycle -----------------------------------------------------------------------------------------------------

_SAMPLES: dict[type[object], Stimulus] = {
    type(sample): sample
    for sample in (
        happen.SpawnRequested(),
        happen.StopRequested(),
        happen.RemoveRequested(),
        happen.SpawnSucceeded(generation=1, holds=frozenset()),
        happen.SpawnFailed(generation=1, step="services", reason="x"),
        happen.StopSucceeded(generation=1),
        happen.StopLeaked(generation=1, survivors=("x",)),
        happen.Removed(generation=1),
        happen.RemovalFailed(generation=1, reason="x"),
        happen.AssistantExited(generation=1, code=1),
        happen.SessionLost(generation=1, reason="x"),
        happen.ActivityReported(
            generation=1, activity=Activity.WORKING, source=Source.HOOK, detail="PreToolUse"
        ),
        happen.ServiceChanged(generation=1, service="web", state=ServiceState.FAILED),
        happen.ObservationLost(generation=1, subject="tmux", reason="x"),
        happen.ObservationRegained(generation=1, subject="git"),
        happen.DriftSeen(generation=1, drift=Drift.CONFIG, reason="x"),
        happen.LimitSeen(generation=1, subject="memory", reason="x"),
        happen.Quarantined(generation=1, subject="web", reason="x"),
        happen.HostRestarted(generation=1, restores=True),
        happen.RecoverRequested(incident=7, rung=Rung.SESSION, reason="x"),
        happen.RungChosen(generation=1, incident=7, rung=Rung.RESPAWN, reason="x"),
        happen.RespawnPrepared(generation=1, incident=7),
        happen.SessionRestored(generation=1),
        happen.RungHeld(generation=1, incident=7),
        happen.RungFailed(generation=1, incident=7, reason="x"),
    )
}
_UNDER_WAY = {Lifecycle.RUNNING: Rung.RESPAWN, Lifecycle.ERROR: Rung.PERSON}
"""What is told of a recovery matters only during one."""
_OF_RECOVERIES = (
    happen.RecoverRequested,
    happen.RungChosen,
    happen.RespawnPrepared,
    happen.RungHeld,
    happen.RungFailed,
)


def _outcome(lifecycle: Lifecycle, stimulus: Stimulus) -> str:
    doubt = Condition(type="Unobservable", reason="x", since=0.0, subject="git")
    state = AgentState(id=AgentId("a"), name="a", generation=1, lifecycle=lifecycle, conditions=(doubt,))
    if isinstance(stimulus, _OF_RECOVERIES) and lifecycle in _UNDER_WAY:
        state = replace(state, rung=_UNDER_WAY[lifecycle], incident=7)
    try:
        decision = decide(state, stimulus, 1.0)
    except IllegalTransition:
        return "refused"
    if decision.forget:
        return "forgotten"
    if decision.state.lifecycle is not lifecycle:
        return f"**{decision.state.lifecycle.name}**"
    if decision.effects:
        return {EffectKind.REMOVE: "removing", EffectKind.CLIMB: "climbing"}[decision.effects[0].kind]
    return "ignored" if decision.ignored else "noted"


def _lifecycle_rows() -> list[str]:
    return [
        f"| `{kind.__name__}` | {' | '.join(_outcome(state, sample) for state in Lifecycle)} |"
        for kind, sample in _SAMPLES.items()
    ]


@proves("DOCS-003")
def test_the_table_of_the_lifecycle_is_the_one_that_decides() -> None:
    heading = f"| | {' | '.join(state.name for state in Lifecycle)} |"

    assert _missing([heading, *_lifecycle_rows()], "explanation/lifecycle.md") == ""
    assert {stimulus for _, stimulus in TABLE} == set(_SAMPLES)


@proves("DOCS-003")
def test_every_step_of_a_spawn_is_explained() -> None:
    steps = {
        name
        for path in (ROOT / "envmgr" / "runtime" / "steps").glob("*.py")
        for name in re.findall(r'^    name = "(\w+)"', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    explained = set(re.findall(r"^\| (\w+) \|", _page("explanation/spawn-and-undo.md"), flags=re.MULTILINE))

    assert len(steps) > 5
    assert explained - {"Step", "admission"} == steps
