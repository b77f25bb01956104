"""Waiting while git rewrites a worktree."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from envmgr.runtime.rewriting import Rewriting, git_is_busy
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@proves("FOLLOW-007")
async def test_one_looks_for_all_who_wait_and_ever_more_rarely(tmp_path: Path) -> None:
    standing = tmp_path / ".git" / "rebase-merge"
    standing.mkdir(parents=True)
    looks: list[float] = []
    done: list[float] = []

    def look(worktree: Path) -> bool:
        looks.append(time.monotonic())
        return git_is_busy(worktree)

    async def wait(git: Rewriting) -> None:
        await git.until_done()
        done.append(time.monotonic())

    git = Rewriting(tmp_path, look)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait, git)
        await async_eventually(lambda: len(looks) == 4)
        assert done == []
        standing.rmdir()
    assert (len(looks), len(done)) == (5, 5)
    assert looks[4] - looks[3] > 1.5

    await git.until_done()
    assert len(looks) == 6
