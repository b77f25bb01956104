"""Where the audit trail is kept: its rows in the store, signed statements about them outside of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from envmgr.model.audit import Entry, Filter, Head, Mark, Row, Statement


class Audit(Protocol):
    """Part of a transaction, `tx.audit`. Rows are added, never changed; they go only below a cut."""

    def append(self, entry: Entry) -> int:
        """Add a row; returns its number."""

    def head(self) -> Head:
        """The newest row; if none is left, the last one that was cut off; with number 0 if there never was one."""

    def written(self) -> Head | None:
        """The newest row that this process knows to be durable, whatever the table says. Only where changes are made."""

    def expect(self, head: Head) -> None:
        """There were rows up to here, as is known from outside: no number is given twice."""

    def cut(self) -> Head:
        """Up to where rows may be missing."""

    def rows(self, *, after: int, limit: int) -> Sequence[Row]:
        """Rows with a number above `after`, oldest first."""

    def search(self, wanted: Filter, *, above: int, below: int, limit: int) -> Sequence[Row]:
        """Rows between two numbers, newest first."""

    def latest_us(self, *, above: int, below: int) -> int:
        """The latest moment of any row between two numbers; 0 without rows."""

    def allow_cut(self, head: Head) -> None:
        """From now on rows up to this one may be deleted."""

    def delete(self, *, through: int, at_most: int) -> int:
        """Delete so many of the oldest rows up to this one; returns how many."""

    def unguarded(self) -> Sequence[str]:
        """Each table, trigger and view of the trail that is missing, or changed, or not ours: what it is, in words."""


class Notary(Protocol):
    """Signs with a key of this installation that never leaves its file. Blocking."""

    def open(self, *, may_make: bool) -> None:
        """Read the key; without one make it, if that is allowed. Call it before all others."""

    def sign(self, data: bytes) -> str:
        """The signature in hexadecimal. Raises Unavailable without a key."""

    def is_signed(self, data: bytes, signature: str) -> bool:
        """Whether it is ours."""

    def fingerprint(self) -> str:
        """Of the public key; empty when there is none."""

    def public(self) -> str:
        """The public key: 32 bytes in hexadecimal."""

    def trouble(self) -> str:
        """Why it cannot sign; empty when it can."""


class Shelf(Protocol):
    """Files of the trail outside of the database. Blocking."""

    def add(self, statement: Statement) -> None:
        """Add a statement; it is on disk on return. Raises Unavailable when it cannot be written."""

    def statements(self) -> Iterator[Statement]:
        """All of them, oldest first. Raises Unavailable at a line that is none."""

    def last(self, mark: Mark | None = None) -> Statement | None:
        """The newest statement, or the newest of a kind. Raises as `statements`."""

    def logged(self) -> Mapping[int, str]:
        """Statements that the daemon's log tells of, as far as it goes back: their hashes by number."""

    def save(self, name: str, rows: Sequence[Row]) -> str:
        """Write a file of rows; returns its SHA-256. Raises Unavailable when it cannot be written."""

    def load(self, name: str) -> Iterator[Row] | None:
        """Rows of a file; None when it is not there. Raises Unavailable where it is damaged."""

    def digest(self, name: str) -> str:
        """SHA-256 of a file; empty when it is not there."""

    def drop(self, *, before_at: float, is_dry: bool) -> tuple[int, int]:
        """Delete files of rows that were written before that; returns how many, and their bytes."""
