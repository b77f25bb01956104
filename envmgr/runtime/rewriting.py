"""Wait while git rewrites a worktree. git tells nobody when it is done, so somebody has to look: one for all who wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import anyio

from envmgr.aio import blocking

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_STALE_LOCK_S = 600.0


def git_is_busy(worktree: Path) -> bool:
    """Whether git rewrites the worktree, or stands in the middle of a rebase. Blocking."""
    try:
        pointer = worktree / ".git"
        folder = (
            pointer
            if pointer.is_dir()
            else worktree / pointer.read_text(encoding="utf-8")[len("gitdir: ") :].strip()
        )
        if any((folder / name).exists() for name in ("rebase-merge", "rebase-apply")):
            return True
        # A lock that a killed git left would hold up everything for ever.
        return time.time() - (folder / "index.lock").stat().st_mtime < _STALE_LOCK_S
    except OSError:
        return False


class Rewriting:
    """What git does to one worktree."""

    def __init__(self, worktree: Path, is_busy: Callable[[Path], bool] = git_is_busy) -> None:
        self._worktree = worktree
        self._is_busy = is_busy
        self._turn = anyio.Lock()
        self._looks = self._last_free = 0

    async def until_done(self) -> None:
        """Until a look that began after the call finds it done. A rebase may stand still for hours: looks become rare."""
        asked, pause_s = self._looks, _FIRST_PAUSE_S
        async with self._turn:
            while self._last_free <= asked:
                self._looks += 1
                if await blocking.look("file", 5.0, self._is_busy, self._worktree):
                    await anyio.sleep(pause_s)
                    pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
                else:
                    self._last_free = self._looks
