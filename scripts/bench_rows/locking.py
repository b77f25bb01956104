"""Locks through the daemon against processes that share one SQLite file, as coordination without a daemon does it."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from scripts.bench_rows.rows import Row, median, row
from scripts.bench_rows.talking import CLIENTS, Talker, together, workers

_SECONDS = 4.0
_ROUNDS = 5
_TARGETS = 1000
_TTL_S = 600
_SCHEMA = """
CREATE TABLE lock (target TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX lock_expires ON lock (expires_at);
CREATE TABLE audit (seq INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, hash BLOB NOT NULL);
"""


class Taken(NamedTuple):
    """What one client got, and how long it waited for the slowest acquire or release."""

    grants: int
    worst_s: float


class Together(NamedTuple):
    """The same of all clients of a round."""

    per_s: float
    worst_s: float


def rows() -> Iterator[Row]:
    """Rounds alternate, so that all meet the same noise."""
    with workers() as keys:
        shares = [(key, number) for number, key in enumerate(keys)]
        found: dict[str, list[Together]] = {"daemon": [], "plain": [], "wal": [], "wal+audit": []}
        for _ in range(_ROUNDS):
            found["daemon"].append(_round(_through_daemon, shares))
            for kind in ("plain", "wal", "wal+audit"):
                found[kind].append(_on_file(kind))
    rates = {kind: median([one.per_s for one in rounds]) for kind, rounds in found.items()}
    worst = {kind: median([one.worst_s for one in rounds]) * 1000 for kind, rounds in found.items()}
    yield row(
        "coordinate", f"acquire + release, {CLIENTS} clients, durable, with audit rows", value=rates["daemon"], unit="grants/s",
        reference=rates["plain"], bar=3.0, at_least=True, note=f"reference: {CLIENTS} processes on one plain SQLite file",
    )  # fmt: skip
    yield row(
        "coordinate", "the slowest acquire or release among them", value=worst["daemon"], unit="ms",
        reference=worst["plain"], bar=0.02, note="reference: the same of the plain file; median of rounds",
    )  # fmt: skip
    for kind, words in (("wal", "WAL"), ("wal+audit", "WAL and an audit row with a hash chain")):
        yield row(
            "coordinate", f"acquire + release, against a file with {words}", value=rates["daemon"], unit="grants/s",
            reference=rates[kind], bar=None, note=f"the file's slowest: {worst[kind]:.0f} ms",
        )  # fmt: skip


def _round(work: object, shares: Sequence[tuple[object, ...]]) -> Together:
    found: list[Taken] = together(work, shares)  # type: ignore[arg-type]
    return Together(sum(one.grants for one in found) / _SECONDS, max(one.worst_s for one in found))


def _on_file(kind: str) -> Together:
    with tempfile.TemporaryDirectory(prefix="eb-", dir=Path.home()) as folder:
        path = Path(folder) / "locks.db"
        with closing(sqlite3.connect(path)) as connection:
            if kind != "plain":
                connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        return _round(_through_file, [(str(path), number, kind == "wal+audit") for number in range(CLIENTS)])


def _through_daemon(key: str, number: int) -> Taken:
    talker, chance = Talker(key), random.Random(number)
    grants, worst, end = 0, 0.0, time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        target = {"targets": [f"db:t{chance.randrange(_TARGETS)}"]}
        began = time.perf_counter()
        is_mine = talker.post("/api/v1/locks/acquire", target)["ok"]
        middle = time.perf_counter()
        if is_mine:
            grants += 1
            assert talker.post("/api/v1/locks/release", target)["ok"]
        worst = max(worst, middle - began, time.perf_counter() - middle)
    return Taken(grants, worst)


def _through_file(path: str, number: int, is_audited: bool) -> Taken:  # noqa: FBT001 - of a pool
    me, chance = f"agent-{number}", random.Random(number)
    with closing(sqlite3.connect(path)) as connection:
        grants, worst, end = 0, 0.0, time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            target = f"db:t{chance.randrange(_TARGETS)}"
            began = time.perf_counter()
            is_mine = _acquire(connection, target, me, is_audited)
            middle = time.perf_counter()
            if is_mine:
                grants += 1
                _release(connection, target, me, is_audited)
            worst = max(worst, middle - began, time.perf_counter() - middle)
    return Taken(grants, worst)


def _acquire(connection: sqlite3.Connection, target: str, me: str, is_audited: bool) -> bool:  # noqa: FBT001
    while True:
        try:
            with connection:
                now = time.time()
                connection.execute("DELETE FROM lock WHERE expires_at <= ?", (now,))
                connection.execute("INSERT OR IGNORE INTO lock VALUES (?, ?, ?)", (target, me, now + _TTL_S))
                (holder,) = connection.execute(
                    "SELECT holder FROM lock WHERE target = ?", (target,)
                ).fetchone()
                if is_audited:
                    _record(connection, me, f"acquire {target}")
        except sqlite3.OperationalError:
            continue  # busy, for longer than Python waits
        return bool(holder == me)


def _release(connection: sqlite3.Connection, target: str, me: str, is_audited: bool) -> None:  # noqa: FBT001
    while True:
        try:
            with connection:
                connection.execute("DELETE FROM lock WHERE target = ? AND holder = ?", (target, me))
                if is_audited:
                    _record(connection, me, f"release {target}")
        except sqlite3.OperationalError:
            continue
        return


def _record(connection: sqlite3.Connection, me: str, what: str) -> None:
    last = connection.execute("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    now = time.time()
    made = sha256((last[0] if last else b"") + f"{now} {me} {what}".encode()).digest()
    connection.execute("INSERT INTO audit (at, who, what, hash) VALUES (?, ?, ?, ?)", (now, me, what, made))
