"""What callers of `write` and `read` may rely on when many call at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.errors import NotFound, Unavailable
from envmgr.model.event import NewEvent
from envmgr.protocols.store import Store, Transaction
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

TICK = NewEvent(kind="tick")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open(tmp_path / "state.db")
    yield store
    await store.close()


@asynccontextmanager
async def _held_writer(store: Store) -> AsyncIterator[None]:
    """Keep the writer busy, so that what is asked inside lands in one batch after it."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        begun.set()
        go_on.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(store.write, hold)
        await anyio.to_thread.run_sync(begun.wait)
        try:
            yield
        finally:
            go_on.set()


def _count(tx: Transaction) -> int:
    """Read, add, write: loses counts unless changes are run one after the other."""
    total = int(tx.get("count") or 0) + 1
    tx.put("count", str(total))
    return total


def _count_then_fail(tx: Transaction) -> None:
    _count(tx)
    tx.append(TICK, at=1.0)
    raise NotFound("no such thing")


@proves("STORE-002")
async def test_a_change_that_fails_undoes_itself_and_not_those_in_the_same_commit(store: Store) -> None:
    async with _held_writer(store):
        answers = asyncio.gather(
            store.write(_count), store.write(_count_then_fail), store.write(_count), return_exceptions=True
        )
        await asyncio.sleep(0)

    first, failure, last = await answers
    assert (first, last) == (1, 2)
    assert isinstance(failure, NotFound)
    assert await store.read(lambda tx: (tx.get("count"), tx.events())) == ("2", [])


@proves("STORE-002")
async def test_any_error_of_a_change_is_raised_to_its_caller(store: Store) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        await store.write(lambda tx: tx.append(NewEvent(kind="k", data={"bad": object()}), at=1.0))

    assert await store.write(_count) == 1


@proves("R-38")
async def test_changes_of_many_tasks_are_run_one_after_the_other(store: Store) -> None:
    totals: list[int] = []

    async def client() -> None:
        for _ in range(20):
            totals.append(await store.write(_count))
            assert int(await store.read(lambda tx: tx.get("count")) or 0) >= totals[-1]

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(client)

    assert sorted(totals) == list(range(1, 1001))


async def test_a_query_sees_what_was_written_before_it(store: Store) -> None:
    for number in range(1, 51):
        await store.write(_count)

        assert await store.read(lambda tx: tx.get("count")) == str(number)


async def test_a_query_does_not_wait_for_a_change(store: Store) -> None:
    async with _held_writer(store):
        with anyio.fail_after(5):
            assert await store.read(lambda tx: tx.get("count")) is None


async def test_a_query_cannot_write(store: Store) -> None:
    with pytest.raises(Unavailable, match="readonly"):
        await store.read(_count)

    assert await store.read(lambda tx: tx.get("count")) is None


async def test_an_error_of_a_query_is_its_callers_alone(store: Store) -> None:
    good, bad = await asyncio.gather(
        store.read(lambda tx: tx.get("count")), store.read(lambda tx: int("x")), return_exceptions=True
    )

    assert good is None
    assert isinstance(bad, ValueError)


async def test_cancelling_a_caller_does_not_undo_a_change_the_writer_has_taken(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> int:
        begun.set()
        go_on.wait(10)
        return _count(tx)

    async with anyio.create_task_group() as group:
        group.start_soon(store.write, slow)
        await anyio.to_thread.run_sync(begun.wait)
        group.cancel_scope.cancel()
    go_on.set()

    assert await store.write(_count) == 2


@proves("STORE-011")
async def test_closing_finishes_the_writes_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    writes = [asyncio.ensure_future(store.write(_count)) for _ in range(20)]
    await asyncio.sleep(0)

    await store.close()

    assert sorted(await asyncio.gather(*writes)) == list(range(1, 21))
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


@proves("STORE-011")
async def test_a_closed_store_says_so_and_may_be_closed_again(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    await store.close()
    await store.close()

    with pytest.raises(Unavailable, match="closed"):
        await store.write(_count)
    with pytest.raises(Unavailable, match="closed"):
        await store.read(lambda tx: tx.get("count"))
