"""Locks: who may work at what, for how long, and what is answered to those who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a grant lets its holder do, and others not."""

    READ = "read"
    """Shared: nobody writes meanwhile."""
    INTENT = "intent"
    """Announced: nobody is kept from anything, and others are told."""
    WRITE = "write"
    """Exclusive."""


class Priority(StrEnum):
    """Classes of waiters. Each minute of waiting counts like the next better class, so nobody waits for ever."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Outcome(StrEnum):
    """What came of asking for locks."""

    GRANTED = "granted"
    QUEUED = "queued"
    """The wait is over and the line is not: asking again begins at its end."""
    CONFLICT = "conflict"
    DEADLOCK = "deadlock"
    """Waiting would never end."""
    DENIED = "denied"
    """Not allowed, whoever holds it."""

    @property
    def reason(self) -> str:
        """Why it was not granted, in the words of the Agent Coordinator where it has some; empty when it was."""
        return _REASONS[self]


_REASONS = {
    Outcome.GRANTED: "",
    Outcome.QUEUED: "wait_over",
    Outcome.CONFLICT: "locked_by_other",
    Outcome.DEADLOCK: "deadlock",
    Outcome.DENIED: "operation_not_permitted",
}


BESIDE_TASKS = frozenset({"-"})
"""`Grant.tasks` of what was asked for by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One target held by one holder.

    Attributes:
        token: Only grows, over all grants of this installation; a resource that has seen a higher one refuses it.
        repo: Top of the main checkout of the repository.
        stem: Where it stands in the index; see `core.leasing.stem`.
        target: Canonical, as `core.targets` writes it.
        holder: `Principal.id`.
        name: What people call the holder.
        life: Which run of an agent took it, `<generation>/<pid>`; empty for people and programs.
        sessions: Sessions of the holder that asked for it; `-` when one did not say which it is.
        via: Paths that brought it, by the repository's rules; `-` when it was asked for itself.
        tasks: What it was taken for; it ends with the last of these tasks. `-` when it was asked for beside any task.
        since_at: Unix time.
        expires_at: Steady time. Until some seconds after it nobody else gets it, and the holder may still renew.
    """

    token: int
    repo: str
    stem: str
    target: str
    mode: Mode
    holder: str
    name: str
    life: str = ""
    sessions: frozenset[str] = frozenset()
    via: frozenset[str] = frozenset()
    reason: str = ""
    tasks: frozenset[str] = BESIDE_TASKS
    ttl_s: float
    since_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Why something is not granted, or what to know although it is.

    Attributes:
        target: What was asked for.
        wanted: In which mode.
        grant: Who is in the way; of one who waits (`is_waiting`) the token is 0.
        example: Something that both cover.
    """

    target: str
    wanted: Mode
    grant: Grant
    example: str
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One step of a deadlock: `holder` waits for `target`, which `blocker` holds as `held`."""

    holder: str
    name: str
    target: str
    blocker: str
    blocker_name: str
    held: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered to somebody who asked for locks.

    Attributes:
        grants: What is held now, in the order of asking; targets that follow from rules come last.
        refreshed: Those of them that were held before.
        warnings: Announcements of others that it meets, or that it makes.
        position: In the line, from 1; 0 when not in one.
        cycle: Of the deadlock that waiting would be.
    """

    outcome: Outcome
    grants: tuple[Grant, ...] = ()
    refreshed: frozenset[str] = frozenset()
    conflicts: tuple[Conflict, ...] = ()
    warnings: tuple[Conflict, ...] = ()
    position: int = 0
    cycle: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPolicy:
    """How long locks last.

    Attributes:
        ttl_s: When nobody says.
        grace_s: How long after its end a grant stands, for its holder alone.
        age_s: Waiting that counts like the next better class.
        look_every_s: How often holders are looked at, beside the events.
        renew_every_s: How often signs of life are written down.
    """

    ttl_s: float = 300.0
    grace_s: float = 10.0
    age_s: float = 60.0
    look_every_s: float = 0.5
    renew_every_s: float = 5.0


Seen = Mapping[str, float]
"""Steady time of the last sign of life by holder."""
