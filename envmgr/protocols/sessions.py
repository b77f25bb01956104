"""What the store keeps of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envmgr.model.session import Session


class Sessions(Protocol):
    """Part of a transaction."""

    def put(self, session: Session) -> None:
        """Store it; one of the same principal and name is replaced."""

    def get(self, principal: str, session: str) -> Session | None:
        """One of them."""

    def seen(self, principal: str, session: str, *, steady: float, at: float) -> bool:
        """Note a sign of life of one that is not over; returns whether there is such a one."""

    def of(self, principal: str, *, is_over: bool | None = None) -> Sequence[Session]:
        """All of a principal."""

    def all(self, *, repo: str = "", has_over: bool = False) -> Sequence[Session]:
        """Of a repository or of all, those heard of last first. It reads every row: not for changes."""

    def of_runs(self) -> Sequence[Session]:
        """Those not over that are a run of an agent (`Session.life`)."""

    def silent(self, *, before_steady: float, limit: int) -> Sequence[Session]:
        """Those not over that gave no sign of life since then, and of which nothing else tells."""

    def old(self, *, before_at: float) -> int:
        """How many `prune` would drop."""

    def prune(self, *, before_at: float, limit: int) -> int:
        """Drop what has been over since then; returns how many."""
