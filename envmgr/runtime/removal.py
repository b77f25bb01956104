"""Remove an agent: snapshot its work, then give back worktree, branch and files; and bring it back."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from envmgr.errors import Conflict, Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.store import Snapshot
from envmgr.protocols.workspaces import Work, Worktree
from envmgr.runtime import run_when
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


async def remove(inc: Incarnation, *, reach: Callable[[str], None] = never) -> None:
    """Save everything under a ref, then remove worktree, branch and files. May be repeated after a crash.

    Args:
        reach: Called at each named crash point.

    Raises:
        Conflict: A process works inside the worktree, or it is not ours.
    """
    git = inc.systems.workspaces
    await inc.systems.store.write(lambda tx: run_when.forget_all(tx, inc.id))
    if await _repository_is_gone(inc):
        clear_home(inc)
        return
    match await git.look(inc.repo, inc.path, inc.owner):
        case Present(worktree):
            await _refuse_if_used(inc)
            await _save(inc, worktree)
            reach("remove-saved")
            await git.remove(inc.repo, worktree, owner=inc.owner, root=inc.layout.worktree_root)
            reach("remove-worktree-gone")
            head = await _branch_head(inc, worktree)
            await git.drop_branch(inc.repo, worktree.branch, at=head)
        case Unknown(reason):
            raise Unobservable(f"cannot see {inc.name}'s worktree: {reason}", hint="Run `envmgr doctor`.")
        case Absent():
            await _drop_saved_branch(inc)
    clear_home(inc)


async def _repository_is_gone(inc: Incarnation) -> bool:
    """Then only the record can go: a folder whose repository is gone may hold the last copy of somebody's work."""
    return not await anyio.Path(inc.repo.common_dir).exists()


async def _refuse_if_used(inc: Incarnation) -> None:
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


async def _save(inc: Incarnation, worktree: Worktree) -> None:
    ref = f"refs/envmgr/{inc.id}/{inc.generation}-{int(inc.systems.now())}"
    head = await _branch_head(inc, worktree)
    await inc.systems.workspaces.snapshot(worktree, ref)
    snapshot = Snapshot(
        id=0,
        agent=inc.id,
        name=inc.name,
        repo=inc.spec.repo,
        ref=ref,
        branch=worktree.branch,
        head=head,
        path=str(worktree.path),
        at=inc.systems.now(),
        spec=inc.spec,
    )
    await inc.systems.store.write(lambda tx: tx.add_snapshot(snapshot))


async def _drop_saved_branch(inc: Incarnation) -> None:
    """The worktree went by a removal that a crash cut off, or by hand: its branch goes if nothing is lost with it."""
    made = inc.worktree or inc.prior
    if made is None:
        return
    snapshots = await inc.systems.store.read(lambda tx: tx.snapshots())
    saved = [s.head for s in snapshots if s.agent == inc.id and s.branch == made.branch and not s.restored]
    for head in (made.base, *saved):
        if await inc.systems.workspaces.drop_branch(inc.repo, made.branch, at=head):
            return


async def _branch_head(inc: Incarnation, worktree: Worktree) -> str:
    return await inc.systems.workspaces.resolve(inc.repo, f"refs/heads/{worktree.branch}")
