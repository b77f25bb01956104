"""Operations on the difference between what an agent runs and what its template says now."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from envmgr.app import text
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import View, supplied
from envmgr.errors import IllegalTransition
from envmgr.model.agent import Lifecycle
from envmgr.model.change import Fate, FieldChange, Impact, Plan, UnitChange
from envmgr.runtime import reload
from envmgr.runtime.actor import Actor

_MARKS = {Fate.ADDED: "+", Fate.REMOVED: "-", Fate.CHANGED: "~", Fate.FOLLOWS: "~"}
_COLOURS = {Fate.ADDED: "green", Fate.REMOVED: "red", Fate.CHANGED: "amber", Fate.FOLLOWS: "amber"}
_WORDS = {Fate.ADDED: "starts", Fate.REMOVED: "stops"}


class OfAgent(OneAgent):
    """Whose template."""

    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class FieldView(View):
    """A field that differs."""

    path: str
    old: str = Field(description="Empty when it was not there")
    new: str = Field(description="Empty when it is gone")
    impact: str = Field(description="none, live, signal, restart, recreate or replan")
    note: str = ""


class UnitView(View):
    """A unit (a service, or an instance of one) that changes."""

    unit: str
    fate: str = Field(description="added, removed, changed or follows")
    impact: str
    because: str = Field(default="", description="Whom it follows, and why")
    fields: list[FieldView] = []


class ReloadView(View):
    """The difference, with the effect of each field, and who follows."""

    agent: str
    plan: str = Field(description="Fingerprint: the same one is the same plan; empty when nothing differs")
    impact: str = Field(description="The highest of all")
    units: list[UnitView] = []
    fields: list[FieldView] = Field(default=[], description="Of the agent as a whole")
    consents: list[str] = Field(default=[], description="What needs --yes; data is never deleted without it")


@operation(
    "agent.plan",
    route="POST /v1/agents/{agent}/plan",
    gives=ReloadView,
    text=lambda result, style: plan_text(result, style),
    command="plan",
)
async def plan(ask: OfAgent, app: App) -> ReloadView:
    """Print what differs between a running agent and its template, with the effect of each field and who follows.

    Nothing is changed. `envmgr apply AGENT` does exactly that, or nothing.
    """
    actor = app.agents.find(ask.agent)
    refuse_moving(actor)
    inc = await app.agents.incarnation(actor)
    found = await reload.propose(app.templates, actor, inc, environment=ask.environment)
    return reload_view(found.plan)


def refuse_moving(actor: Actor) -> None:
    """What is being made or ended has no difference to anything yet."""
    if actor.state.lifecycle in (Lifecycle.SPAWNING, Lifecycle.STOPPING):
        raise IllegalTransition(
            f"{actor.state.name} is {actor.state.lifecycle.value}",
            hint=f"Wait for it: `envmgr show {actor.state.name}`.",
        )


def reload_view(found: Plan) -> ReloadView:
    """A plan as programs see it."""
    return ReloadView(
        agent=found.agent,
        plan="" if found.is_empty else found.fingerprint,
        impact=found.impact.value,
        units=[_unit_view(unit) for unit in found.units],
        fields=[_field_view(field) for field in found.fields],
        consents=list(found.consents),
    )


def _unit_view(unit: UnitChange) -> UnitView:
    return UnitView(
        unit=unit.unit,
        fate=unit.fate.value,
        impact=unit.impact.value,
        because=unit.because,
        fields=[_field_view(field) for field in unit.fields],
    )


def _field_view(field: FieldChange) -> FieldView:
    return FieldView(
        path=field.path, old=field.old, new=field.new, impact=field.impact.value, note=field.note
    )


# --- for people ----------------------------------------------------------------------------------------------------


def plan_text(result: ReloadView, style: text.Style) -> str:
    """`envmgr plan`."""
    if not result.plan:
        return f"{result.agent}: no difference\n"
    lines = [f"{style.paint(result.agent, 'bold')}: plan {result.plan}"]
    for unit in result.units:
        lines += _unit_lines(unit, style)
    if result.fields:
        lines += [style.paint("~ the agent", "amber"), *_field_lines(result.fields)]
    lines += [style.paint(f"! {sentence}", "red") for sentence in result.consents]
    if result.impact == Impact.NONE:
        lines.append("Nothing that runs is touched.")
    elif any(field.path.startswith(("env.", "assistant.", "secrets.")) for field in result.fields):
        lines.append("The assistant's own process keeps its program and its environment.")
    consent = " --yes" if result.consents else ""
    lines.append(f"To do this: envmgr apply {result.agent}{consent}")
    return text.clean("\n".join(lines)) + "\n"


def _unit_lines(unit: UnitView, style: text.Style) -> Iterator[str]:
    fate = Fate(unit.fate)
    effect = _WORDS.get(fate, unit.impact)
    because = f" ({unit.because})" if unit.because else ""
    yield style.paint(f"{_MARKS[fate]} {unit.unit}: {effect}{because}", _COLOURS[fate])
    yield from _field_lines(unit.fields)


def _field_lines(fields: list[FieldView]) -> Iterator[str]:
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        values = f"{_shown(field.old)} -> {_shown(field.new)}"
        note = f", {field.note}" if field.note else ""
        yield f"    {field.path:<{width}}  {values}  ({field.impact}{note})"


def _shown(value: str) -> str:
    return " ".join(value.split()) or "-"
