"""Remove an agent: snapshot its work, then give back worktree, branch, volumes and files."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from envmgr.errors import Conflict, Unobservable
from envmgr.model.ids import AgentId
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.store import SnapshotKind, Transaction
from envmgr.protocols.workspaces import Work, Worktree
from envmgr.runtime import (
    begun,
    conversation,
    engine_use,
    given_up,
    leaving,
    run_when,
    saving,
    supplies,
    volumes,
)
from envmgr.runtime.archiving.gathering import forget_marks
from envmgr.runtime.dispatching import errand as errands
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.saga import never
from envmgr.runtime.steps.environment import clear_home


async def at_risk(inc: Incarnation) -> Work | None:
    """What would be lost with the worktree; None when there is no worktree.

    Raises:
        Unobservable: git cannot tell; then nothing may be removed.
    """
    if await _repository_is_gone(inc):
        return None
    match await inc.systems.workspaces.look(inc.repo, inc.path, inc.owner):
        case Present(worktree):
            return await inc.systems.workspaces.work(worktree)
        case Absent():
            return None
        case Unknown(reason):
            raise Unobservable(
                f"cannot tell what {inc.name}'s worktree holds: {reason}", hint="Run `envmgr doctor`."
            )


async def remove(inc: Incarnation, *, reason: str = "removal", reach: Callable[[str], None] = never) -> None:
    """Save everything under a ref, then remove worktree, branch and files. May be repeated after a crash.

    Args:
        reason: Who asks for it, for the list of snapshots.
        reach: Called at each named crash point.

    Raises:
        Conflict: A process works inside the worktree, or it is not ours.
    """
    git = inc.systems.workspaces
    await inc.systems.store.write(lambda tx: run_when.forget_all(tx, inc.id))
    if await _repository_is_gone(inc):
        await _clear(inc)
        return
    match await git.look(inc.repo, inc.path, inc.owner):
        case Present(worktree):
            await refuse_if_used(inc)
            await _save(inc, reason, reach)
            reach("remove-saved")
            await git.remove(inc.repo, worktree, owner=inc.owner, root=inc.layout.worktree_root)
            reach("remove-worktree-gone")
            head = await _branch_head(inc, worktree)
            await git.drop_branch(inc.repo, worktree.branch, at=head)
            await leaving.forget_files(inc)
        case Unknown(reason):
            raise Unobservable(f"cannot see {inc.name}'s worktree: {reason}", hint="Run `envmgr doctor`.")
        case Absent():
            await _drop_saved_branch(inc)
    await _clear(inc)


async def _clear(inc: Incarnation) -> None:
    """Volumes come after the worktree, so that what is saved again after a crash still has them."""
    await volumes.remove(inc)
    await begun.remove_volumes(inc)
    await supplies.remove_images(inc)
    await _drop_origin(inc)
    await inc.systems.store.write(lambda tx: _forget(tx, inc.id))
    clear_home(inc)


def _forget(tx: Transaction, agent: AgentId) -> None:
    tx.drop(_unsaved(agent))
    forget_marks(tx, agent)
    conversation.forget_all(tx, agent)
    engine_use.forget(tx, agent)
    given_up.forget(tx, agent)
    errands.drop(tx, agent)


async def _drop_origin(inc: Incarnation) -> None:
    """The snapshot that forks were made from goes with the last of them."""
    origin, store = inc.spec.origin, inc.systems.store
    if origin is None:
        return
    agents, snapshots = await store.read(lambda tx: (tx.agents(), tx.snapshots()))
    if any(a.spec.origin == origin for a in agents if a.state.id != inc.id):
        return
    for snapshot in snapshots:
        if snapshot.id == origin.snapshot and snapshot.kind is SnapshotKind.FORK:
            await saving.discard(inc.systems, inc.layout, snapshot)


def choose_copies(tx: Transaction, agent: AgentId, *, is_kept: bool) -> None:
    """Whether the next removal of this agent keeps a copy of its volumes, as its owner has said."""
    if is_kept:
        tx.drop(_unsaved(agent))
    else:
        tx.put(_unsaved(agent), "yes")


def _unsaved(agent: AgentId) -> str:
    return f"unsaved-volumes/{agent}"


async def _repository_is_gone(inc: Incarnation) -> bool:
    """Then only the record can go: a folder whose repository is gone may hold the last copy of somebody's work."""
    return not await anyio.Path(inc.repo.common_dir).exists()


async def refuse_if_used(inc: Incarnation) -> None:
    """Raise Conflict, naming them, when processes work in the worktree; Unobservable when that cannot be told."""
    match await inc.systems.processes.members(inc.marks()):
        case Present(members):
            named = ", ".join(f"{m.command} (pid {m.identity.pid})" for m in members[:5])
            raise Conflict(
                f"processes still work in the worktree: {named}", hint=f"Run `envmgr stop {inc.name}`."
            )
        case Unknown(reason):
            raise Unobservable(
                f"cannot tell who works in the worktree: {reason}", hint="Run `envmgr doctor`."
            )


async def _save(inc: Incarnation, reason: str, reach: Callable[[str], None]) -> None:
    """Also takes away what earlier attempts of this removal saved: this one has it all."""
    systems = inc.systems
    no_volumes, earlier = await systems.store.read(lambda tx: (tx.get(_unsaved(inc.id)), tx.snapshots()))
    only = () if no_volumes else None
    await saving.save(inc, kind=SnapshotKind.REMOVAL, reason=reason, only=only, reach=reach)
    for old in earlier:
        is_same = old.agent == inc.id and old.generation == inc.generation and not old.restored
        if is_same and old.kind is SnapshotKind.REMOVAL:
            await saving.discard(systems, inc.layout, old)


async def _drop_saved_branch(inc: Incarnation) -> None:
    """The worktree went by a removal that a crash cut off, or by hand: its branch goes if nothing is lost with it."""
    made = inc.worktree or inc.prior
    if made is None:
        return
    snapshots = await inc.systems.store.read(lambda tx: tx.snapshots())
    saved = [
        s.head
        for s in snapshots
        if s.agent == inc.id and s.branch == made.branch and s.kind is SnapshotKind.REMOVAL and not s.restored
    ]
    for head in (made.base, *saved):
        if await inc.systems.workspaces.drop_branch(inc.repo, made.branch, at=head):
            return


async def _branch_head(inc: Incarnation, worktree: Worktree) -> str:
    return await inc.systems.workspaces.resolve(inc.repo, f"refs/heads/{worktree.branch}")
