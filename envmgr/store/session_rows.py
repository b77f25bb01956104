"""Sessions in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from envmgr.model.session import Session
from envmgr.store.codec import Codec

_SESSION = Codec(Session)
_OLD = "FROM session WHERE is_over AND json_extract(record, '$.last_at') < ?"
_COLUMNS = "seen_at, is_over, record"
# As the index `session_of_run` has it, word for word.
_OF_RUN = "NOT is_over AND json_extract(record, '$.life') != ''"


class SessionRows:
    """`envmgr.protocols.sessions.Sessions` on a connection in which a transaction has begun."""

    def __init__(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._execute = execute

    def put(self, session: Session) -> None:
        row = (
            session.principal, session.session, session.repo, session.seen_at, session.is_over, _SESSION.dump(session)
        )  # fmt: skip
        self._execute(
            "INSERT OR REPLACE INTO session (principal, session, repo, seen_at, is_over, record) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )

    def get(self, principal: str, session: str) -> Session | None:
        row = self._execute(
            f"SELECT {_COLUMNS} FROM session WHERE principal = ? AND session = ?",  # noqa: S608  our own words
            (principal, session),
        ).fetchone()
        return _session(row) if row else None

    def seen(self, principal: str, session: str, *, steady: float, at: float) -> bool:
        changed = self._execute(
            "UPDATE session SET seen_at = max(seen_at, ?), record = json_set(record, '$.last_at', ?)"
            " WHERE principal = ? AND session = ? AND NOT is_over",
            (steady, at, principal, session),
        )
        return changed.rowcount > 0

    def of(self, principal: str, *, is_over: bool | None = None) -> Sequence[Session]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM session WHERE principal = ? AND (? IS NULL OR is_over = ?) ORDER BY session",  # noqa: S608
            (principal, is_over, is_over),
        )
        return [_session(row) for row in rows]

    def all(self, *, repo: str = "", has_over: bool = False) -> Sequence[Session]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM session WHERE ? IN ('', repo) AND (? OR NOT is_over) ORDER BY seen_at DESC",  # noqa: S608
            (repo, has_over),
        )
        return [_session(row) for row in rows]

    def of_runs(self) -> Sequence[Session]:
        rows = self._execute(f"SELECT {_COLUMNS} FROM session WHERE {_OF_RUN} ORDER BY principal")  # noqa: S608
        return [_session(row) for row in rows]

    def silent(self, *, before_steady: float, limit: int) -> Sequence[Session]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM session WHERE NOT is_over AND seen_at < ? AND ifnull(json_extract(record, '$.life'), '') = ''"  # noqa: S608
            " ORDER BY seen_at LIMIT ?",
            (before_steady, limit),
        )
        return [_session(row) for row in rows]

    def old(self, *, before_at: float) -> int:
        return int(self._execute(f"SELECT count(*) {_OLD}", (before_at,)).fetchone()[0])

    def prune(self, *, before_at: float, limit: int) -> int:
        return self._execute(
            f"DELETE FROM session WHERE (principal, session) IN (SELECT principal, session {_OLD} LIMIT ?)",  # noqa: S608
            (before_at, limit),
        ).rowcount


def _session(row: tuple[float, int, str]) -> Session:
    seen_at, is_over, text = row
    return replace(_SESSION.load(text), seen_at=seen_at, is_over=bool(is_over))
