"""What operations on locks take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.core.targets import MAX_CHARS

_MOST = 256
_ModeName = Literal["read", "intent", "write"]
_Text = Annotated[str, Field(max_length=MAX_CHARS)]


class OnTargets(Ask):
    """Base of what is asked about targets; they may be given one by one, as the Agent Coordinator has it."""

    targets: list[_Text] = argument(
        "Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see lock-targets",
        default=[],
        max_length=_MOST,
    )
    file_path: str = Field(default="", max_length=MAX_CHARS, description="One path, instead of targets")
    key: str = Field(default="", max_length=MAX_CHARS, description="One key, instead of targets")
    repo: str = supplied("Folder inside the repository", "cwd", default="")

    @property
    def wanted(self) -> list[str]:
        """All of them, as they were written."""
        return [*self.targets, *filter(None, (self.file_path, self.key))]


class AcquireLock(OnTargets):
    """What is to be locked."""

    mode: _ModeName = option("read: shared; intent: announced; write: exclusive", default="write")
    ttl_minutes: int | None = option("Minutes it lasts without a sign of life", ge=1, le=480)
    reason: str = option("What for: others see it", default="", max_length=1000)
    wait_s: float = option("Seconds to wait for it", default=0.0, ge=0, le=3600)
    priority: Literal["high", "normal", "low"] = option("Class among those who wait", default="normal")
    task_id: str = option("Task it is for: it ends with that", default="", max_length=100)
    session_id: str = Field(default="", max_length=200, description="Session of the agent that asks")


class ReleaseLock(OnTargets):
    """What is given back."""

    all: bool = option("All that you hold in this repository", default=False)
    token: int = option("Refuse unless this is its token", default=0, ge=0)


class RenewLock(OnTargets):
    """What is to last longer; without targets all that the caller holds."""

    ttl_minutes: int | None = option("Minutes from now", ge=1, le=480)
    token: int = option("Refuse unless this is its token", default=0, ge=0)


class TransferLock(OnTargets):
    """What is given to another agent."""

    to_agent: str = option("Name or id of the agent that gets it", default="", max_length=200)


class ForceLock(OnTargets):
    """What is taken from whoever holds it."""

    reason: str = option("Why: the former holder is told", default="", max_length=1000)


class ListLocks(Ask):
    """Which locks to see."""

    targets: list[_Text] = option(
        "Only what overlaps these, and what would be in the caller's way", default=[], max_length=_MOST
    )
    file_paths: list[_Text] = Field(default=[], max_length=_MOST, description="Same as targets")
    mode: _ModeName = option("For what would be in the way", default="write")
    mine: bool = option("Only the caller's own", default=False)
    all: bool = option("Of all repositories", default=False)
    tokens: list[int] = Field(default=[], max_length=_MOST, description="Which of these are stale?")
    repo: str = supplied("Folder inside the repository", "cwd", default="")

    @property
    def wanted(self) -> list[str]:
        """All of them, as they were written."""
        return [*self.targets, *self.file_paths]


class WhyLock(Ask):
    """What is in the way of whom."""

    target: str = argument("Path, folder, pattern or key", max_length=MAX_CHARS)
    mode: _ModeName = option("What it is wanted for", default="write")
    repo: str = supplied("Folder inside the repository", "cwd", default="")
