"""What assistants lately said of the main checkout, by their hooks: who writes there is known by that alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from envmgr.core.mentions import names_folder, written_path
from envmgr.model.observed import Evidence, Write

_MOST = 1000
_TOOL_S = 60.0
_COMMAND_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    """`path` is empty for a command."""

    at: float
    agent: str
    repo: str
    path: str


class Mentions:
    """In memory only."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heard: deque[_Mention] = deque(maxlen=_MOST)

    def hear(self, agent: str, payload: Mapping[str, object], *, repo: str, worktree: str) -> None:
        """A hook of the agent's assistant has said this. Never fails on odd payloads."""
        path = "" if written_path(payload, worktree) else written_path(payload, repo)
        if path or names_folder(payload, repo, but=worktree):
            self._heard.append(_Mention(at=self._now(), agent=agent, repo=repo, path=path))

    def who(self, repo: str, write: Write) -> tuple[str, Evidence] | None:
        """Whose assistant said that it writes this file, or is the only one to have run a command there."""
        near = [one for one in self._heard if one.repo == repo]
        for one in reversed(near):
            if one.path == write.path and abs(write.at - one.at) <= _TOOL_S:
                return one.agent, Evidence.TOOL
        commands = {one.agent for one in near if not one.path and abs(write.at - one.at) <= _COMMAND_S}
        return (commands.pop(), Evidence.COMMAND) if len(commands) == 1 else None
