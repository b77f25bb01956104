"""The store on SQLite: one thread writes, one reads, and one searches, so that nobody waits for a long query.

WAL lets the reader go on while the writer commits. `synchronous = FULL` makes a commit durable before it is answered;
sharing it among all changes that wait (group commit) makes that cheap.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from envmgr.aio import blocking
from envmgr.protocols.store import Transaction
from envmgr.store.lane import Answer, Job, Lane
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import connect, prepare
from envmgr.store.trouble import told, unavailable

T = TypeVar("T")


class SqliteStore:
    """`envmgr.protocols.store.Store` in one file. Belongs to the event loop it was opened in."""

    def __init__(
        self,
        path: Path,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        searching: sqlite3.Connection,
    ) -> None:
        writer, reader, searcher = _Writer(path, writing), _Reader(path, reading), _Reader(path, searching)
        self._writes: Lane[Transaction] = Lane("store-writer", writer.work, close=writing.close)
        self._reads: Lane[Transaction] = Lane("store-reader", reader.work, close=reading.close)
        self._searches: Lane[Transaction] = Lane("store-searcher", searcher.work, close=searching.close)

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open the database, creating or migrating it as needed.

        Raises:
            Unavailable: It is damaged, locked, of a newer envmgr, or cannot be read or written.
        """
        return cls(path, *await blocking.act("file", _open, path))

    async def write(self, change: Callable[[Transaction], T]) -> T:
        return await self._writes.ask(change)

    async def read(self, query: Callable[[Transaction], T]) -> T:
        return await self._reads.ask(query)

    async def search(self, query: Callable[[Transaction], T]) -> T:
        return await self._searches.ask(query)

    async def close(self) -> None:
        # The writer last: whoever closes last checkpoints the log and deletes it, and only the writer may write.
        await self._searches.close()
        await self._reads.close()
        await self._writes.close()


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection, sqlite3.Connection]:
    """One to write, two to read."""
    opened: list[sqlite3.Connection] = []
    try:
        prepare(path)
        try:
            opened += (connect(path) for _ in range(3))
            for reading in opened[1:]:
                reading.execute("PRAGMA query_only = ON")
        except BaseException:
            for connection in opened:
                connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise unavailable(error, path) from error
    writing, reading, searching = opened
    return writing, reading, searching


class _Writer:
    """Runs each change of a batch in its own savepoint, and all of them in one commit."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._transaction = SqliteTransaction(connection)

    def work(self, batch: Sequence[Job[Transaction]]) -> Sequence[Answer]:
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            answers = [self._attempt(job) for job in batch]
            execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever ended the transaction, everybody in it must hear of it
            _roll_back(self._connection)
            self._transaction.audit.rolled_back()
            return [Answer(job.future, error=unavailable(error, self._path)) for job in batch]
        self._transaction.audit.committed()
        return answers

    def _attempt(self, job: Job[Transaction]) -> Answer:
        execute = self._connection.execute
        execute("SAVEPOINT change")
        try:
            result = job.call(self._transaction)
        except Exception as error:
            # A full disk or a failing one may make SQLite end the whole transaction by itself.
            if not self._connection.in_transaction:
                raise
            execute("ROLLBACK TO change")
            execute("RELEASE change")
            self._transaction.audit.rolled_back()
            return Answer(job.future, error=told(error, self._path))
        execute("RELEASE change")
        return Answer(job.future, result)


class _Reader:
    """Runs the queries of a batch on one snapshot, taken after all of them were asked."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._transaction = SqliteTransaction(connection)

    def work(self, batch: Sequence[Job[Transaction]]) -> Sequence[Answer]:
        try:
            self._connection.execute("BEGIN")
            answers = [self._attempt(job) for job in batch]
        except sqlite3.Error as error:
            return [Answer(job.future, error=unavailable(error, self._path)) for job in batch]
        finally:
            _roll_back(self._connection)
        return answers

    def _attempt(self, job: Job[Transaction]) -> Answer:
        try:
            return Answer(job.future, job.call(self._transaction))
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised there
            return Answer(job.future, error=told(error, self._path))


def _roll_back(connection: sqlite3.Connection) -> None:
    # Where even this fails, the next BEGIN fails too, is answered, and leads here again.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
