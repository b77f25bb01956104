"""Operations on the difference between what an agent runs and what its template says now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from envmgr.app import text
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, View, argument, option, supplied
from envmgr.errors import ApplyFailed, Conflict, IllegalTransition
from envmgr.model.agent import Lifecycle
from envmgr.model.change import Fate, FieldChange, Impact, Plan, UnitChange
from envmgr.runtime import applying, footing, reload
from envmgr.runtime.actor import Actor
from envmgr.runtime.outcomes import with_name

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
    obstacles: list[str] = Field(default=[], description="Why `apply` refuses it now")


@operation(
    "agent.plan",
    route="POST /api/v1/agents/{agent}/plan",
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


class Apply(OfAgent):
    """Which plan to carry out."""

    yes: bool = option("Also what parts a service from its volume", short="-y", default=False)
    plan: str = option(
        "Only if this is still the plan: its fingerprint, as `envmgr plan` prints it", default=""
    )


class StepView(View):
    """What was done to one unit."""

    unit: str
    done: str = Field(description="started, stopped, restarted, recreated, signal, exec, failed or skipped")
    failure: str = ""


class AppliedView(View):
    """What was done; units that are not named were not touched."""

    agent: str
    plan: str = Field(description="Fingerprint; empty when there was no difference")
    steps: list[StepView] = []
    message: str


@operation(
    "agent.apply",
    route="POST /api/v1/agents/{agent}/apply",
    gives=AppliedView,
    text=lambda result, style: applied_text(result, style),
    touch=Touch.WRITE,
    command="apply",
)
async def apply(ask: Apply, app: App) -> AppliedView:
    """Bring a running agent to what its template says now: exactly what `envmgr plan AGENT` prints, or nothing.

    Units that the plan does not name keep their processes. The assistant is never restarted.
    """
    actor = app.agents.find(ask.agent)
    refuse_moving(actor)
    inc = await app.agents.incarnation(actor)
    found = await reload.propose(app.templates, actor, inc, environment=ask.environment)
    _refuse_other(found.plan, ask)
    steps: tuple[applying.Step, ...] = ()
    if not found.plan.is_empty:
        steps = await applying.carry_out(app.agents, app.services, actor, found, environment=ask.environment)
    if actor.state.is_alive:
        await footing.record(inc)  # what it stands on now counts
        await app.drifts.look(actor)
    _refuse_failed(actor.state.name, steps)
    return AppliedView(
        agent=actor.state.name,
        plan="" if found.plan.is_empty else found.plan.fingerprint,
        steps=[StepView(unit=s.unit, done=s.done, failure=s.failure) for s in steps],
        message=_message(found.plan, steps, actor),
    )


def _refuse_other(found: Plan, ask: Apply) -> None:
    """Nothing but the plan that was seen, and nothing that parts data from its service without a yes."""
    if ask.plan and ask.plan != found.fingerprint:
        raise Conflict(
            f"the plan is {'empty' if found.is_empty else found.fingerprint} now, not {ask.plan}",
            hint=f"Look at it again: `envmgr plan {found.agent}`.",
            details={"plan": reload_view(found).model_dump()},
        )
    if found.obstacles:
        raise Conflict(
            "; ".join(found.obstacles),
            hint="Nothing was changed.",
            details={"obstacles": list(found.obstacles)},
        )
    if found.consents and not ask.yes:
        raise Conflict(
            f"this needs a yes: {'; '.join(found.consents)}",
            hint=f"If that is meant: `envmgr apply {found.agent} --yes`. No data is deleted either way.",
            details={"consents": list(found.consents)},
        )


def _refuse_failed(name: str, steps: Sequence[applying.Step]) -> None:
    failed = [step for step in steps if step.failure]
    if failed:
        done = ", ".join(f"{step.unit} {step.done}" for step in steps if not step.failure) or "nothing"
        raise ApplyFailed(
            f"{'; '.join(with_name(step.unit, step.failure) for step in failed)}. Done: {done}",
            hint=f"Mend the template and apply again, or try `envmgr restart {name} {failed[0].unit}`.",
            details={
                "done": {step.unit: step.done for step in steps if not step.failure},
                "failed": {step.unit: step.failure for step in failed},
            },
        )


def _message(found: Plan, steps: Sequence[applying.Step], actor: Actor) -> str:
    if found.is_empty:
        return "no difference"
    if not actor.state.is_alive:
        return "it starts with the new configuration"
    return "done" if steps else "taken over; no process was touched"


def applied_text(result: AppliedView, style: text.Style) -> str:
    """`envmgr apply`."""
    steps = "".join(f"  {step.unit}: {step.done}\n" for step in result.steps)
    return text.clean(f"{steps}{style.paint(result.agent, 'bold')}: {result.message}\n")


class OneOrAll(Ask):
    """Whose drift."""

    agent: str = argument(
        "Name, id, or a unique beginning of either; all running agents when left out", default=""
    )


class DriftView(View):
    """One sort of drift of one agent."""

    agent: str
    drift: str = Field(description="config, runtime or environment")
    reason: str
    next: str = Field(description="What a person can do")


class DriftListView(View):
    """All that was found; empty when what runs is what was launched and what the templates say."""

    drifts: list[DriftView]


@operation(
    "agent.drift",
    route="POST /api/v1/drift",
    gives=DriftListView,
    text=lambda result, style: drift_text(result, style),
    command="drift",
)
async def drift(ask: OneOrAll, app: App) -> DriftListView:
    """Look for drift now: edited templates, containers and processes changed behind our back, new lock files, a base that moved on.

    Nothing is repaired: that is for `envmgr plan` and `envmgr apply`, or for you.
    """
    if ask.agent:
        actors = [app.agents.find(ask.agent)]
        refuse_moving(actors[0])
    else:
        actors = list(app.agents.actors())
    running = [actor for actor in actors if actor.state.is_alive]
    return DriftListView(
        drifts=[
            DriftView(agent=actor.state.name, drift=found.drift.value, reason=found.reason, next=found.next)
            for actor in running
            for found in await app.drifts.look(actor)
        ]
    )


def drift_text(result: DriftListView, style: text.Style) -> str:
    """`envmgr drift`."""
    lines = []
    for found in result.drifts:
        lines.append(
            f"{style.paint(found.agent, 'bold')}  {style.paint(found.drift, 'amber')}  {found.reason}"
        )
        lines.append(f"    {found.next}")
    return text.clean("\n".join(lines) or "no drift") + "\n"


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
        obstacles=list(found.obstacles),
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
    if result.obstacles:
        lines += [
            style.paint(f"! apply refuses this now: {sentence}", "red") for sentence in result.obstacles
        ]
        return text.clean("\n".join(lines)) + "\n"
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
