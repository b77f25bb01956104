"""Handoffs in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from envmgr.model.handoff import Handoff
from envmgr.store.codec import Codec

_HANDOFF = Codec(Handoff)
_OLD = (
    "FROM handoff h WHERE at < ? AND EXISTS (SELECT 1 FROM handoff n WHERE n.agent = h.agent AND n.at > h.at)"
)


class HandoffRows:
    """`envmgr.protocols.handoffs.Handoffs` on a connection in which a transaction has begun."""

    def __init__(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._execute = execute

    def add(self, handoff: Handoff) -> int:
        row = (
            handoff.repo, handoff.agent, handoff.agent_name, handoff.branch, handoff.at, handoff.occasion,
            _HANDOFF.dump(handoff),
        )  # fmt: skip
        (number,) = self._execute(
            "INSERT INTO handoff (repo, agent, agent_name, branch, at, occasion, handoff) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (agent, occasion) WHERE occasion != '' DO UPDATE SET repo = excluded.repo,"
            " agent_name = excluded.agent_name, branch = excluded.branch, at = excluded.at, handoff = excluded.handoff"
            " RETURNING id",
            row,
        ).fetchone()
        self._execute("DELETE FROM handoff_task WHERE handoff = ?", (number,))
        for task in set(handoff.tasks):
            self._execute("INSERT INTO handoff_task (task, handoff) VALUES (?, ?)", (task, number))
        return int(number)

    def get(self, handoff: int) -> Handoff | None:
        row = self._execute("SELECT id, handoff FROM handoff WHERE id = ?", (handoff,)).fetchone()
        return _handoff(row) if row else None

    def of_occasion(self, agent: str, occasion: str) -> Handoff | None:
        row = self._execute(
            "SELECT id, handoff FROM handoff WHERE agent = ? AND occasion = ? AND occasion != ''",
            (agent, occasion),
        ).fetchone()
        return _handoff(row) if row else None

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
        wanted = {
            "repo = ?": repo,
            "branch = ?": branch,
            "id IN (SELECT handoff FROM handoff_task WHERE task = ?)": task,
            "id < ?": before,
        }
        parts = [part for part, value in wanted.items() if value]
        values: list[object] = [value for value in wanted.values() if value]
        if agent:
            parts.append("(agent = ? OR agent_name = ?)")
            values += [agent, agent]
        rows = self._execute(
            f"SELECT id, handoff FROM handoff WHERE {' AND '.join(parts) or 'true'} ORDER BY at DESC, id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return [_handoff(row) for row in rows]

    def old(self, *, before_at: float) -> int:
        return int(self._execute(f"SELECT count(*) {_OLD}", (before_at,)).fetchone()[0])

    def prune(self, *, before_at: float, limit: int) -> int:
        gone = self._execute(
            f"DELETE FROM handoff WHERE id IN (SELECT id {_OLD} LIMIT ?)",  # noqa: S608  our own words
            (before_at, limit),
        ).rowcount
        if gone:
            self._execute("DELETE FROM handoff_task WHERE handoff NOT IN (SELECT id FROM handoff)")
        return gone


def _handoff(row: tuple[int, str]) -> Handoff:
    number, text = row
    return replace(_HANDOFF.load(text), id=number)
