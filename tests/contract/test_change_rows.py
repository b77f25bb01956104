"""What the store keeps of observed changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envmgr.model.observed import Evidence, ObservedChange, Told, WriteKind
from envmgr.protocols.store import Store, Transaction
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_ONE = ObservedChange(
    path="src/é.py",
    kind=WriteKind.ADDED,
    at=5.0,
    repo="/r",
    agent="a1",
    name="fox-1",
    is_main=True,
    evidence=Evidence.TOOL,
    violates=7,
    holder="a2",
    holder_name="fox-2",
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open(tmp_path / "state.db")
    yield store
    await store.close()


def _put(tx: Transaction, *changes: ObservedChange) -> list[int]:
    return [tx.changes.put(change) for change in changes]


@proves("CHANGES-002")
async def test_the_newest_change_of_a_file_by_an_agent_is_kept(store: Store) -> None:
    again = replace(_ONE, at=9.0, kind=WriteKind.DELETED, violates=0)
    other = replace(_ONE, is_main=False)

    first, second, third = await store.write(lambda tx: _put(tx, _ONE, other, again))

    assert first < second < third
    kept = await store.read(lambda tx: tx.changes.recent("/r"))
    assert kept == [replace(again, seq=third), replace(other, seq=second)]
    assert await store.read(lambda tx: tx.changes.one("/r", "a1", "src/é.py", is_main=True)) == kept[0]
    assert await store.read(lambda tx: tx.changes.one("/r", "a2", "src/é.py", is_main=True)) is None


@proves("CHANGES-002")
async def test_changes_are_found_by_agent_number_and_time(store: Store) -> None:
    made = [replace(_ONE, path=str(n), at=float(n), agent=f"a{n % 2}") for n in range(6)]
    made.append(replace(_ONE, repo="/other"))
    numbers = await store.write(lambda tx: _put(tx, *made))

    async def look(**wanted: Any) -> list[str]:  # Any: as `recent` takes it
        return [c.path for c in await store.read(lambda tx: tx.changes.recent("/r", **wanted))]

    assert await look() == ["5", "4", "3", "2", "1", "0"]
    assert await look(agent="a1") == ["5", "3", "1"]
    assert await look(after=numbers[3]) == ["5", "4"]
    assert await look(since_at=4.0) == ["5", "4"]
    assert await look(limit=1) == ["5"]


@proves("CHANGES-002")
async def test_old_ones_and_too_many_go(store: Store) -> None:
    made = [replace(_ONE, path=str(n), at=float(n)) for n in range(6)]
    await store.write(lambda tx: _put(tx, *made, replace(_ONE, agent="a2")))

    await store.write(lambda tx: tx.changes.keep("/r", "a1", most=4))
    left = [c.path for c in await store.read(lambda tx: tx.changes.recent("/r", agent="a1"))]
    gone = await store.write(partial(_prune, before_at=4.0))

    assert left == ["5", "4", "3", "2"]
    assert gone == 2
    assert len(await store.read(lambda tx: tx.changes.recent("/r"))) == 3


def _prune(tx: Transaction, *, before_at: float) -> int:
    return tx.changes.prune(before_at=before_at, at_most=100)


@proves("CHANGES-002")
async def test_how_far_an_agent_has_been_told_is_kept_until_it_is_forgotten(store: Store) -> None:
    assert await store.read(lambda tx: tx.changes.told("a1")) is None
    await store.write(lambda tx: tx.changes.tell("a1", Told(change=3, token=4)))
    await store.write(lambda tx: tx.changes.tell("a1", Told(change=5, token=4)))
    await store.write(lambda tx: _put(tx, _ONE))
    assert await store.read(lambda tx: tx.changes.told("a1")) == Told(change=5, token=4)

    await store.write(lambda tx: tx.changes.forget("a1"))

    assert await store.read(lambda tx: tx.changes.told("a1")) is None
    assert len(await store.read(lambda tx: tx.changes.recent("/r"))) == 1
