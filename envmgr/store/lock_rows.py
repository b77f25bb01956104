"""See `envmgr.protocols.locks`. Taking and giving back a lock is one statement each: both are asked thousands of times a second."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from envmgr.core.leasing import Around
from envmgr.model.lock import BESIDE_TASKS, Grant, Mode

_GRANT = (
    "SELECT token, repo, stem, target, mode, holder, name, life, sessions, via, reason, task, ttl_s, since_at, expires_at"
    " FROM lock"
)
_ADD = (
    "INSERT INTO lock"
    " (repo, stem, target, mode, holder, name, life, sessions, via, reason, task, ttl_s, since_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# The index has only the rows that are for tasks; what else their locks are for stands there with them.
_OF_TASK = f"{_GRANT} WHERE task != '' AND instr(char(10) || task || char(10), char(10) || ? || char(10)) ORDER BY token"
# Any: what a row holds; the table is STRICT.
Row = tuple[Any, ...]


class SqliteLockRows:
    """On a connection in which the caller has begun a transaction."""

    def __init__(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._execute = execute

    def around(self, repo: str, where: Around) -> Sequence[Grant]:
        given = (repo, *where.stems, repo, where.low, where.high)
        return _grants(self._execute(_around(len(where.stems)), given))

    def add(self, grant: Grant) -> Grant:
        row = (
            grant.repo, grant.stem, grant.target, grant.mode, grant.holder, grant.name, grant.life,
            _joined(grant.sessions), _joined(grant.via), grant.reason, _of_tasks(grant.tasks), grant.ttl_s, grant.since_at, grant.expires_at,
        )  # fmt: skip
        token = self._execute(_ADD, row).lastrowid
        assert token is not None, "a row was just inserted"
        # `dataclasses.replace` takes three times as long, which is a tenth of the whole.
        return Grant(
            token=token, repo=grant.repo, stem=grant.stem, target=grant.target, mode=grant.mode, holder=grant.holder,
            name=grant.name, life=grant.life, sessions=grant.sessions, via=grant.via, reason=grant.reason, tasks=grant.tasks,
            ttl_s=grant.ttl_s, since_at=grant.since_at, expires_at=grant.expires_at,
        )  # fmt: skip

    def save(self, grant: Grant) -> None:
        row = (
            grant.mode, grant.life, _joined(grant.sessions), _joined(grant.via), grant.reason,
            _of_tasks(grant.tasks), grant.ttl_s, grant.expires_at, grant.token,
        )  # fmt: skip
        self._execute(
            "UPDATE lock SET mode = ?, life = ?, sessions = ?, via = ?, reason = ?, task = ?, ttl_s = ?, expires_at = ?"
            " WHERE token = ?",
            row,
        )

    def extend(self, token: int, *, ttl_s: float, expires_at: float) -> None:
        self._execute("UPDATE lock SET ttl_s = ?, expires_at = ? WHERE token = ?", (ttl_s, expires_at, token))

    def drop(self, token: int) -> bool:
        return self._execute("DELETE FROM lock WHERE token = ?", (token,)).rowcount > 0

    def take_back(self, repo: str, at: str, target: str, holder: str) -> int:
        gone = self._execute(
            # `+`: by the place, of which few are held, and not by the holder, who may hold thousands.
            "DELETE FROM lock WHERE repo = ? AND stem = ? AND target = ? AND +holder = ? RETURNING token",
            (repo, at, target, holder),
        ).fetchall()
        return int(gone[0][0]) if gone else 0

    def one(self, token: int) -> Grant | None:
        row = self._execute(f"{_GRANT} WHERE token = ?", (token,)).fetchone()
        return _grant(row) if row else None

    def of_task(self, task: str) -> Sequence[Grant]:
        return _grants(self._execute(_OF_TASK, (task,)))

    def has_any(self, holder: str) -> bool:
        return self._execute("SELECT 1 FROM lock WHERE holder = ? LIMIT 1", (holder,)).fetchone() is not None

    def holders(self) -> Sequence[tuple[str, str]]:
        return self._execute("SELECT DISTINCT holder, life FROM lock").fetchall()

    def late(self, by: float) -> Sequence[Grant]:
        return _grants(self._execute(f"{_GRANT} WHERE expires_at <= ? ORDER BY expires_at", (by,)))

    def all(self, repo: str = "", *, holder: str = "") -> Sequence[Grant]:
        if holder:
            found = _grants(self._execute(f"{_GRANT} WHERE holder = ? ORDER BY token", (holder,)))
            return [grant for grant in found if repo in ("", grant.repo)]
        return _grants(self._execute(f"{_GRANT} WHERE ? = '' OR repo = ? ORDER BY token", (repo, repo)))


@cache
def _around(count: int) -> str:
    """One text per depth of paths: compiled statements are found again by their text."""
    at = f"{_GRANT} WHERE repo = ? AND stem IN ({', '.join('?' * count)})"
    return f"{at} UNION ALL {_GRANT} WHERE repo = ? AND stem > ? AND stem < ?"


def _grants(rows: Iterable[Row]) -> list[Grant]:
    return [_grant(row) for row in rows]


def _grant(row: Row) -> Grant:
    (token, repo, at, target, mode, holder, name, life, sessions, via, reason, task, ttl_s, since_at,
     expires_at) = row  # fmt: skip
    return Grant(
        token=token, repo=repo, stem=at, target=target, mode=Mode(mode), holder=holder, name=name, life=life,
        sessions=_split(sessions), via=_split(via), reason=reason, tasks=_split(task) or BESIDE_TASKS, ttl_s=ttl_s, since_at=since_at,
        expires_at=expires_at,
    )  # fmt: skip


def _of_tasks(tasks: frozenset[str]) -> str:
    return "" if tasks == BESIDE_TASKS else _joined(tasks)


def _joined(words: frozenset[str]) -> str:
    return next(iter(words)) if len(words) == 1 else "\n".join(sorted(words))


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split("\n")) if text else frozenset()
