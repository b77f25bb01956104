"""What is asked of the store several times a second costs the same, however much there is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from envmgr.core.leasing import stem
from envmgr.model.lock import Grant, Mode
from envmgr.model.task import NewTask, TaskSpec, TaskStatus
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import migrate, migrations
from tests.support.requirements import proves

_MANY = 3000
_STEPS = 10
"""Of SQLite's machine between two counts."""
_FEW = 500
"""Steps: more than a look takes, and less than one for each row."""


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrate(made, migrations(), path=Path("memory"))
        yield made


def _steps(connection: sqlite3.Connection, ask: Callable[[], object]) -> int:
    """How many steps SQLite takes to answer."""
    count = 0

    def count_them() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(count_them, _STEPS)
    try:
        ask()
    finally:
        connection.set_progress_handler(None, 0)
    return count * _STEPS


def _grant(number: int) -> Grant:
    target = f"src/f{number}.py"
    return Grant(
        token=0, repo="/r", stem=stem(target), target=target, mode=Mode.WRITE, holder="fox", name="fox", life="1/1",
        sessions=frozenset({"-"}), via=frozenset({"-"}), reason="", ttl_s=300.0, since_at=1.0, expires_at=1000.0 + number,
    )  # fmt: skip


@proves("LOCK-023")
def test_locks_that_are_over_are_found_and_one_is_given_back_without_reading_the_others(
    connection: sqlite3.Connection,
) -> None:
    locks = SqliteTransaction(connection).locks
    held = [locks.add(_grant(number)) for number in range(_MANY)]

    assert _steps(connection, lambda: locks.late(10.0)) < _FEW
    assert _steps(connection, lambda: locks.take_back("/r", held[7].stem, held[7].target, "fox")) < _FEW

    assert [grant.target for grant in locks.late(1002.0)] == ["src/f0.py", "src/f1.py", "src/f2.py"]
    assert locks.one(held[7].token) is None


@proves("LOCK-023")
def test_tasks_whose_time_has_come_are_found_without_reading_the_others(
    connection: sqlite3.Connection,
) -> None:
    tasks = SqliteTransaction(connection).tasks
    for number in range(_MANY):
        new = NewTask(
            repo="/r", spec=TaskSpec(type="t", description="x"), status=TaskStatus.SCHEDULED, unmet=0, rank=float(number),
            run_at=None, due_at=5000.0 + number, deadline_at=9000.0 + number, submitted_at=1.0, submitted_by="paula",
        )  # fmt: skip
        task = tasks.get(tasks.add(new))
        assert task is not None
        if number % 3 == 0:
            tasks.save(replace(task, status=TaskStatus.RUNNING, due_at=None, lease_until=7000.0 + number))

    assert _steps(connection, lambda: tasks.is_any_due(10.0)) < _FEW
    for look in (tasks.due, tasks.overdue, tasks.late):
        assert _steps(connection, partial(look, 10.0, limit=200)) < _FEW

    assert [task.id for task in tasks.overdue(7003.0, limit=200)] == [1, 4]
