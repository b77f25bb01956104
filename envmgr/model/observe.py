"""What looking at the world can answer: present, absent, or unknown.

Only `Absent` from a successful look may lead to a deletion; `Unknown` never triggers an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Present(Generic[T]):
    """Seen."""

    value: T


@dataclass(frozen=True, slots=True)
class Absent:
    """Looked, and it is not there."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Could not look; `reason` says why."""

    reason: str


Seen = Present[T] | Absent | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process that cannot be confused with a later one of the same pid.

    Attributes:
        pid: Process id.
        start_ticks: Field 22 of `/proc/PID/stat` (clock ticks since boot).
        boot_id: `/proc/sys/kernel/random/boot_id`.
    """

    pid: int
    start_ticks: int
    boot_id: str
