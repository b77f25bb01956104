"""Give the agent a worktree of its own, with the ignored files and the set-up it needs."""

from __future__ import annotations

from functools import partial

import anyio

from envmgr.core.counting import counted
from envmgr.errors import ConfigError, Conflict, Unavailable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.spec import Origin
from envmgr.protocols.workspaces import Workspaces, Worktree
from envmgr.runtime import begun
from envmgr.runtime.commands import run_task
from envmgr.runtime.incarnation import GIT_RUNS, Incarnation
from envmgr.runtime.saga import Receipt, Step


class AddWorktree(Step):
    """Step: the worktree. A worktree of an earlier generation is used again and never removed by undo."""

    name = "worktree"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Register and check out (a fork: from its snapshot), copy, clone and link ignored files, submodules."""
        inc, git = self._inc, self._inc.systems.workspaces
        if inc.prior is not None and await self._is_there(inc.prior):
            inc.worktree = inc.prior
            inc.has_made(GIT_RUNS)
            inc.has_made(self.name)
            return _receipt(inc.prior, is_new=False)
        spec = inc.spec.workspace
        await anyio.Path(inc.path.parent).mkdir(parents=True, exist_ok=True, mode=0o700)
        if inc.spec.origin is not None and inc.prior is None:
            inc.worktree = await self._copy(inc.spec.origin)
        else:
            inc.worktree = await self._add()
        await git.populate(inc.repo, inc.worktree, spec.copy)
        await git.clone(inc.repo, inc.worktree, spec.cache)
        await git.link(inc.repo, inc.worktree, spec.link)
        if spec.submodules:
            await git.submodules(inc.worktree)
        inc.has_made(self.name)
        return _receipt(inc.worktree, is_new=True)

    async def _add(self) -> Worktree:
        inc, git, spec = self._inc, self._inc.systems.workspaces, self._inc.spec.workspace
        worktree = await git.register(
            inc.repo,
            path=inc.path,
            branch=spec.branch,
            base=spec.base if spec.base == "HEAD" else await git.resolve(inc.repo, spec.base),
            owner=inc.owner,
            started=partial(inc.has_made, GIT_RUNS),
        )
        inc.has_made(GIT_RUNS)  # also when there was nothing to do for git
        await git.checkout(worktree)
        return worktree

    async def _copy(self, origin: Origin) -> Worktree:
        """A fork: what it was forked from counts as its base, so that only its own commits count as its work."""
        inc = self._inc
        inc.has_made(GIT_RUNS)
        snapshots = await inc.systems.store.read(lambda tx: tx.snapshots())
        snapshot = next((s for s in snapshots if s.id == origin.snapshot), None)
        if snapshot is None:
            raise ConfigError(
                f"snapshot {origin.snapshot}, which {inc.name} was forked from, is gone",
                hint="Fork again, or spawn a new agent.",
            )
        head = inc.spec.workspace.base
        return await inc.systems.workspaces.restore(
            inc.repo, path=inc.path, branch=inc.spec.workspace.branch, head=head, ref=snapshot.ref,
            owner=inc.owner, base=head,
        )  # fmt: skip

    async def _is_there(self, prior: Worktree) -> bool:
        match await self._inc.systems.workspaces.look(self._inc.repo, prior.path, self._inc.owner):
            case Present():
                return True
            case Absent():
                return False  # it vanished: made again from its branch
            case Unknown(reason):
                raise Unavailable(
                    f"cannot tell whether the worktree is there: {reason}", hint="Run `envmgr doctor`."
                )

    async def undo(self, receipt: Receipt | None) -> None:
        """Remove what this generation made, unless it holds work: then it is kept, and the error says so."""
        inc, git = self._inc, self._inc.systems.workspaces
        if inc.prior is not None:
            return
        match await git.look(inc.repo, inc.path, inc.owner):
            case Absent():
                await self._remove_half(git)
            case Unknown(reason):
                raise Unavailable(
                    f"cannot tell whether the worktree is there: {reason}", hint="Run `envmgr doctor`."
                )
            case Present(worktree):
                await self._remove(worktree)

    async def _remove_half(self, git: Workspaces) -> None:
        """A registration that a crash or a full disk cut off looks absent; made whole, it can be removed."""
        inc, spec = self._inc, self._inc.spec.workspace
        try:
            base = await git.resolve(inc.repo, spec.base)
            whole = await git.register(
                inc.repo, path=inc.path, branch=spec.branch, base=base, owner=inc.owner
            )
        except (Conflict, ConfigError):
            return  # what is there is somebody else's: nothing of ours was made
        await self._remove(whole)

    async def _remove(self, worktree: Worktree) -> None:
        inc, git = self._inc, self._inc.systems.workspaces
        # Before the assistant started only git, set-up and services have written there: that is not work.
        if inc.was_inhabited and not (work := await git.work(worktree)).is_safe_to_drop:
            raise Conflict(
                f"the worktree is kept: {counted(len(work.changed), 'changed file')}, "
                f"{counted(work.unpushed, 'commit')} of its own",
                hint=f"Look at it, then `envmgr rm {inc.name}`.",
            )
        await git.remove(inc.repo, worktree, owner=inc.owner, root=inc.layout.worktree_root)
        await git.drop_branch(inc.repo, worktree.branch, at=worktree.base)


class SetUp(Step):
    """Step: the template's set-up commands, once per worktree."""

    name = "setup"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Run `workspace.setup`, then `hooks.on_create`."""
        tasks = (*self._inc.spec.workspace.setup, *self._inc.spec.hooks.on_create)
        for task in tasks:
            await run_task(self._inc, task, what="set-up")
        return {"commands": len(tasks)}

    async def undo(self, receipt: Receipt | None) -> None:
        """End containers it began; its files go with the worktree, its processes ended with the command's group."""
        await begun.end(self._inc)


class RunHooks(Step):
    """Step: `hooks.on_start`, at every start, when services are ready and the assistant is not there yet."""

    name = "hooks"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Run them in order."""
        tasks = self._inc.spec.hooks.on_start
        for task in tasks:
            await run_task(self._inc, task, what="on_start")
        return {"commands": len(tasks)}

    async def undo(self, receipt: Receipt | None) -> None:
        """End containers they began; their processes ended with each command's group."""
        await begun.end(self._inc)


def _receipt(worktree: Worktree, *, is_new: bool) -> Receipt:
    return {"path": str(worktree.path), "branch": worktree.branch, "base": worktree.base, "new": is_new}
