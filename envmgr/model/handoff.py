"""What one session leaves to the next: where the work stands, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HandoffKind(StrEnum):
    """Why it was written."""

    WRITTEN = "written"
    """The agent itself, or a person, wrote it."""
    STOP = "stop"
    """The agent was stopped."""
    CRASH = "crash"
    """Its assistant died or was lost."""
    COMPACTION = "compaction"
    """Its conversation is about to be shortened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """One handoff.

    Attributes:
        id: The store's; 0 before it is stored.
        repo: Top of the main checkout it belongs to.
        agent: Id of the principal that left it; `agent_name` is what people call them.
        generation: Of the agent; 0 for others.
        reason: Why there is an automatic one, in words.
        files: Paths within the repository.
        head: Commit that the branch pointed to.
        locks: Targets that were held.
        tasks: Ids of tasks that were claimed and not ended.
        snapshot: Git ref that holds the files with all that was not committed; empty when everything was.
        tail: The end of the conversation, or of the screen, of an automatic one.
        transferred_to: Who has got the locks.
        at: Unix time.
        occasion: Of an automatic one: written again for the same occasion, it replaces the earlier one.
    """

    id: int = 0
    repo: str
    agent: str
    agent_name: str = ""
    session: str = ""
    generation: int = 0
    kind: HandoffKind = HandoffKind.WRITTEN
    reason: str = ""
    summary: str
    completed: tuple[str, ...] = ()
    in_progress: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    branch: str = ""
    head: str = ""
    locks: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    snapshot: str = ""
    tail: str = ""
    transferred_to: str = ""
    at: float = 0.0
    occasion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """The end of an assistant's conversation, as far as it is kept.

    Attributes:
        asked: Prompts, the oldest first.
        said: What the assistant answered, the oldest first.
        done, doing, planned: Its list of things to do.
        files: Absolute paths that it has changed.
    """

    asked: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    doing: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def handoff_name(number: int) -> str:
    """How people and programs call it."""
    return f"h-{number:06}"


def handoff_number(name: str) -> int:
    """The number in a name; 0 when it is none."""
    digits = name.strip().lower().removeprefix("h-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0
