"""Watching checkouts without a daemon: ignored folders, worktrees inside of a main checkout, and what came before."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.drivers.trees import FolderWatcher
from envmgr.model.observed import Write
from envmgr.runtime.observing.checkout import Checkout
from tests.support.git import git, make_repository, write
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _observed(
    top: Path, *, others: Sequence[Path] = (), since: float = 0.0
) -> AsyncIterator[list[str]]:
    """Paths in the order of reporting. What happens inside of the block is seen."""
    seen: list[str] = []

    async def report(writes: Sequence[Write]) -> None:
        seen.extend(one.path for one in writes)

    checkout = Checkout(
        top,
        GitWorkspaces(top.parent / "state"),
        FolderWatcher(),
        is_others=lambda folder: Path(folder) in others,
        quiet_s=0.1,
        at_once=anyio.CapacityLimiter(1),
    )
    write(top, {"begun": ".\n"})
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: checkout.run(report, since=since or time.time() - 1))
        await async_eventually(lambda: "begun" in seen, within_s=20)
        yield seen
        group.cancel_scope.cancel()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "repo", {".gitignore": "/build/\n.trees/\n", "a": "1\n", "dir/b": "2\n"}
    )


@proves("CHANGES-007")
async def test_what_was_written_before_the_watch_was_open_is_seen_and_older_things_are_not(
    repo: Path,
) -> None:
    write(repo, {"a": "old\n"})
    since = time.time() + 0.2
    await anyio.sleep(0.3)  # times of change are what is tested

    async with _observed(repo, since=since) as seen:
        assert seen == ["begun"]


@proves("CHANGES-007")
async def test_ignored_folders_and_worktrees_inside_are_not_watched(repo: Path) -> None:
    tree = repo / ".trees" / "fox-1"
    git(repo, "worktree", "add", "-q", str(tree))

    async with _observed(repo, others=[tree]) as seen:
        write(repo, {"build/o": "1\n"})
        write(tree, {"a": "changed\n"})
        write(repo, {"dir/b": "changed\n"})
        await async_eventually(lambda: "dir/b" in seen, within_s=20)
        write(repo, {"build/p/q": "1\n", "later/deep/c": "1\n", ".envmgr/x": "1\n", "a~": "1\n"})
        await async_eventually(lambda: "later/deep/c" in seen, within_s=20)

    assert set(seen) == {"begun", "dir/b", "later/deep/c"}


@proves("CHANGES-007")
async def test_while_git_rewrites_the_checkout_it_is_waited_for(repo: Path) -> None:
    git(repo, "checkout", "-qb", "other")
    write(repo, {"a": "other\n", "dir/b": "other\n"})
    git(repo, "commit", "-qam", "other")

    async with _observed(repo) as seen:
        lock = repo / ".git" / "index.lock"
        lock.touch()
        write(repo, {"dir/b": "in between\n"})
        await anyio.sleep(0.5)  # that nothing happens shows only with time
        during = list(seen)
        lock.unlink()
        git(repo, "checkout", "-qf", "HEAD")
        git(repo, "checkout", "-q", "HEAD~1")
        write(repo, {"a": "mine\n"})
        await async_eventually(lambda: "a" in seen, within_s=20)

    assert during == ["begun"]
    assert seen == ["begun", "a"]
