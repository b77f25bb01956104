"""`Workspaces` on the git command line tool."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from envmgr.aio.blocking import act, look
from envmgr.drivers.git import (
    checkout,
    cloning,
    copying,
    reclaiming,
    removal,
    repository,
    rewinding,
    snapshots,
    work,
    worktrees,
    written,
)
from envmgr.drivers.git.entries import Claim, claims, find_entry
from envmgr.drivers.git.invoke import must
from envmgr.drivers.git.locking import Locks
from envmgr.errors import Conflict, EnvmgrError, UsageError
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.observed import Written
from envmgr.protocols.workspaces import Claimed, Commit, Reclaimed, Repository, Work, Worktree


class GitWorkspaces:
    """Worktrees by git.

    Envmgr's own calls run none of the user's hooks, with one exception: `checkout` runs post-checkout once,
    with the arguments that `git worktree add` gives it, because set-up tools rely on it.

    Args:
        state_dir: Holds the locks between processes.
        lock_deadline_s: Seconds to wait for another process that works on the same repository.
        checkout_deadline_s: Seconds for writing the files of one worktree, or cloning its submodules.
        hook_deadline_s: Seconds until a hanging post-checkout hook is killed.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        lock_deadline_s: float = 30.0,
        checkout_deadline_s: float = 600.0,
        hook_deadline_s: float = 120.0,
    ) -> None:
        self._state_dir = state_dir
        self._lock_deadline_s = lock_deadline_s
        self._checkout_deadline_s = checkout_deadline_s
        self._hook_deadline_s = hook_deadline_s
        self._locks = Locks()
        self._trash = removal.Trash()
        self._hooks: dict[Path, Path] = {}
        self._found: dict[Path, Repository] = {}
        self._gate = anyio.Semaphore(os.cpu_count() or 1)

    async def find(self, path: Path) -> Repository:
        known = self._found.get(path)
        if known is None or not await look("file", 5.0, _is_unchanged, path, known):
            known, hooks = await repository.find(path)
            self._found[path], self._hooks[known.common_dir] = known, hooks
        return known

    async def resolve(self, repo: Repository, base: str) -> str:
        return await repository.resolve(repo, base)

    async def branch_exists(self, repo: Repository, branch: str) -> bool:
        return await repository.branch_exists(repo, branch)

    async def register(
        self,
        repo: Repository,
        *,
        path: Path,
        branch: str,
        base: str,
        owner: str,
        started: Callable[[], None] | None = None,
    ) -> Worktree:
        claim = Claim(owner=owner, base=base, branch=branch)
        return await self._make(repo, path=path, claim=claim, start=base, started=started)

    async def checkout(self, worktree: Worktree) -> None:
        async with self._gate:
            await checkout.checkout(
                worktree,
                locks=self._locks,
                hooks=self._hooks,
                deadline_s=self._checkout_deadline_s,
                hook_deadline_s=self._hook_deadline_s,
            )

    async def populate(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        return await copying.populate(
            repo, worktree, patterns, own=(self._state_dir,), deadline_s=self._checkout_deadline_s
        )

    async def clone(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        return await cloning.clone(
            repo, worktree, patterns, own=(self._state_dir,), deadline_s=self._checkout_deadline_s
        )

    async def link(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        return await cloning.link(repo, worktree, patterns, own=(self._state_dir,))

    async def submodules(self, worktree: Worktree) -> None:
        if not await checkout.has_submodules(worktree):
            return
        # Entering them writes into the configuration that all worktrees share; cloning does not.
        async with self._repository(await self.find(worktree.path)):
            await must("submodule", "init", cwd=worktree.path)
        await checkout.fetch_submodules(worktree, deadline_s=self._checkout_deadline_s)

    async def look(self, repo: Repository, path: Path, owner: str) -> Seen[Worktree]:
        try:
            return await look("file", 5.0, _look, repo, path, owner)
        except EnvmgrError as error:
            return Unknown(error.message)

    async def claims(self, root: Path) -> Seen[Sequence[Claimed]]:
        try:
            return Present(await look("file", 10.0, claims, root))
        except (OSError, EnvmgrError) as error:
            return Unknown(f"worktrees cannot be listed: {error}")

    async def history(self, worktree: Worktree) -> Sequence[Commit]:
        return await work.history(worktree)

    async def reclaim(self, repo: Repository, worktree: Worktree, owner: str) -> Reclaimed:
        async with self._repository(repo):
            return await act("file", reclaiming.reclaim, repo, worktree, owner)

    async def behind(self, worktree: Worktree, tip: str) -> int:
        return await work.behind(worktree, tip)

    async def changed(self, worktree: Worktree) -> Sequence[str]:
        return await work.changed(worktree)

    async def work(self, worktree: Worktree) -> Work:
        return await work.work(worktree)

    async def written(self, folder: Path, touched: Collection[str], *, since: float, mark: str) -> Written:
        return await written.written(folder, touched, since=since, mark=mark)

    async def snapshot(self, worktree: Worktree, ref: str, *, unless: str = "") -> str:
        return await snapshots.snapshot(worktree, ref, unless=unless)

    async def remove(self, repo: Repository, worktree: Worktree, *, owner: str, root: Path) -> None:
        async with self._repository(repo):
            folders = await act("file", removal.detach, repo, worktree, owner=owner, root=root)
            note = worktrees.note_of(self._state_dir, repo, owner)
            await act("file", note.unlink, missing_ok=True)
        for folder in folders:
            await self._trash.delete(folder)

    async def drop_branch(self, repo: Repository, branch: str, *, at: str) -> bool:
        async with self._repository(repo):
            return await worktrees.drop_branch(repo, branch, at=at)

    async def drop_snapshot(self, repo: Repository, ref: str) -> None:
        await snapshots.drop(repo.root, ref)

    async def rewind(self, repo: Repository, worktree: Worktree, *, head: str, ref: str) -> None:
        saved = await snapshots.read(repo.root, ref)
        await rewinding.rewind(repo, worktree, saved, head=head, locks=self._locks)

    async def restore(
        self,
        repo: Repository,
        *,
        path: Path,
        branch: str,
        head: str,
        ref: str,
        owner: str,
        base: str = "",
        is_again: bool = False,
    ) -> Worktree:
        saved = await snapshots.read(repo.root, ref)
        tip = await repository.branch_tip(repo, branch)
        if tip is not None and not (is_again and tip == head):
            raise Conflict(
                f"the branch {branch} exists already", hint="Rename or delete it, or choose another name."
            )
        claim = Claim(owner=owner, base=base or saved.base, branch=branch)
        worktree = await self._make(repo, path=path, claim=claim, start=head)
        await rewinding.fill(worktree, saved, locks=self._locks)
        return worktree

    async def drain(self) -> None:
        """Wait until everything that was removed is deleted."""
        await self._trash.drain()

    async def _make(
        self,
        repo: Repository,
        *,
        path: Path,
        claim: Claim,
        start: str,
        started: Callable[[], None] | None = None,
    ) -> Worktree:
        if not path.is_absolute() or not str(path).isprintable():
            raise UsageError("a worktree's path must be absolute and printable", hint="Choose another place.")
        # `git worktree add -b` hands it on to `git branch`, which would read a dash as an option.
        if claim.branch.startswith("-") or not claim.branch.isprintable():
            raise worktrees.bad_name(claim.branch)
        note = worktrees.note_of(self._state_dir, repo, claim.owner)
        wish = worktrees.Wish(path=path, claim=claim, start=start, note=note, started=started)
        async with self._repository(repo) as lock:
            return await worktrees.make(repo, wish, lock)

    @asynccontextmanager
    async def _repository(self, repo: Repository) -> AsyncIterator[int]:
        """The lock that every writer of the repository's shared files takes, for as short as can be."""
        file = self._state_dir / "locks" / f"{repo.key}.lock"
        async with self._locks.held(
            file, what=f"repository {repo.key}", deadline_s=self._lock_deadline_s
        ) as lock:
            yield lock


def _look(repo: Repository, path: Path, owner: str) -> Seen[Worktree]:
    try:
        if not repo.common_dir.is_dir():
            return Unknown("the repository is not there")
        entry = find_entry(repo, path)
        claim = entry.claim if entry else None
        if entry is None or claim is None or claim.owner != owner or not entry.is_whole():
            return Absent()
    except OSError as error:
        return Unknown(f"cannot look at the worktree: {error.strerror}")
    return Present(Worktree(path=path, branch=claim.branch, base=claim.base))


def _is_unchanged(path: Path, repo: Repository) -> bool:
    """Whether what `find` said of a folder still holds: it is there, so is the repository, and no other is nearer."""
    folder = path.resolve()
    if not (repo.common_dir / "HEAD").is_file() or not folder.is_dir():
        return False
    nearest = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    return nearest in (repo.root, None)
