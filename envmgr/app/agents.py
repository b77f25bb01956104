"""Operations on existing agents: look, stop, start, remove, bring back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import anyio

from envmgr.app import text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import agent_view, begun_by, event_view, what_mends, what_next
from envmgr.app.shapes import Ask, View, argument, option, supplied
from envmgr.app.task_present import tasks_of
from envmgr.core.counting import counted
from envmgr.errors import Conflict, EnvmgrError, SpawnRolledBack, StopFailed, UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import Event
from envmgr.model.lease import StepRecord
from envmgr.model.stimulus import StopRequested
from envmgr.protocols.store import SnapshotKind, Transaction
from envmgr.runtime import removal, tenancy
from envmgr.runtime.actor import Actor

_TOLD = ("agent", "service", "notice", "assistant", "session", "incident", "rung")
# Of coordination: they say nothing of why an agent is as it is.
_BESIDE = frozenset({"session.registered", "session.ended", "session.returned"})
_DECISIONS = 6


class OneAgent(Ask):
    """Which agent."""

    agent: str = argument("Name, id, or a unique beginning of either")


class SomeAgents(Ask):
    """Which agents."""

    agents: list[str] = argument("Names, ids, or unique beginnings of either", default=[])
    all: bool = option("All of them", default=False)


class ListAgents(Ask):
    """Which agents to list."""

    all: bool = option("Stopped ones too; --no-all leaves them out", short="-a", default=True)


class StopAgents(SomeAgents):
    """Which agents to stop."""

    wait: bool = option("Wait for the verified end", default=True)


class StartAgents(SomeAgents):
    """Which agents to start again."""

    wait: bool = option("Wait until they run", default=True)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class RemoveAgents(SomeAgents):
    """Which agents to remove."""

    agents: list[str] = argument("Whole names or ids", default=[])
    stop: bool = option("Stop them first if they run", default=False)
    volumes: bool = option("Keep a copy of their volumes, for `undo`", default=True)
    discard: str = option(
        "Name of the agent whose uncommitted or unpushed work may go (a snapshot is kept)", default=""
    )


@operation("agent.list", route="GET /api/v1/agents", gives=views.AgentList, text=text.agents, command="ls")
async def list_agents(ask: ListAgents, app: App) -> views.AgentList:
    """List the agents of this host."""
    for actor in app.agents.actors():
        if actor.incarnation is None:  # after a restart; later lists need not wait for git
            with contextlib.suppress(EnvmgrError):  # its repository cannot be seen; the others can be listed
                await app.agents.incarnation(actor)
    shown = [a for a in app.agents.actors() if ask.all or a.state.lifecycle is not Lifecycle.STOPPED]
    at = await tasks_of(app)
    return views.AgentList(
        agents=[agent_view(a, app.agents).model_copy(update=at(a.state.id)) for a in shown]
    )


@operation(
    "agent.show",
    route="GET /api/v1/agents/{agent}",
    gives=views.AgentView,
    text=text.agent_details,
    command="show",
)
async def show(ask: OneAgent, app: App) -> views.AgentView:
    """Show one agent: state, worktree, services, addresses."""
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    more = {"dropped_by_rm": list(await tenancy.doomed(inc)), **(await tasks_of(app))(actor.state.id)}
    return agent_view(actor, app.agents).model_copy(update=await begun_by(inc) | more)


@operation(
    "agent.why", route="GET /api/v1/agents/{agent}/why", gives=views.WhyView, text=text.why, command="why"
)
async def why(ask: OneAgent, app: App) -> views.WhyView:
    """Explain an agent's state: evidence with its age, the last decisions, and what comes next."""
    supervisor = app.agents
    actor = supervisor.find(ask.agent)
    inc = await supervisor.incarnation(actor)

    def query(tx: Transaction) -> tuple[Sequence[StepRecord], Sequence[Event]]:
        return tx.trail(inc.id, inc.generation), tx.last_events(agent=inc.id, limit=_DECISIONS * 8)

    trail, events = await supervisor.systems.store.read(query)
    evidence = actor.state.evidence
    decisions = [e for e in events if e.kind.split(".")[0] in _TOLD and e.kind not in _BESIDE]
    return views.WhyView(
        agent=agent_view(actor, supervisor).model_copy(update=(await tasks_of(app))(actor.state.id)),
        evidence=views.EvidenceView(
            source=evidence.source.value,
            detail=evidence.detail,
            age_s=max(0.0, supervisor.systems.now() - evidence.at),
        )
        if evidence
        else None,
        steps=[views.StepView(step=r.step, state=r.state.value, error=r.error) for r in trail],
        decisions=[event_view(e, supervisor) for e in decisions[-_DECISIONS:]],
        next=what_mends(actor, supervisor.safe_mode, app.conductor.incidents.of(actor.state.id))
        or what_next(actor.state),
    )


