"""See `envmgr.protocols.changes`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from envmgr.model.observed import Evidence, ObservedChange, Told, WriteKind

_CHANGE = "SELECT seq, repo, agent, name, path, kind, at, is_main, evidence, violates, holder, holder_name FROM observed"
_PUT = "INSERT OR REPLACE INTO observed VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

# Any: what a row holds; the table is STRICT.
Row = tuple[Any, ...]


class SqliteChangeRows:
    """On a connection in which the caller has begun a transaction."""

    def __init__(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._execute = execute

    def put(self, change: ObservedChange) -> int:
        row = (
            change.repo, change.agent, change.name, change.path, change.kind, change.at, int(change.is_main), change.evidence,
            change.violates, change.holder, change.holder_name,
        )  # fmt: skip
        seq = self._execute(_PUT, row).lastrowid
        assert seq is not None, "a row was just inserted"
        return seq

    def one(self, repo: str, agent: str, path: str, *, is_main: bool) -> ObservedChange | None:
        row = self._execute(
            f"{_CHANGE} WHERE repo = ? AND agent = ? AND path = ? AND is_main = ?",
            (repo, agent, path, int(is_main)),
        ).fetchone()
        return _change(row) if row else None

    def recent(
        self, repo: str, *, agent: str | None = None, after: int = 0, since_at: float = 0.0, limit: int = 100
    ) -> Sequence[ObservedChange]:
        which, given = ("", ()) if agent is None else (" AND agent = ?", (agent,))
        rows = self._execute(
            f"{_CHANGE} WHERE repo = ?{which} AND seq > ? AND at >= ? ORDER BY seq DESC LIMIT ?",
            (repo, *given, after, since_at, limit),
        )
        return [_change(row) for row in rows]

    def keep(self, repo: str, agent: str, *, most: int) -> None:
        self._execute(
            "DELETE FROM observed WHERE repo = ? AND agent = ? AND seq <= coalesce("
            "(SELECT seq FROM observed WHERE repo = ? AND agent = ? ORDER BY seq DESC LIMIT 1 OFFSET ?), 0)",
            (repo, agent, repo, agent, most),
        )

    def prune(self, *, before_at: float, at_most: int) -> int:
        return self._execute(
            "DELETE FROM observed WHERE seq IN (SELECT seq FROM observed WHERE at < ? ORDER BY at LIMIT ?)",
            (before_at, at_most),
        ).rowcount

    def told(self, agent: str) -> Told | None:
        row = self._execute("SELECT change, token FROM told WHERE agent = ?", (agent,)).fetchone()
        return Told(change=row[0], token=row[1]) if row else None

    def tell(self, agent: str, told: Told) -> None:
        self._execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", (agent, told.change, told.token))

    def forget(self, agent: str) -> None:
        self._execute("DELETE FROM told WHERE agent = ?", (agent,))


def _change(row: Row) -> ObservedChange:
    seq, repo, agent, name, path, kind, at, is_main, evidence, violates, holder, holder_name = row
    return ObservedChange(
        seq=seq, repo=repo, agent=agent, name=name, path=path, kind=WriteKind(kind), at=at, is_main=bool(is_main),
        evidence=Evidence(evidence), violates=violates, holder=holder, holder_name=holder_name,
    )  # fmt: skip
