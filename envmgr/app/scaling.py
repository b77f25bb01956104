"""Operations that change what runs of a running agent: restart services, run more or fewer of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import View, argument, option, supplied
from envmgr.app.text import Style, clean
from envmgr.core.replicas import MOST, can_replicate, clashes, shared_volumes
from envmgr.core.scaled import remember
from envmgr.errors import Conflict, NotFound, Unavailable, UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.spec import AgentSpec
from envmgr.runtime.actor import Actor
from envmgr.runtime.outcomes import with_name
from envmgr.runtime.settling import Act, Done

_KINDS = {ServiceKind.TASK: "a task", ServiceKind.EXTERNAL: "an external service"}
_COLOURS = {Act.FAILED.value: "red", Act.SKIPPED.value: "amber", Act.STOPPED.value: "muted"}


class RestartServices(OneAgent):
    """What to restart."""

    services: list[str] = argument(
        "Services, or instances such as api-1; all that run on when left out", default=[]
    )
    followers: bool = option("Restart dependants whose edge says `restart`, too", default=True)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class Scale(OneAgent):
    """How many to run of which."""

    counts: list[str] = argument("SERVICE=N, such as api=3; N from 1 to 10")
    shared_volumes: bool = option(
        "Let several instances write to the same named volume: only if the program is made for that",
        default=False,
    )
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class UnitResult(View):
    """What happened to one unit."""

    unit: str
    act: str = Field(description="started, stopped, restarted, recreated, failed or skipped")
    detail: str = ""


class ChangedView(View):
    """What a change did, unit by unit; units that are not named run on untouched."""

    agent: str
    units: list[UnitResult] = []
    notes: list[str] = []


@operation(
    "agent.restart",
    route="POST /api/v1/agents/{agent}/restart",
    gives=ChangedView,
    text=lambda result, style: changed_text(result, style),
    touch=Touch.WRITE,
    command="restart",
)
async def restart(ask: RestartServices, app: App) -> ChangedView:
    """Restart services of a running agent; worktree, ports, session and assistant stay as they are.

    Instances of a replicated service are restarted one by one, so that its port goes on answering.
    """
    actor = app.agents.find(ask.agent)
    done = await app.services.restart(
        actor, ask.services, with_followers=ask.followers, environment=ask.environment
    )
    return changed_view(actor, done)


@operation(
    "agent.scale",
    route="POST /api/v1/agents/{agent}/scale",
    gives=ChangedView,
    text=lambda result, style: changed_text(result, style),
    touch=Touch.WRITE,
    command="scale",
)
async def scale(ask: Scale, app: App) -> ChangedView:
    """Run another number of instances of a service, 1 to 10; the highest go first and the others run on.

    Of an agent that is stopped the number counts from its next start on.
    """
    actor = app.agents.find(ask.agent)
    wanted = _counts(actor, ask.counts)
    if not ask.shared_volumes:
        _refuse_shared(actor, wanted)
    spec, notes = _scaled(actor.spec, wanted)
    if spec == actor.spec:
        return ChangedView(agent=actor.state.name, notes=notes)
    if actor.state.lifecycle in (Lifecycle.STOPPED, Lifecycle.ERROR):
        await app.services.keep(actor, spec, cause="scale")
        return ChangedView(agent=actor.state.name, notes=[*notes, "it counts from the next start on"])
    done = await app.services.settle(actor, spec, environment=ask.environment, cause="scale")
    return changed_view(actor, done, notes)


def _counts(actor: Actor, words: Sequence[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        service = next((s for s in actor.spec.services if s.name == name), None)
        if not name or not number:
            raise UsageError(f"{word} is no SERVICE=N", hint=f"Such as: {_example(actor)}.")
        if service is None:
            listed = ", ".join(s.name for s in actor.spec.services) or "none"
            raise NotFound(f"{actor.state.name} has no service {name}", hint=f"Its services are: {listed}.")
        found[name] = _count(actor, service, number)
    return found


def _count(actor: Actor, service: ServiceSpec, number: str) -> int:
    if not can_replicate(service):
        what = "shared by all agents" if service.is_shared else _KINDS[service.kind]
        raise Conflict(
            f"{service.name} is {what}: there is always one of it",
            hint="Processes and containers of the agent's own can be scaled.",
        )
    if number.isascii() and number.isdigit() and 1 <= int(number) <= MOST:
        return int(number)
    hint = f"Say a number from 1 to {MOST}."
    if number == "0":
        hint += f" To end all services, stop the agent: `envmgr stop {actor.state.name}`."
    raise UsageError(f"{service.name} cannot run {number} times", hint=hint)


def _refuse_shared(actor: Actor, wanted: Mapping[str, int]) -> None:
    """Two servers on one data folder destroy it, and nothing would tell."""
    for service in actor.spec.services:
        count = wanted.get(service.name, 1)
        volumes = shared_volumes(service)
        if volumes and count > max(1, service.replicas or 1):
            raise Conflict(
                f"{count} instances of {service.name} would write to the same volume"
                f" {', '.join(volumes)}: a database loses data by that",
                hint=f"Leave it at one. If its program is made for that: `envmgr scale {actor.state.name}"
                f" {service.name}={count} --shared-volumes`.",
                details={"service": service.name, "volumes": list(volumes)},
            )


def _example(actor: Actor) -> str:
    service = next((s for s in actor.spec.services if can_replicate(s) and not shared_volumes(s)), None)
    return f"envmgr scale {actor.state.name} {service.name if service else 'api'}=2"


def _scaled(spec: AgentSpec, wanted: Mapping[str, int]) -> tuple[AgentSpec, list[str]]:
    services, notes = [], []
    for service in spec.services:
        count = wanted.get(service.name)
        if count is None or count == (service.replicas or 1):
            services.append(service)
            notes += [f"{service.name} runs {_times(count)} already"] if count is not None else []
            continue
        if service.replicas is None:
            notes.append(
                f"{service.name} was not replicated: it is replaced once, by {service.name}-0 and up"
            )
        services.append(replace(service, replicas=count))
    if taken := clashes(services):
        raise Conflict(
            f"another service is called {', '.join(taken)}",
            hint="Rename it in the template: instances need that name.",
        )
    return remember(spec, wanted), notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def changed_view(actor: Actor, done: Sequence[Done], notes: Sequence[str] = ()) -> ChangedView:
    """What a change did.

    Raises:
        Unavailable: Some unit did not come up; the others are told in the details.
    """
    view = ChangedView(
        agent=actor.state.name,
        units=[UnitResult(unit=one.unit, act=one.act.value, detail=one.detail) for one in done],
        notes=list(notes),
    )
    failed = [one for one in done if one.act is Act.FAILED]
    if failed:
        went_well = [one.unit for one in done if one.act not in (Act.FAILED, Act.SKIPPED)]
        raise Unavailable(
            "; ".join(with_name(one.unit, one.detail) for one in failed),
            hint=f"What was not touched runs on. See `envmgr why {actor.state.name}`,"
            f" or `envmgr logs {actor.state.name} {failed[0].unit}`.",
            details={"units": [one.model_dump() for one in view.units], "done": went_well},
        )
    return view


def changed_text(result: ChangedView, style: Style) -> str:
    """One line for each unit."""
    width = max((len(one.unit) for one in result.units), default=0)
    lines = [f"{result.agent}: {clean(note)}" for note in result.notes]
    for one in result.units:
        act = style.paint(f"{one.act:9}", _COLOURS.get(one.act, "green"))
        lines.append(f"{act}  {one.unit:{width}}  {clean(one.detail)}".rstrip())
    return "\n".join(lines or [f"{result.agent}: nothing to do"]) + "\n"
