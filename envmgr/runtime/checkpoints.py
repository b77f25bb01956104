"""Save an agent's worktree before anything is done that might cost work: what cannot be saved is not put at risk.

A checkpoint is a snapshot of the files alone: branch, index, uncommitted and untracked files, as a commit below `refs/envmgr/` that
was made without touching HEAD, the index or hooks. Volumes stay where they are in all that checkpoints are taken for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio

from envmgr.errors import EnvmgrError, Unavailable
from envmgr.protocols.store import Snapshot, SnapshotKind, Transaction
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime import restoring, saving
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.saga import never

log = logging.getLogger(__name__)

KEPT = 20


async def checkpoint(inc: Incarnation, reason: str, *, reach: Callable[[str], None] = never) -> Snapshot:
    """Save the worktree, running or not; the newest 20 of an agent are kept.

    When nothing has changed since the last one, that one is read back, and stands for this moment and reason too.

    Args:
        reason: What is about to be done, in words that finish "before ...".

    Raises:
        EnvmgrError: It cannot be taken or not be read back. What it was for must not happen then.
    """
    worktree = await saving.worktree_of(inc)
    mine = await _of(inc)
    note = saving.new_note(inc)
    await inc.systems.store.write(lambda tx: saving.put(tx, note))
    reach("checkpoint-noted")
    try:
        taken = await _take(inc, worktree, note, mine[-1] if mine else None, reason)
        reach("checkpoint-taken")
        made = await inc.systems.store.write(lambda tx: _record(tx, taken, note))
    except OSError as error:
        await _give_up(inc, note)
        raise Unavailable(
            f"the files of {inc.name} cannot be saved: {error.strerror}", hint="Run `envmgr doctor`."
        ) from error
    except BaseException:
        await _give_up(inc, note)
        raise
    await _forget_oldest(inc, [s for s in mine if s.id != made.id])
    return made


async def _take(
    inc: Incarnation, worktree: Worktree, note: saving.Note, last: Snapshot | None, reason: str
) -> Snapshot:
    git = inc.systems.workspaces
    head = await git.resolve(inc.repo, f"refs/heads/{worktree.branch}")
    earlier = last if last is not None and last.head == head and last.branch == worktree.branch else None
    if not await git.snapshot(worktree, note.ref, unless=earlier.ref if earlier else ""):
        assert earlier is not None, "only then is nothing made"
        return replace(earlier, at=inc.systems.now(), reason=reason, spec=inc.spec)
    return replace(saving.draft(inc, worktree, note, head, kind=SnapshotKind.CHECKPOINT), reason=reason)


def _record(tx: Transaction, taken: Snapshot, note: saving.Note) -> Snapshot:
    if not taken.id:
        return saving.record(tx, taken, note)
    tx.replace_snapshot(taken)
    tx.drop(note.key)
    return taken


async def _give_up(inc: Incarnation, note: saving.Note) -> None:
    with anyio.CancelScope(shield=True):
        await saving.give_up(inc.systems, inc.layout, note)


async def _of(inc: Incarnation) -> Sequence[Snapshot]:
    """Checkpoints of the agent, oldest first."""
    known = await inc.systems.store.read(lambda tx: tx.snapshots())
    mine = [s for s in known if s.agent == inc.id and s.kind is SnapshotKind.CHECKPOINT]
    return sorted(mine, key=lambda s: s.at)


async def _forget_oldest(inc: Incarnation, others: Sequence[Snapshot]) -> None:
    """All but the newest. One that is not forgotten now is by the next checkpoint; it holds nothing up."""
    note = await restoring.pending(inc)
    needed = (note.snapshot, note.before) if note else ()
    for snapshot in others[: max(0, len(others) + 1 - KEPT)]:
        if snapshot.id in needed:
            continue
        try:
            await saving.discard(inc.systems, inc.layout, snapshot)
        except EnvmgrError as error:
            log.warning("checkpoint not forgotten", extra={"ref": snapshot.ref, "why": error.message})