@operation(
    "agent.stop",
    route="POST /api/v1/agents/stop",
    gives=views.AgentList,
    text=lambda result, style: "".join(text.agent_line(a, style) for a in result.agents),
    touch=Touch.WRITE,
    command="stop",
)
async def stop(ask: StopAgents, app: App) -> views.AgentList:
    """Stop agents and give back everything they hold, verified; their worktrees stay."""
    actors = _chosen(ask, app)
    await stop_agents(actors, app, wait=ask.wait)
    return views.AgentList(agents=[agent_view(actor, app.agents) for actor in actors])


async def stop_agents(actors: Sequence[Actor], app: App, *, wait: bool = True) -> None:
    """Ask all of them to stop, and wait for the verified end.

    Raises:
        StopFailed: Something survived; named.
    """
    for actor in actors:
        await app.agents.apply(actor, StopRequested(by="a person"))
    if not wait:
        return
    await _settle(actors)
    failed = [a for a in actors if a.state.lifecycle is Lifecycle.ERROR]
    if failed:
        raise StopFailed(
            "; ".join(f"{a.state.name}: {a.state.reason}" for a in failed),
            hint=f"See `envmgr why {failed[0].state.name}`, then stop it again.",
        )


@operation(
    "agent.start",
    route="POST /api/v1/agents/start",
    gives=views.AgentList,
    text=lambda result, style: "".join(text.agent_line(a, style) for a in result.agents),
    touch=Touch.WRITE,
    command="start",
)
async def start(ask: StartAgents, app: App) -> views.AgentList:
    """Start stopped agents again, on the worktrees and ports they had."""
    supervisor = app.agents
    actors = _chosen(ask, app)
    for actor in actors:
        await supervisor.start_again(actor, environment=ask.environment, cause="start")
    if ask.wait:
        await _settle(actors)
        failed = [a for a in actors if a.state.lifecycle is Lifecycle.ERROR]
        if failed:
            raise SpawnRolledBack(
                "; ".join(f"{a.state.name}: {a.state.reason}" for a in failed),
                hint=f"See `envmgr why {failed[0].state.name}`.",
            )
    return views.AgentList(agents=[agent_view(actor, supervisor) for actor in actors])


class RemovedList(View):
    """What was removed."""

    removed: list[views.RemovedView]


@operation(
    "agent.rm",
    route="POST /api/v1/agents/rm",
    gives=RemovedList,
    text=lambda result, style: "".join(f"{r.message}\n" for r in result.removed),
    touch=Touch.DESTROY,
    command="rm",
)
async def rm(ask: RemoveAgents, app: App) -> RemovedList:
    """Remove stopped agents with their worktrees; a snapshot is kept, and `envmgr undo` brings it back.

    A worktree with uncommitted or unpushed work is refused unless it is named: `--discard NAME`.
    """
    supervisor = app.agents
    actors = _chosen(ask, app, find=supervisor.named)
    _refuse_other_name(ask, actors)
    for actor in actors:
        await _refuse_loss(app, actor, ask)
    if ask.stop:
        await stop_agents(actors, app)
        for actor in actors:  # what the assistant wrote while it was ended counts too
            await _refuse_loss(app, actor, ask)
    removed = []
    for actor in actors:
        lost = await tenancy.doomed(await supervisor.incarnation(actor))
        await supervisor.systems.store.write(
            partial(removal.choose_copies, agent=actor.state.id, is_kept=ask.volumes)
        )
        await supervisor.remove(actor, cause="rm")
        await actor.gone()
        if not actor.is_gone:
            reason = next((c.reason for c in actor.state.conditions if c.type == "RemovalFailed"), "unknown")
            raise Conflict(
                f"{actor.state.name} was not removed: {reason}", hint=f"See `envmgr why {actor.state.name}`."
            )
        removed.append(await _farewell(app, actor, lost))
    return RemovedList(removed=removed)


