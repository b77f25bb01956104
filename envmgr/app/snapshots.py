"""Operations on snapshots: an agent's worktree and volumes together, taken, listed, put back, deleted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from envmgr.app import text, views
from envmgr.app.agents import stop_agents
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import agent_view, listed_snapshot, snapshot_view
from envmgr.app.shapes import Ask, View, argument, option, supplied
from envmgr.core.counting import counted
from envmgr.errors import Conflict, EnvmgrError, IllegalTransition, NotFound, SpawnRolledBack, UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import restoring, saving
from envmgr.runtime.actor import Actor

_LABEL = re.compile(r"(?!\d+$)[a-z0-9][a-z0-9._-]{0,39}")
_BUSY = (Lifecycle.SPAWNING, Lifecycle.STOPPING)
_UP = (Lifecycle.SPAWNING, Lifecycle.RUNNING)


class CreateSnapshot(Ask):
    """What to save."""

    agent: str = argument("Name, id, or a unique beginning of either")
    name: str = argument("Name of the snapshot", default="")
    volumes: bool = option("Save its volumes, too", default=True)


class ListSnapshots(Ask):
    """Whose to list."""

    agent: str = argument("Name of an agent, removed ones too; all when left out", default="")


class RestoreSnapshot(Ask):
    """What to put back."""

    agent: str = argument("Whole name or id")
    snapshot: str = argument("Its number or name")
    restart: bool = option("Stop the agent first if it runs, and start it again afterwards", default=False)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class RemoveSnapshots(Ask):
    """Which to delete."""

    snapshots: list[str] = argument("Numbers, or AGENT/NAME")


@operation(
    "snapshot.create",
    route="POST /api/v1/agents/{agent}/snapshots",
    gives=views.SnapshotView,
    text=lambda result, style: _saved_text(result),
    touch=Touch.WRITE,
    command="snapshot create",
)
async def create(ask: CreateSnapshot, app: App) -> views.SnapshotView:
    """Save an agent's worktree and volumes as they are now, running or stopped.

    Files: branch, index, uncommitted and untracked files; ignored ones are not saved. Containers that mount a volume are paused
    while it is copied, so that all of it is of one moment.
    """
    actor = app.agents.find(ask.agent)
    await _refuse_label(app, actor, ask.name)
    async with at_leisure(app, actor):
        await _refuse_label(app, actor, ask.name)  # another request may have been faster
        inc = await app.agents.incarnation(actor)
        only = None if ask.volumes else ()
        snapshot = await saving.save(
            inc, kind=SnapshotKind.MANUAL, label=ask.name, only=only, reach=app.agents.reach
        )
    await app.agents.record(_event("snapshot.created", actor, snapshot))
    return snapshot_view(snapshot)


@asynccontextmanager
async def at_leisure(app: App, actor: Actor) -> AsyncIterator[None]:
    """Nothing is under way inside this block; a stop waits for its end.

    Raises:
        IllegalTransition: It is spawning, stopping or being removed.
    """
    async with actor.busy:
        state = actor.state
        if actor.is_gone:
            raise NotFound(f"{state.name} was removed meanwhile", hint="See `envmgr ls`.")
        if state.lifecycle in _BUSY:
            raise IllegalTransition(
                f"{state.name} is {state.lifecycle.value}", hint=f"Wait for it: `envmgr show {state.name}`."
            )
        if actor.unfinished:
            raise IllegalTransition(
                f"{state.name} is half restored: {actor.unfinished}", hint="Finish that restore first."
            )
        yield


async def _refuse_label(app: App, actor: Actor, label: str) -> None:
    if label and not _LABEL.fullmatch(label):
        raise UsageError(
            f"{label!r} cannot be a snapshot's name",
            hint="Use 1 to 40 of a-z, 0-9, `.`, `-` and _, with something that is no digit.",
        )
    if label and any(s.label == label for s in await _of(app, actor)):
        raise Conflict(
            f"{actor.state.name} has a snapshot named {label}",
            hint=f"Choose another name, or delete it: `envmgr snapshot rm {actor.state.name}/{label}`.",
        )


@operation(
    "snapshot.list",
    route="GET /api/v1/snapshots",
    gives=views.SnapshotList,
    text=lambda result, style: text.snapshots(result.snapshots, style),
    command="snapshot list",
    also="snapshots",
)
async def list_snapshots(ask: ListSnapshots, app: App) -> views.SnapshotList:
    """List snapshots, oldest first: those you took, those that envmgr took before anything that might cost work, and for forks."""
    known = sorted(await _all(app), key=lambda s: s.at)
    found = [s for s in known if not (s.kind is SnapshotKind.REMOVAL and s.restored)]
    if ask.agent:
        there = {a.state.id for a in app.agents.actors() if ask.agent in (a.state.name, a.state.id)}
        found = [s for s in found if s.agent in there or ask.agent in (s.name, s.agent)]
        if not found and not there:
            app.agents.find(ask.agent)  # names what there is
    return views.SnapshotList(snapshots=[listed_snapshot(s, app.agents) for s in found])


@operation(
    "snapshot.restore",
    route="POST /api/v1/agents/{agent}/snapshots/{snapshot}/restore",
    gives=views.RestoredView,
    text=lambda result, style: _restored_text(result, style),
    touch=Touch.DESTROY,
    command="snapshot restore",
)
async def restore(ask: RestoreSnapshot, app: App) -> views.RestoredView:
    """Put a snapshot back into its agent: branch, index, files and volumes as they were.

    What is there is saved as a snapshot of its own before anything is overwritten; ignored files and volumes that the snapshot
    does not hold stay as they are. A restore that is cut off is finished when the daemon starts again.
    """
    actor = app.agents.named(ask.agent)
    snapshot = await _one(app, actor, ask.snapshot)
    return await put_back(actor, snapshot, app, restart=ask.restart, environment=ask.environment)


async def put_back(
    actor: Actor, snapshot: Snapshot, app: App, *, restart: bool, environment: Mapping[str, str]
) -> views.RestoredView:
    """Restore a snapshot of an agent that is there; one that runs is stopped meanwhile, if `restart` says so.

    Raises:
        IllegalTransition: It runs and may not be stopped.
        EnvmgrError: It was refused, or could not be finished; the message says which.
    """
    was_up = actor.state.lifecycle in _UP
    if was_up and not restart:
        raise IllegalTransition(
            f"{actor.state.name} is {actor.state.lifecycle.value}",
            hint=f"Run `envmgr stop {actor.state.name}` first, or add --restart.",
        )
    if was_up:
        await stop_agents([actor], app)
    try:
        before = await _restore(app, actor, snapshot)
    except EnvmgrError:
        if was_up and not actor.unfinished:  # refused before anything was changed
            await _start(app, actor, environment)
        raise
    if was_up:
        await _start(app, actor, environment)
    view = agent_view(actor, app.agents)
    return views.RestoredView(agent=view, snapshot=snapshot_view(snapshot), before=before.id if before else 0)


async def _restore(app: App, actor: Actor, snapshot: Snapshot) -> Snapshot | None:
    supervisor = app.agents
    async with actor.busy:
        if actor.is_gone or not restoring.is_at_rest(actor):
            raise IllegalTransition(
                f"{actor.state.name} is {actor.state.lifecycle.value}",
                hint=f"Run `envmgr stop {actor.state.name}` first, or add --restart.",
            )
        inc = await supervisor.incarnation(actor)
        try:
            before = await restoring.restore(inc, snapshot, reach=supervisor.reach)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                if await restoring.pending(inc):
                    actor.unfinished = restoring.reason(error)
            raise
        actor.unfinished = ""
    await app.agents.record(_event("snapshot.restored", actor, snapshot))
    return before


async def _start(app: App, actor: Actor, environment: Mapping[str, str]) -> None:
    await app.agents.start_again(actor, environment=environment, cause="restore")
    await actor.settled()
    if actor.state.lifecycle is Lifecycle.ERROR:
        name = actor.state.name
        raise SpawnRolledBack(f"{name}: {actor.state.reason}", hint=f"See `envmgr why {name}`.")


class RemovedSnapshots(View):
    """What was deleted."""

    removed: list[int]
    bytes: int


@operation(
    "snapshot.rm",
    route="POST /api/v1/snapshots/rm",
    gives=RemovedSnapshots,
    text=lambda result, style: (
        f"deleted {counted(len(result.removed), 'snapshot')}, {text.size(result.bytes)} of volumes\n"
    ),
    touch=Touch.DESTROY,
    command="snapshot rm",
)
async def rm(ask: RemoveSnapshots, app: App) -> RemovedSnapshots:
    """Delete snapshots for good: their volumes' copies and the ref that keeps their files."""
    if not ask.snapshots:
        raise UsageError("which snapshot?", hint="See `envmgr snapshot list`.")
    known = await _all(app)
    chosen = [_named(known, reference) for reference in ask.snapshots]
    for snapshot in chosen:
        await _refuse_needed(app, snapshot)
    for snapshot in {s.id: s for s in chosen}.values():
        await saving.discard(app.agents.systems, app.agents.layout, snapshot)
    return RemovedSnapshots(removed=[s.id for s in chosen], bytes=sum(s.bytes for s in chosen))


