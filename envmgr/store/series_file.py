"""The database file of measurements: its tables, and what is done when it cannot be used.

Whatever happens to it is no trouble of agents: a damaged file is moved aside and begun anew, what cannot be written is
dropped. All of it belongs to one thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from envmgr.protocols.series import Sample
from envmgr.store.lane import Answer, Job
from envmgr.store.trouble import shown

log = logging.getLogger(__name__)
T = TypeVar("T")

_FORMAT = 1
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY_S = 2.0
_MINUTE_S = 60
_GIVEN_UP = 0.1
"""Part of the time that goes at once, the oldest, when the file is too large."""
# Rows stand together by line, as they are read; without an index a sample takes some 25 bytes.
_TABLES = f"""
CREATE TABLE line (id INTEGER PRIMARY KEY, agent TEXT, subject TEXT, metric TEXT, UNIQUE (agent, subject, metric)) STRICT;
CREATE TABLE raw (line INTEGER, at REAL, value REAL, count INTEGER, PRIMARY KEY (line, at)) STRICT, WITHOUT ROWID;
CREATE TABLE minute (line INTEGER, at REAL, value REAL, count INTEGER, PRIMARY KEY (line, at)) STRICT, WITHOUT ROWID;
PRAGMA user_version = {_FORMAT};
"""
_READ = """
SELECT line.agent, line.subject, line.metric, at, value, count
  FROM line JOIN (SELECT * FROM {table}) AS sample ON sample.line = line.id
 WHERE agent = :agent AND (:subject IS NULL OR subject = :subject) AND at >= :since
   AND (:metric = '' OR metric = :metric OR substr(metric, 1, length(:metric) + 1) = :metric || '.')
"""
_MERGE = """
INSERT INTO minute
SELECT line, CAST(at / 60 AS INTEGER) * 60 AS at, sum(value * count) / sum(count), sum(count)
  FROM raw WHERE line = :line AND at < :before GROUP BY 2
    ON CONFLICT DO UPDATE SET value = (value * count + excluded.value * excluded.count) / (count + excluded.count),
                              count = count + excluded.count
