"""One piece of maintenance, and what all of them know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from envmgr.runtime.supervisor import Supervisor

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept, and for how long.

    Attributes:
        archive_share: Of what the archive usually keeps; less than 1 when the disk is full.
    """

    events_days: float = 30.0
    events_keep: int = 100_000
    incidents_days: float = 90.0
    copies_days: float = 7.0
    logs_days: float = 14.0
    log_bytes: int = 10_000_000
    logs_keep: int = 3
    temp_days: float = 1.0
    ports_days: float = 7.0
    free_percent: float = 20.0
    archive_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task came to; in a dry run what it would come to.

    Attributes:
        count: Of what it deals with: events, files, leases, pages.
        bytes: Given back to the disk, as far as that is counted.
    """

    count: int = 0
    bytes: int = 0
    detail: str = ""

    def __add__(self, other: Done) -> Done:
        return Done(
            count=self.count + other.count,
            bytes=self.bytes + other.bytes,
            detail=self.detail or other.detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a task is told.

    Attributes:
        is_dry: Only count.
    """

    supervisor: Supervisor
    limits: Limits
    is_dry: bool = False

    def before(self, days: float) -> float:
        """The Unix time so many days ago."""
        return self.supervisor.systems.now() - days * DAY_S


class Task(Protocol):
    """A piece of maintenance. May run at any time, and again after it was cut off at any moment."""

    name: str
    says: str
    """What it does, for people."""

    async def do(self, order: Order) -> Done:
        """Do it. Raises EnvmgrError when it could not; what was done until then stays done."""