def _refuse_other_name(ask: RemoveAgents, actors: Sequence[Actor]) -> None:
    names = [actor.state.name for actor in actors]
    if ask.discard and ask.discard not in names:
        raise UsageError(
            f"--discard names {ask.discard}, and what is to be removed is {', '.join(names)}",
            hint="Give the name of the agent whose work may go.",
        )


async def _refuse_loss(app: App, actor: Actor, ask: RemoveAgents) -> None:
    name = actor.state.name
    if actor.state.lifecycle in (Lifecycle.SPAWNING, Lifecycle.RUNNING) and not ask.stop:
        raise Conflict(
            f"{name} is {actor.state.lifecycle.value}", hint=f"Run `envmgr stop {name}` first, or add --stop."
        )
    work = await removal.at_risk(await app.agents.incarnation(actor))
    if work is None or work.is_safe_to_drop or ask.discard == name:
        return
    parts = [
        *(
            [f"{counted(len(work.changed), 'uncommitted file')} ({', '.join(work.changed[:5])})"]
            if work.changed
            else []
        ),
        *([f"{counted(work.unpushed, 'commit')} of which there is no copy"] if work.unpushed else []),
        *([f"a {work.in_progress} under way"] if work.in_progress else []),
    ]
    raise Conflict(
        f"{name}'s worktree holds {' and '.join(parts)}",
        hint=f"Commit and push it, or say `envmgr rm {name} --discard {name}` (a snapshot is kept for `envmgr undo`).",
        details={"changed": list(work.changed), "unpushed": work.unpushed},
    )


async def _farewell(app: App, actor: Actor, lost: Sequence[str]) -> views.RemovedView:
    snapshots = await app.agents.systems.store.read(lambda tx: tx.snapshots())
    mine = [s for s in snapshots if s.agent == actor.state.id and s.can_return]
    name = actor.state.name
    if not mine:
        return views.RemovedView(name=name, message=f"removed {name}; it had no worktree")
    kept = len([s for s in snapshots if s.agent == actor.state.id and s.kind is SnapshotKind.MANUAL])
    also = (
        f"; its {counted(kept, 'snapshot')} {'stays' if kept == 1 else 'stay'} (`envmgr snapshot list {name}`)"
        if kept
        else ""
    )
    size = f" and {text.size(mine[-1].bytes)} of volumes" if mine[-1].volumes else ""
    also += f"; but not its data in the shared {', '.join(lost)}, which is dropped" if lost else ""
    message = (
        f"removed {name}; bring it back with `envmgr undo {name}`{f', files{size}' if size else ''}{also}"
    )
    return views.RemovedView(name=name, snapshot=mine[-1].ref, message=message)


def _chosen(ask: SomeAgents, app: App, *, find: Callable[[str], Actor] | None = None) -> list[Actor]:
    if ask.all:
        return list(app.agents.actors())
    if not ask.agents:
        raise UsageError("which agent?", hint="Name one or more, or say --all.")
    chosen = [(find or app.agents.find)(reference) for reference in ask.agents]
    return list({actor.state.id: actor for actor in chosen}.values())


async def _settle(actors: Sequence[Actor]) -> None:
    async with anyio.create_task_group() as group:
        for actor in actors:
            group.start_soon(actor.settled)