"""


class SeriesFile:
    """Opened with the first use, and again after trouble.

    Attributes:
        trouble: What is or was wrong with it, for people; empty when nothing ever was.
    """

    def __init__(self, path: Path, *, raw_s: float, minutes_s: float, max_bytes: int) -> None:
        self._path = path
        self._raw_s = raw_s
        self._minutes_s = minutes_s
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._lines: dict[tuple[str, str, str], int] = {}
        self._is_failing = False
        self.trouble = ""

    # --- the thread's side of the lane --------------------------------------------------------------------

    def work(self, batch: Sequence[Job[SeriesFile]]) -> Sequence[Answer]:
        """Answer every job; one that fails for reasons of the file is answered with None."""
        return [self._attempt(job) for job in batch]

    def close(self) -> None:
        """Give the file back; may be used again."""
        self._lines.clear()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _attempt(self, job: Job[SeriesFile]) -> Answer:
        try:
            return Answer(job.future, self._use(job.call))
        except (sqlite3.Error, OSError) as error:
            self.close()
            if not self._is_failing:
                self._is_failing = True
                self.trouble = f"measurements are not kept: {shown(self._path)}: {error}"
                log.warning("measurements are not kept", extra={"why": str(error)})
            return Answer(job.future)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised there
            return Answer(job.future, error=error)

    def _use(self, call: Callable[[SeriesFile], T]) -> T:
        try:
            result = call(self)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            self._begin_anew(str(error))
            result = call(self)
        self._is_failing = False
        return result

    def _begin_anew(self, why: str) -> None:
        """Keep one damaged file, the last one, for who wants to look into it."""
        self.close()
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._path.replace(aside)
        for end in ("-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        self.trouble = (
            f"{shown(self._path)} was damaged ({why}) and begins anew; the old one is {shown(aside)}"
        )
        log.warning("measurements begin anew", extra={"why": why, "aside": shown(aside)})

    # --- jobs ------------------------------------------------------------------------------------------------

    def write(self, samples: Sequence[Sample]) -> None:
        """Keep them; of two of one line and moment the last one."""
        with self._transaction() as execute:
            rows = [(self._line(execute, one), one.at, one.value, one.count) for one in samples]
            self._open().executemany("INSERT OR REPLACE INTO raw VALUES (?, ?, ?, ?)", rows)

    def read(self, asked: Mapping[str, object]) -> list[Sample]:
        """Raw ones and means of minutes, oldest first."""
        query = f"{_READ.format(table='minute')} UNION ALL {_READ.format(table='raw')} ORDER BY at"
        rows = self._open().execute(query, asked)
        return [
            Sample(agent=agent, subject=subject, metric=metric, at=at, value=value, count=count)
            for agent, subject, metric, at, value, count in rows
        ]

    def forget(self, agent: str) -> None:
        """Drop all lines of an agent."""
        with self._transaction() as execute:
            lines = execute("SELECT id FROM line WHERE agent = ?", (agent,)).fetchall()
            for (line,) in lines:
                execute("DELETE FROM raw WHERE line = ?", (line,))
                execute("DELETE FROM minute WHERE line = ?", (line,))
            execute("DELETE FROM line WHERE agent = ?", (agent,))
            self._lines.clear()

    def tidy(self, now: float) -> int:
        """See `Series.tidy`."""
        before = (now - self._raw_s) // _MINUTE_S * _MINUTE_S
        with self._transaction() as execute:
            gone = 0
            for (line,) in execute("SELECT id FROM line").fetchall():
                execute(_MERGE, {"line": line, "before": before})
                gone += execute("DELETE FROM raw WHERE line = ? AND at < ?", (line, before)).rowcount
                old = (line, now - self._minutes_s)
                gone += execute("DELETE FROM minute WHERE line = ? AND at < ?", old).rowcount
            gone += self._make_small(execute)
            execute(
                "DELETE FROM line WHERE NOT EXISTS (SELECT 1 FROM raw WHERE line = id)"
                " AND NOT EXISTS (SELECT 1 FROM minute WHERE line = id)"
            )
            self._lines.clear()
        # `execute` would take its first step only and free one page.
        self._open().executescript("PRAGMA incremental_vacuum")
        return gone

    def _make_small(self, execute: _Execute) -> int:
        """Give up the oldest samples until the rest fits."""
        gone = 0
        for table in ("raw", "minute"):
            while self._used_bytes(execute) > self._max_bytes:
                first, last = execute(f"SELECT min(at), max(at) FROM {table}").fetchone()  # noqa: S608 - ours
                if first is None:
                    break
                until = first + (last - first) * _GIVEN_UP
                gone += execute(f"DELETE FROM {table} WHERE at <= ?", (until,)).rowcount  # noqa: S608 - ours
        return gone

    def _used_bytes(self, execute: _Execute) -> int:
        pages, free, size = (
            execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    # --- the connection --------------------------------------------------------------------------------------

    def _line(self, execute: _Execute, sample: Sample) -> int:
        key = (sample.agent, sample.subject, sample.metric)
        if key not in self._lines:
            execute("INSERT OR IGNORE INTO line (agent, subject, metric) VALUES (?, ?, ?)", key)
            where = "agent = ? AND subject = ? AND metric = ?"
            self._lines[key] = execute(f"SELECT id FROM line WHERE {where}", key).fetchone()[0]  # noqa: S608 - ours
        return self._lines[key]

    @contextmanager
    def _transaction(self) -> Iterator[_Execute]:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection.execute
            connection.execute("COMMIT")
        except BaseException:
            # Lines that were new are not there now.
            self._lines.clear()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection = connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            _prepare(connection)
        return self._connection


_Execute = Callable[..., sqlite3.Cursor]


def _prepare(connection: sqlite3.Connection) -> None:
    # Without effect on a database that has tables.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may lose the last minutes but damages nothing (sqlite.org/pragma.html#pragma_synchronous).
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    elif version != _FORMAT:
        error = sqlite3.DatabaseError(f"format {version}, this envmgr writes {_FORMAT}")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
