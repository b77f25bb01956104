"""Whether the branch an agent began from has moved on."""

from __future__ import annotations

from pathlib import Path

from envmgr.aio import blocking
from envmgr.model.ids import AgentId
from envmgr.runtime.incarnation import Incarnation

_FILES_S = 5.0

Marks = tuple[int, ...]


class Basis:
    """Asks git only when a file has changed that git writes when the branch or the worktree moves."""

    def __init__(self) -> None:
        self._known: dict[AgentId, tuple[Marks, int]] = {}

    async def moved(self, inc: Incarnation) -> int:
        """Commits of the base that the worktree does not have."""
        worktree = inc.worktree
        if worktree is None:
            return 0
        marks = await blocking.look("file", _FILES_S, _marks, inc, worktree.path)
        known = self._known.get(inc.id)
        if known is None or known[0] != marks:
            tip = await inc.systems.workspaces.resolve(inc.repo, inc.spec.workspace.base)
            behind = 0 if tip == worktree.base else await inc.systems.workspaces.behind(worktree, tip)
            known = self._known[inc.id] = (marks, behind)
        return known[1]

    def forget(self, agent: AgentId) -> None:
        """The agent is gone."""
        self._known.pop(agent, None)


def _marks(inc: Incarnation, worktree: Path) -> Marks:
    """Blocking."""
    common, base = inc.repo.common_dir, inc.spec.workspace.base
    own = _git_dir(worktree)
    files = (
        common / "HEAD",
        common / "logs" / "HEAD",
        common / "packed-refs",
        common / "refs" / "heads" / base,
        common / "refs" / "remotes" / base,
        common / "refs" / "tags" / base,
        own / "HEAD",
        own / "logs" / "HEAD",
    )
    return tuple(_time(file) for file in files)


def _git_dir(worktree: Path) -> Path:
    try:
        pointer = (worktree / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    except (OSError, UnicodeDecodeError):
        return worktree / ".git"
    return worktree / pointer


def _time(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
