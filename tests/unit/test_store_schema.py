from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from envmgr.errors import Unavailable
from envmgr.store.schema import migrate, migrations
from envmgr.store.trouble import shown, unavailable
from tests.support.requirements import proves

HERE = Path("state.db")
FIRST = "CREATE TABLE a (x TEXT); -- one; still one\nINSERT INTO a VALUES ('kept; whole');"
SECOND = "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7"
BROKEN = "CREATE TABLE b (x TEXT);\nINSERT INTO missing VALUES (1);"


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


@proves("STORE-004")
def test_a_database_of_an_older_version_is_brought_up_to_date_with_what_it_holds(
    database: sqlite3.Connection,
) -> None:
    migrate(database, [FIRST], path=HERE)
    assert _version(database) == 1

    migrate(database, [FIRST, SECOND], path=HERE)

    assert _version(database) == 2
    assert database.execute("SELECT x, y FROM a").fetchall() == [("kept; whole", 7)]


@proves("STORE-004")
def test_a_current_database_is_left_alone(database: sqlite3.Connection) -> None:
    migrate(database, [FIRST], path=HERE)

    migrate(database, [FIRST], path=HERE)

    assert database.execute("SELECT count(*) FROM a").fetchone() == (1,)


@proves("STORE-004")
def test_a_migration_that_fails_leaves_the_version_before_it(database: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        migrate(database, [FIRST, BROKEN], path=HERE)

    assert _version(database) == 1
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


@proves("STORE-005")
def test_a_newer_database_is_refused_and_left_as_it_is(database: sqlite3.Connection) -> None:
    migrate(database, [FIRST, SECOND], path=HERE)

    with pytest.raises(Unavailable, match="newer envmgr") as caught:
        migrate(database, [FIRST], path=HERE)

    assert "Upgrade" in caught.value.hint
    assert _version(database) == 2


@proves("STORE-004")
def test_the_first_version_has_the_tables_that_released_databases_have(database: sqlite3.Connection) -> None:
    migrate(database, migrations()[:1], path=HERE)

    tables = {
        name: [column[1] for column in database.execute(f"PRAGMA table_info({name})")]
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    }
    assert tables == {
        "agent": ["id", "name", "version", "created_at", "state", "spec"],
        "event": ["seq", "at", "kind", "agent", "generation", "cause", "data"],
        "effect": ["id", "agent", "effect", "cause"],
        "journal": ["agent", "generation", "step", "position", "record"],
        "lease": ["agent", "service", "name", "port", "block", "held"],
        "tombstone": ["kind", "name", "record"],
        "snapshot": ["id", "snapshot", "restored"],
        "setting": ["key", "value"],
        "sqlite_sequence": ["name", "seq"],
    }


@proves("STORE-007")
def test_a_full_disk_is_called_that(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE a (x BLOB)")
    database.execute("PRAGMA max_page_count = 3")

    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("INSERT INTO a VALUES (zeroblob(100000))")

    error = unavailable(caught.value, HERE)
    assert "disk of state.db is full" in error.message
    assert "space" in error.hint


@proves("STORE-006")
def test_a_lock_of_somebody_else_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other,
    ):
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("BEGIN IMMEDIATE")

    assert "is locked" in unavailable(caught.value, path).message


@proves("STORE-006")
def test_the_home_folder_is_not_spelled_out() -> None:
    assert shown(Path.home() / "envmgr" / "state.db") == "~/envmgr/state.db"
    assert shown(Path("/elsewhere/state.db")) == "/elsewhere/state.db"
