"""What the store keeps of handoffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envmgr.model.handoff import Handoff


class Handoffs(Protocol):
    """Part of a transaction."""

    def add(self, handoff: Handoff) -> int:
        """Store it (its `id` is ignored); one of the same agent and occasion is replaced, and keeps its id. Returns the id."""

    def get(self, handoff: int) -> Handoff | None:
        """One of them."""

    def of_occasion(self, agent: str, occasion: str) -> Handoff | None:
        """The automatic one of an agent's occasion."""

    def newest(
        self,
        *,
        repo: str = "",
        agent: str = "",
        branch: str = "",
        task: str = "",
        before: int = 0,
        limit: int = 1,
    ) -> Sequence[Handoff]:
        """Those that fit all that is given, newest first.

        Args:
            agent: Id or name.
            before: Only those with a smaller id; 0: all.
        """

    def old(self, *, before_at: float) -> int:
        """How many `prune` would drop."""

    def prune(self, *, before_at: float, limit: int) -> int:
        """Drop older ones, at most so many at once; the newest of each agent stays. Returns how many."""
