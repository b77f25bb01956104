"""What agents wrote lately, as the store keeps it: rows and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envmgr.model.observed import ObservedChange, Told


class ChangeRows(Protocol):
    """Part of a transaction; see `Transaction.changes`."""

    def put(self, change: ObservedChange) -> int:
        """Take the place of the agent's earlier change of this file; returns its number."""

    def one(self, repo: str, agent: str, path: str, *, is_main: bool) -> ObservedChange | None:
        """The newest change of a file by an agent."""

    def recent(
        self, repo: str, *, agent: str | None = None, after: int = 0, since_at: float = 0.0, limit: int = 100
    ) -> Sequence[ObservedChange]:
        """Newest first; of one agent, or of all (None). `after` is a number, `since_at` Unix time."""

    def keep(self, repo: str, agent: str, *, most: int) -> None:
        """Drop the agent's oldest ones beyond so many."""

    def prune(self, *, before_at: float, at_most: int) -> int:
        """Drop some that are older; returns how many went."""

    def told(self, agent: str) -> Told | None:
        """Up to where it has been told; None when never."""

    def tell(self, agent: str, told: Told) -> None:
        """Remember it."""

    def forget(self, agent: str) -> None:
        """It is gone; its changes stay until they are old."""
