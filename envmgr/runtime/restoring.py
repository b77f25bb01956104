"""Put a snapshot back into its agent: worktree in place, volumes replaced; what was there is saved first.

A note (`restoring/<agent>` in the store) is written before the first change and dropped after the last. While it is there the agent
does not start. All parts may be repeated, so a restore that was cut off is finished by doing it again, or taken back by restoring
the snapshot that was taken before it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import anyio

from envmgr.errors import Conflict, EnvmgrError, NotFound, Unavailable
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.protocols.store import Snapshot, SnapshotKind, Transaction
from envmgr.runtime import removal, saving, volumes
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation, Systems
from envmgr.runtime.saga import never
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_NOTES = "restoring/"
_AT_REST = (Lifecycle.STOPPED, Lifecycle.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """A restore under way.

    Attributes:
        snapshot: What is put back.
        before: The snapshot of what was there; 0 when nothing was.
    """

    snapshot: int
    before: int = 0


async def restore(
    inc: Incarnation, snapshot: Snapshot, *, reach: Callable[[str], None] = never
) -> Snapshot | None:
    """Save what is there, then put the snapshot back; returns the one that was taken, None if it was there already.

    The caller holds `actor.busy` of an agent that does not run. Once something was changed it goes on to its end, cancelled or not.

    Raises:
        Conflict: Somebody works in the worktree or has a volume, or git is in the middle of something; nothing was changed.
        Unavailable: What is there cannot be saved (nothing was changed), or the restore could not be finished: then the agent stays
            as it is, half restored, and does not start until one is.
    """
    await _must_be_complete(inc, snapshot)
    await removal.refuse_if_used(inc)
    await _refuse_if_mounted(inc, snapshot)
    note = await pending(inc)
    if note is not None:  # what is there is half of two states, and what was there before is saved
        with anyio.CancelScope(shield=True):
            await begin(inc, Restoring(snapshot=snapshot.id, before=note.before))
            await _put_back(inc, snapshot, reach)
        return None
    # Of the volumes those that will be replaced; the others stay as they are.
    names = [volume.name for volume in snapshot.volumes]
    reason = f"a restore of {snapshot.label or snapshot.id}"
    before = await saving.save(inc, kind=SnapshotKind.RESTORE, reason=reason, only=names, reach=reach)
    with anyio.CancelScope(shield=True):
        await begin(inc, Restoring(snapshot=snapshot.id, before=before.id))
        reach("restore-noted")
        try:
            await _rewind(inc, snapshot)
        except Conflict:  # git refuses before it changes anything
            await _call_off(inc, before)
            raise
        await _go_on(inc, snapshot, reach)
    return before


async def _call_off(inc: Incarnation, before: Snapshot) -> None:
    await inc.systems.store.write(lambda tx: tx.drop(f"{_NOTES}{inc.id}"))
    await saving.discard(inc.systems, inc.layout, before)


async def begin(inc: Incarnation, note: Restoring) -> None:
    """From now on the agent does not start until this is finished."""
    await inc.systems.store.write(lambda tx: note_down(tx, inc.id, note))


def note_down(tx: Transaction, agent: AgentId, note: Restoring) -> None:
    """As a part of another change."""
    tx.put(f"{_NOTES}{agent}", json.dumps(asdict(note)))


async def pending(inc: Incarnation) -> Restoring | None:
    """The restore of an agent that was begun and not finished, if there is one."""
    return await pending_for(inc.systems, inc.id)


async def pending_for(systems: Systems, agent: AgentId) -> Restoring | None:
    """The same, for an agent that may be gone."""
    text = await systems.store.read(lambda tx: tx.get(f"{_NOTES}{agent}"))
    return Restoring(**json.loads(text)) if text else None


async def finish(inc: Incarnation, *, reach: Callable[[str], None] = never) -> None:
    """Bring the restore that was begun to its end; harmless when there is none.

    Raises:
        EnvmgrError: It cannot be finished now; the note stays.
    """
    note = await pending(inc)
    if note is None:
        return
    found = await inc.systems.store.read(lambda tx: tx.snapshots())
    snapshot = next((s for s in found if s.id == note.snapshot), None)
    if snapshot is None:
        raise NotFound(
            f"snapshot {note.snapshot} is gone", hint="Restore another one: `envmgr snapshot list`."
        )
    await _must_be_complete(inc, snapshot)
    await _put_back(inc, snapshot, reach)
    if snapshot.kind is SnapshotKind.REMOVAL:  # it has come back: its volumes are needed no more
        await saving.drop_volumes(inc.systems, inc.layout, snapshot)


async def mark(supervisor: Supervisor) -> None:
    """At start-up, before any agent can be started: those that are half restored are not."""
    for key in await supervisor.systems.store.read(lambda tx: list(tx.under(_NOTES))):
        actor = supervisor.actor(AgentId(key.removeprefix(_NOTES)))
        if actor is None:
            await supervisor.systems.store.write(partial(_drop, key=key))
        else:
            actor.unfinished = "it is being finished"


async def finish_all(supervisor: Supervisor) -> None:
    """Then bring them to their end, which may take as long as copying volumes does."""
    for actor in [a for a in supervisor.actors() if a.unfinished]:
        try:
            await finish_one(supervisor, actor)
        except EnvmgrError as error:
            log.error("restore not finished", extra={"agent": actor.state.id, "why": error.message})
        except Exception:  # one agent owns its boundary here
            log.exception("restore not finished", extra={"agent": actor.state.id})
        await supervisor.record(_finished(actor))


async def finish_one(supervisor: Supervisor, actor: Actor) -> None:
    """Finish what was begun on an agent, if anything was; until then it does not start."""
    actor.unfinished = "it is being finished"
    with anyio.CancelScope(shield=True):
        try:
            async with actor.busy:
                await finish(await supervisor.incarnation(actor), reach=supervisor.reach)
        except BaseException as error:
            actor.unfinished = (
                error.message if isinstance(error, EnvmgrError) else "the daemon's log tells why"
            )
            raise
    actor.unfinished = ""


def reason(error: BaseException) -> str:
    """Why a restore is not finished."""
    return error.message if isinstance(error, EnvmgrError) else "the daemon's log tells why"


def _finished(actor: Actor) -> NewEvent:
    state = actor.state
    if actor.unfinished:
        data = {"reason": actor.unfinished}
        return NewEvent(kind="restore.failed", agent=state.id, generation=state.generation, data=data)
    return NewEvent(kind="restore.finished", agent=state.id, generation=state.generation)


def _drop(tx: Transaction, key: str) -> None:
    tx.drop(key)


def is_at_rest(actor: Actor) -> bool:
    """Whether nothing of the agent runs or is about to."""
    return actor.state.lifecycle in _AT_REST and not actor.state.holds


async def _must_be_complete(inc: Incarnation, snapshot: Snapshot) -> None:
    for volume in snapshot.volumes:
        if not await anyio.Path(saving.file_of(inc.layout, snapshot, volume)).is_file():
            raise Unavailable(
                f"snapshot {snapshot.id} has lost its copy of volume {volume.name}",
                hint="Was the file deleted by hand? Restore another snapshot: `envmgr snapshot list`.",
            )


async def _refuse_if_mounted(inc: Incarnation, snapshot: Snapshot) -> None:
    """Nothing of the agent runs: a container that has one of its volumes is somebody else's, and would keep it from being replaced."""
    for volume in snapshot.volumes:
        if names := await volumes.holders(inc, volume.name):
            raise Conflict(
                f"volume {volume.name} of {inc.name} is mounted by {', '.join(names)}",
                hint=f"Remove what mounts it (`docker rm {names[0]}`), then restore again.",
            )


async def _put_back(inc: Incarnation, snapshot: Snapshot, reach: Callable[[str], None]) -> None:
    await _rewind(inc, snapshot)
    await _go_on(inc, snapshot, reach)


async def _rewind(inc: Incarnation, snapshot: Snapshot) -> None:
    worktree = await saving.worktree_of(inc)
    await inc.systems.workspaces.rewind(inc.repo, worktree, head=snapshot.head, ref=snapshot.ref)


async def _go_on(inc: Incarnation, snapshot: Snapshot, reach: Callable[[str], None]) -> None:
    """What remains when the worktree is what it was: from here on only its end, or another restore, makes the agent whole."""
    if inc.spec.workspace.submodules:
        await inc.systems.workspaces.submodules(await saving.worktree_of(inc))
    reach("restore-worktree")
    for volume in snapshot.volumes:
        file = saving.file_of(inc.layout, snapshot, volume)
        await volumes.put_back(inc, volume.name, file, image=volume.image)
        reach("restore-volume")
    await inc.systems.store.write(lambda tx: tx.drop(f"{_NOTES}{inc.id}"))
    reach("restore-finished")
