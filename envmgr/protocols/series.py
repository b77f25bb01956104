"""What was measured over time: probes, resources, restarts. History for people and forecasts, never state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOST = ""
"""The `agent` of samples about the whole machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value.

    Attributes:
        agent: Agent id; `HOST` for the machine.
        subject: Unit of the agent, or empty for all of it.
        metric: Dotted, with its unit at the end where it has one: `probe.ready` (1 or 0), `probe.latency_s`,
            `memory_bytes`, `cpu_s`, `disk.free_bytes`, ...
        at: Unix time.
        count: How many measured values this one stands for: 1 for raw ones, more for the mean of a minute.
    """

    agent: str
    metric: str
    at: float
    value: float
    subject: str = ""
    count: int = 1


class Series:
    """Keeps nothing; `store.series` keeps raw samples for a day and the means of minutes for longer."""

    @property
    def trouble(self) -> str:
        """Why what was measured is not kept, or begins anew; the last such words, empty when all has been well."""
        return ""

    def add(self, *samples: Sample) -> None:
        """Take them; written some seconds later. Never blocks or fails; a crash may lose the last half minute."""

    async def read(
        self, agent: str, *, subject: str | None = None, metric: str = "", since_at: float = 0.0
    ) -> Sequence[Sample]:
        """Oldest first, what was just added too.

        Args:
            subject: None for all.
            metric: Whole name, or its beginning up to a dot (`probe`); empty for all.
        """
        return ()

    async def forget(self, agent: str) -> None:
        """Drop all of an agent's."""

    async def tidy(self, now: float) -> int:
        """Turn raw samples of an earlier day into means of minutes, drop what is too old; returns how many rows went."""
        return 0

    async def close(self) -> None:
        """Write what is still to be written; later calls do nothing."""
