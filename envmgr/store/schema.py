"""Open the database file: create it, look whether it is whole, and bring its tables up to date.

Migrations are SQL files named `NNNN_what.sql`, forward only. Each runs in a transaction of its own together with the
new `user_version`, so a crash leaves the database at one version or at the next.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from envmgr.errors import Unavailable
from envmgr.store import shrinking
from envmgr.store.trouble import damaged, shown

_BUSY_S = 5.0
# Tables are STRICT.
_OLDEST_SQLITE = (3, 37, 0)


def migrations() -> list[str]:
    """The SQL of every version, the first one first."""
    found = sorted(
        (file for file in files(__package__).joinpath("migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [file.read_text(encoding="utf-8") for file in found]


def prepare(path: Path) -> None:
    """Make `path` a whole and current database, creating folder (0700) and file (0600) where they are missing.

    Raises:
        Unavailable: It is damaged, of a newer envmgr, or SQLite is too old.
        OSError: Folder or file cannot be made.
        sqlite3.Error: It cannot be read or written.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise Unavailable(
            f"SQLite {sqlite3.sqlite_version} is too old",
            hint=f"Use a Python with SQLite {'.'.join(map(str, _OLDEST_SQLITE))} or newer.",
        )
    _make_file(path)
    connection = connect(path)
    try:
        _look_whole(connection, path)
        migrate(connection, migrations(), path=path)
        shrinking.prepare(connection)
    finally:
        connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that begins and ends its transactions itself, for use by one thread at a time."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if path.stat().st_size == 0:
            # Counts only while there is no table yet, and before the journal writes the first page. A file that has
            # something is left as it is: it may be damaged, and this would write to it.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS fsync(2) leaves data in the drive's cache; elsewhere this does nothing.
        connection.execute("PRAGMA fullfsync = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, steps: Sequence[str], *, path: Path) -> None:
    """Run the steps that `connection` lacks.

    Raises:
        Unavailable: The database has had more steps than there are.
    """
    while (version := _version(connection)) < len(steps):
        _take(connection, steps[version], version)
    if version > len(steps):
        raise Unavailable(
            f"{shown(path)} was written by a newer envmgr (version {version}; this one knows {len(steps)})",
            hint="Upgrade envmgr, or point it to another state directory.",
        )


def _take(connection: sqlite3.Connection, step: str, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have taken this step while we waited for the lock.
        if _version(connection) == version:
            for statement in _statements(step):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _statements(script: str) -> Iterator[str]:
    # Not executescript(): it commits first, and would end the transaction around the step.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _make_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = path.with_name(f"{path.name}-wal")
    if path.exists():
        # SQLite would take the file for a new one and delete the log, and with it the last writes.
        if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
            raise damaged(path, "it is empty, but its write-ahead log is not")
        return
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # SQLite syncs the file; that the folder names it must be on disk too.
        os.fsync(folder)
    finally:
        os.close(folder)


def _look_whole(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(path, " ".join(str(verdict).split()))
