"""Grants as the store keeps them: rows and nothing else; who may have what is decided by `services.locks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envmgr.core.leasing import Around
from envmgr.model.lock import Grant


class LockRows(Protocol):
    """Part of a transaction; see `Transaction.locks`."""

    def around(self, repo: str, where: Around) -> Sequence[Grant]:
        """All grants of a repository that stand at these places of the index, oldest first; lapsed ones too."""

    def add(self, grant: Grant) -> Grant:
        """Write it down (its `token` is ignored); returned is the same with its token, which is higher than any before it."""

    def save(self, grant: Grant) -> None:
        """Replace mode, sessions, reason, tasks and times of the one with this token."""

    def extend(self, token: int, *, ttl_s: float, expires_at: float) -> None:
        """Set its time anew, if it is there."""

    def drop(self, token: int) -> bool:
        """Whether it was there."""

    def take_back(self, repo: str, at: str, target: str, holder: str) -> int:
        """Drop what the holder has of exactly this target, at its stem; returns its token, 0 when there is none."""

    def one(self, token: int) -> Grant | None:
        """By its token."""

    def of_task(self, task: str) -> Sequence[Grant]:
        """Those taken for a task, be it among others, oldest first."""

    def has_any(self, holder: str) -> bool:
        """Whether the holder has any."""

    def holders(self) -> Sequence[tuple[str, str]]:
        """Every holder with every run of it that holds something (`Grant.life`)."""

    def late(self, by: float) -> Sequence[Grant]:
        """Those that were to end by a steady time, as far as that is written down, the earliest first."""

    def all(self, repo: str = "", *, holder: str = "") -> Sequence[Grant]:
        """Of a repository, of a holder, or all; oldest first. Without a holder it reads every row: not for changes."""