async def _refuse_needed(app: App, snapshot: Snapshot) -> None:
    forks = [
        a.state.name
        for a in app.agents.actors()
        if a.spec.origin is not None and a.spec.origin.snapshot == snapshot.id
    ]
    if forks:
        raise Conflict(
            f"snapshot {snapshot.id} is what {', '.join(forks)} began from",
            hint="Remove them first; it goes with the last of them.",
        )
    note = await restoring.pending_for(app.agents.systems, snapshot.agent)
    if note is not None and snapshot.id in (note.snapshot, note.before):
        raise Conflict(
            f"{snapshot.name} is half restored, and snapshot {snapshot.id} is needed to finish or to take it back",
            hint=f"Run `envmgr snapshot restore {snapshot.name} {snapshot.id}` first.",
        )


async def _all(app: App) -> Sequence[Snapshot]:
    """But for the archive's, which has commands of its own."""
    known = await app.agents.systems.store.read(lambda tx: tx.snapshots())
    return [s for s in known if s.kind is not SnapshotKind.ARCHIVE]


async def _of(app: App, actor: Actor) -> list[Snapshot]:
    return [s for s in await _all(app) if s.agent == actor.state.id]


async def _one(app: App, actor: Actor, reference: str) -> Snapshot:
    """Of this agent, by number or name."""
    mine = await _of(app, actor)
    found = [s for s in mine if reference in (str(s.id), s.label)]
    if not found:
        name = actor.state.name
        others = ", ".join(s.label or str(s.id) for s in mine) or "none"
        raise NotFound(
            f"{name} has no snapshot {reference}", hint=f"It has {others}; see `envmgr snapshot list {name}`."
        )
    return found[-1]


