"""What agents remember for each other: an experience, with what was learned from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How it went."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One memory.

    Attributes:
        id: The store's; 0 before it is stored.
        repo: Top of the main checkout it belongs to.
        agent: Id of the principal that remembered it; `agent_name` is what people call them.
        thread: What it was made in: the task, else the session. Memories of one thread that follow each other explain each other.
        files: Paths within the repository.
        importance: 0 to 1.
        commit: Head of the agent's branch at that time.
        at: Unix time.
        used_at: Unix time of the last recall, or of the last time that somebody remembered the same.
        superseded_by: The memory that has taken its place; 0: none.
    """

    id: int = 0
    repo: str
    agent: str
    agent_name: str = ""
    session: str = ""
    task: str = ""
    thread: str = ""
    event_type: str = "discovery"
    summary: str
    details: str = ""
    outcome: Outcome = Outcome.NEUTRAL
    lessons: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    importance: float = 0.5
    is_pinned: bool = False
    commit: str = ""
    at: float = 0.0
    used_at: float = 0.0
    superseded_by: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFilter:
    """Which memories are meant; empty fields leave nothing out.

    Attributes:
        tags: Any of them.
        paths: They are about any of these files, or about files in any of these folders.
    """

    repo: str
    event_types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    agent: str = ""
    since_at: float = 0.0
    has_superseded: bool = False


def memory_name(number: int) -> str:
    """How people and programs call it."""
    return f"m-{number:06}"


def memory_number(name: str) -> int:
    """The number in a name; 0 when it is none."""
    digits = name.strip().lower().removeprefix("m-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0
