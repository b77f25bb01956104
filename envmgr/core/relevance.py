"""Which changes a service follows (`watch`), and how often it may."""

from __future__ import annotations

from collections import deque
from pathlib import PurePosixPath

from envmgr.core import globs
from envmgr.model.service import WatchSpec

_PASSED_BY = frozenset(
    (
        *(
            ".git",
            ".hg",
            ".svn",
            ".jj",
            ".envmgr",
            "node_modules",
            "__pycache__",
            ".venv",
            ".direnv",
            ".idea",
        ),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".DS_Store", "4913"),
    )
)
_ENDINGS = (".swp", ".swx", ".swo", "~", ".pyc", ".pyo")


def is_passed_by(name: str) -> bool:
    """Whether a file or folder of this name never counts: what tools write for themselves. A path of `watch` always counts."""
    return name in _PASSED_BY or name.endswith(_ENDINGS) or name.startswith(".#")


def concerns(watch: WatchSpec, path: str) -> bool:
    """Whether a change of this file (relative to the worktree) is one that the service follows."""
    for root in watch.paths:
        below = _below(path, root)
        if below is None:
            continue
        if below == ".":  # the path itself
            return True
        is_in = not watch.include or globs.matcher(watch.include)(below)
        if is_in and not globs.matcher(watch.exclude)(below):
            return True
    return False


def _below(path: str, root: str) -> str | None:
    one, other = PurePosixPath(path), PurePosixPath(root)
    return str(one.relative_to(other)) if one.is_relative_to(other) else None


class Pace:
    """At most `count` in any `window_s` seconds."""

    def __init__(self, *, count: int = 10, window_s: float = 60.0) -> None:
        self._count = count
        self._window_s = window_s
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether one more is allowed now; it is counted if so."""
        while self._times and self._times[0] <= now - self._window_s:
            self._times.popleft()
        if len(self._times) >= self._count:
            return False
        self._times.append(now)
        return True

    def begin_anew(self) -> None:
        """Forget what was."""
        self._times.clear()