def _named(known: Sequence[Snapshot], reference: str) -> Snapshot:
    found = [s for s in known if reference in (str(s.id), f"{s.name}/{s.label}")]
    if not found:
        raise NotFound(
            f"there is no snapshot {reference}",
            hint="Give a number or AGENT/NAME; see `envmgr snapshot list`.",
        )
    return found[-1]


def _event(kind: str, actor: Actor, snapshot: Snapshot) -> NewEvent:
    data = {"snapshot": snapshot.id, "label": snapshot.label, "bytes": snapshot.bytes}
    return NewEvent(kind=kind, agent=actor.state.id, generation=actor.state.generation, data=data)


def _saved_text(result: views.SnapshotView) -> str:
    volumes = "".join(f", volume {v.name} ({text.size(v.bytes)})" for v in result.volumes)
    name = f" ({result.label})" if result.label else ""
    return f"snapshot {result.id}{name} of {result.name}: files of {result.branch}{volumes}\n"


def _restored_text(result: views.RestoredView, style: text.Style) -> str:
    name, number = result.agent.name, result.snapshot.label or result.snapshot.id
    back = f"; take it back with `envmgr snapshot restore {name} {result.before}`" if result.before else ""
    return f"{name} is as it was in snapshot {number}{back}\n" + text.agent_line(result.agent, style)
