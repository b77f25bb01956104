"""The audit trail, in SQL."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import cache
from importlib.resources import files

from envmgr.core.audit_chain import GENESIS, chained
from envmgr.errors import Unavailable
from envmgr.model.audit import Entry, Filter, Head, Row

log = logging.getLogger(__name__)

_ENTRY = ", ".join(Entry._fields)
_ROW = f"SELECT seq, {_ENTRY}, prev, hash FROM audit"  # noqa: S608  our own words
_ADD = f"INSERT INTO audit (seq, {_ENTRY}, prev, hash) VALUES ({', '.join('?' * (len(Entry._fields) + 3))})"  # noqa: S608  our own words
_WANTED = """ WHERE seq > ? AND seq < ? AND at_us >= ? AND (? = 0 OR at_us < ?) AND (? = '' OR ? IN (actor, name))
 AND (? = '' OR agent = ? OR (agent != '' AND name = ?)) AND (? = '' OR operation = ? OR (substr(?, -1) = '.' AND substr(operation, 1, length(?)) = ?))
 AND (? = '' OR instr(target, ?) > 0) AND (? = '' OR decision = ?) AND (? = '' OR outcome = ?) AND (? = '' OR request = ?)
 ORDER BY seq DESC LIMIT ?"""


class AuditRows:
    """`envmgr.protocols.audit.Audit` on a connection.

    The end of the chain is kept in memory, for it is needed with each row. Whoever undoes something says so with
    `rolled_back`; the end is then read again.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._head: Head | None = None
        self._durable: Head | None = None

    def append(self, entry: Entry) -> int:
        seq, prev = self._head or self._end()
        try:
            self._insert(seq + 1, prev, entry)
        except sqlite3.IntegrityError:
            log.error("somebody else has written to the audit trail; see `envmgr audit --verify`")
            seq, prev = self._end()
            self._insert(seq + 1, prev, entry)
        return seq + 1

    def _insert(self, seq: int, prev: bytes, entry: Entry) -> None:
        hash_ = chained(prev, seq, entry)
        if self._execute(_ADD, (seq, *entry, prev, hash_)).rowcount != 1:
            # A trigger can swallow rows without a word (RAISE(IGNORE)); then nothing of the call may be kept either.
            raise Unavailable(
                "the audit trail takes no rows: somebody has changed it", hint="See `envmgr audit --verify`."
            )
        self._head = Head(seq, hash_)

    def _end(self) -> Head:
        """Where the next row goes. Rows that were there and are gone leave a gap, which is found; it is not filled."""
        return max(self.head(), self._durable or Head(0, GENESIS), key=lambda head: head.seq)

    def committed(self) -> None:
        """What was appended is durable."""
        self._durable = self._head or self._durable

    def rolled_back(self) -> None:
        """What was appended may not be there."""
        self._head = None

    def head(self) -> Head:
        row = self._execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        return Head(*row) if row else self.cut()

    def written(self) -> Head | None:
        return self._durable

    def expect(self, head: Head) -> None:
        if head.seq > self.head().seq:
            self._head = self._durable = head

    def cut(self) -> Head:
        row = self._execute("SELECT through, hash FROM audit_cut ORDER BY through DESC LIMIT 1").fetchone()
        return Head(*row) if row else Head(0, GENESIS)

    def rows(self, *, after: int, limit: int) -> Sequence[Row]:
        return _rows(self._execute(f"{_ROW} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)))

    def search(self, wanted: Filter, *, above: int, below: int, limit: int) -> Sequence[Row]:
        w = wanted
        given = (
            above, below, w.after_us, w.before_us, w.before_us, w.actor, w.actor, w.agent, w.agent, w.agent_name,
            w.operation, w.operation, w.operation, w.operation, w.operation, w.target, w.target,
            w.decision, w.decision, w.outcome, w.outcome, w.request, w.request, limit,
        )  # fmt: skip
        return _rows(self._execute(_ROW + _WANTED, given))

    def latest_us(self, *, above: int, below: int) -> int:
        found = self._execute("SELECT max(at_us) FROM audit WHERE seq > ? AND seq < ?", (above, below))
        return int(found.fetchone()[0] or 0)

    def allow_cut(self, head: Head) -> None:
        self._execute("INSERT INTO audit_cut (through, hash) VALUES (?, ?)", head)

    def delete(self, *, through: int, at_most: int) -> int:
        removed = self._execute(
            "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= ? ORDER BY seq LIMIT ?)",
            (through, at_most),
        )
        return removed.rowcount

    def unguarded(self) -> Sequence[str]:
        made, found = _guards(), _about_trail(self._execute)
        gone = [f"{name} is not there" for name in made.keys() - found.keys()]
        changed = [
            f"{name} is not what it was made as" for name in made if found.get(name, made[name]) != made[name]
        ]
        foreign = [f"{name} is not of envmgr" for name in found.keys() - made.keys()]
        return sorted([*gone, *changed, *foreign])


def _about_trail(execute: Callable[[str], Iterable[tuple[str, str, str]]]) -> dict[str, str]:
    """All that stands between a row and its table, and the text of each as SQLite keeps it.

    Other tables' triggers are looked at as well, if they name the trail; and names in any writing, as SQLite does.
    """
    found = execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND"
        " (lower(tbl_name) IN ('audit', 'audit_cut') OR lower(name) IN ('audit', 'audit_cut')"
        " OR (type = 'trigger' AND lower(sql) LIKE '%audit%'))"
    )
    return {f"the {kind} {name}": sql for kind, name, sql in found}


@cache
def _guards() -> dict[str, str]:
    """What a new database has of them."""
    script = files(__package__).joinpath("migrations", "0003_audit_keys.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(script)
        return _about_trail(made.execute)


def _rows(found: Iterable[tuple[object, ...]]) -> list[Row]:
    # The table is STRICT, so that columns have the types of the fields.
    return [Row(row[0], Entry(*row[1:-2]), row[-2], row[-1]) for row in found]  # type: ignore[arg-type]
