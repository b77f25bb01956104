"""Who works beside whom: a session of an agent, of a program, or of somebody from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SessionStatus(StrEnum):
    """How it is."""

    ACTIVE = "active"
    IDLE = "idle"
    """It has done what it was asked, and waits for the next."""
    AWAITING_INPUT = "awaiting_input"
    """It asks a person something."""
    STALE = "stale"
    """It gave no sign of life for too long."""
    DEAD = "dead"
    """It has ended, or its process is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session. An agent that envmgr has spawned has one under the empty name, and may register more.

    Attributes:
        principal: Id of who it belongs to; `name` is what people call them.
        session: Its own name, unique among its principal's.
        repo: Top of the main checkout it works on.
        kind: Of the assistant or program.
        capabilities: What it can be given to do.
        current_task: Id or words.
        note: What it wants others to know.
        parent: The session or agent that began it.
        life: Which run of an agent it is, `<generation>/<pid>`; empty for those that envmgr has not spawned.
        seen_at: Steady time of its last sign of life.
        at, last_at: Unix time of its beginning, and of its last sign of life.
        is_over: What it held was given back.
        reason: Why it is over.
    """

    principal: str
    session: str = ""
    name: str = ""
    repo: str = ""
    kind: str = ""
    capabilities: tuple[str, ...] = ()
    current_task: str = ""
    status: SessionStatus = SessionStatus.ACTIVE
    note: str = ""
    worktree: str = ""
    branch: str = ""
    model: str = ""
    parent: str = ""
    life: str = ""
    seen_at: float = 0.0
    at: float = 0.0
    last_at: float = 0.0
    is_over: bool = False
    reason: str = ""
