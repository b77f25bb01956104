"""An agent with a real worktree and a store, of which nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from envmgr.runtime.incarnation import Incarnation
from tests.support.git import make_repository, write
from tests.support.incarnations import incarnation

FILES = {".gitignore": "*.log\n", "a": "1\n", "b": "2\n", "dir/c": "3\n"}


@asynccontextmanager
async def with_worktree(
    folder: Path, *, files: dict[str, str] | None = None, main: Path | None = None
) -> AsyncIterator[Incarnation]:
    """Its branch is `otter`; `main` is a repository that exists."""
    main = main or make_repository(folder / "project", files or FILES)
    async with incarnation(folder) as inc:
        inc.spec = replace(inc.spec, repo=str(main))
        git = inc.systems.workspaces
        inc.repo = await git.find(main)
        inc.worktree = await git.register(
            inc.repo, path=folder / "trees" / "otter", branch="otter", base="HEAD", owner=inc.owner
        )
        await git.checkout(inc.worktree)
        yield inc


def work_on(folder: Path) -> None:
    """Staged, changed, deleted, untracked and ignored files."""
    write(folder, {"b": "staged\n", "new/file": "untracked\n", "build.log": "ignored\n", "a": "changed\n"})
    (folder / "dir" / "c").unlink()
