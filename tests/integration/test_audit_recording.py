"""Every call gets its row: with its change or behind it, once, and without secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from envmgr.errors import Conflict, Denied, EnvmgrError, Unavailable
from envmgr.model.audit import Filter, Row
from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.audit.trail import Trail
from envmgr.services.calls import Call, answering
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves
from tests.support.trail import NOW, OTTER, trail
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def _touch(tx: Transaction) -> None:
    tx.put("touched", "1")


def _call(operation: str = "lock.acquire", **params: object) -> Call:
    return Call(principal=OTTER, operation=operation, params=params, at=NOW)


async def _rows(kept: Trail) -> list[Row]:
    return (await kept.query(Filter(), limit=1000))[::-1]


async def _said(kept: Trail) -> list[tuple[str, str]]:
    return [(row.entry.operation, row.entry.outcome) for row in await _rows(kept)]


@proves("TRAIL-001")
async def test_the_row_of_a_call_is_in_the_transaction_of_its_change(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:

        def change(tx: Transaction) -> int:
            _touch(tx)
            call = calls.current()
            assert call is not None, "the call reaches the thread that writes"
            call.target, call.result = "src/app.py", {"ok": True, "token": 7}
            return len(tx.audit.rows(after=0, limit=10))

        mine = _call(target="elsewhere")
        with answering(mine):
            assert await kept.recorder.write(change) == 0

            stored = await kept.recorder.read(
                lambda tx: (tx.get("touched"), tx.audit.rows(after=0, limit=10))
            )
        await kept.recorder.finish(mine, result=None)

        touched, (row,) = stored
        assert touched == "1"
        entry = row.entry
        assert (entry.actor, entry.kind, entry.agent) == ("otter001", "agent", "otter001")
        assert (entry.target, entry.outcome, entry.result) == ("src/app.py", "ok", '{"ok":true,"token":7}')
        assert len(await _rows(kept)) == 1


@proves("TRAIL-001")
async def test_a_change_that_fails_has_neither_effect_nor_its_row_but_the_call_has_one(
    tmp_path: Path,
) -> None:
    async with trail(tmp_path) as kept:

        def fail(tx: Transaction) -> None:
            _touch(tx)
            raise Conflict("somebody has it", hint="Wait.")

        call = _call()
        with answering(call), pytest.raises(Conflict) as raised:
            await kept.recorder.write(fail)
        await kept.recorder.finish(call, error=raised.value)

        (row,) = await _rows(kept)
        assert (row.entry.outcome, row.entry.decision) == ("conflict", "allowed")
        assert json.loads(row.entry.result) == {"message": "somebody has it"}
        assert await kept.recorder.read(lambda tx: tx.get("touched")) is None


@proves("TRAIL-001")
async def test_one_call_has_one_row_however_many_changes_it_makes_and_two_if_it_fails_after_the_first(
    tmp_path: Path,
) -> None:
    async with trail(tmp_path) as kept:
        good, bad = _call("task.claim"), _call("agent.spawn")
        with answering(good):
            await asyncio.gather(*(kept.recorder.write(_touch) for _ in range(5)))
        await kept.recorder.finish(good)
        with answering(bad):
            await kept.recorder.write(_touch)
        await kept.recorder.finish(bad, error=Unavailable("no room"))

        assert await _said(kept) == [
            ("task.claim", "ok"),
            ("agent.spawn", "ok"),
            ("agent.spawn", "unavailable"),
        ]
        rows = await _rows(kept)
        assert rows[1].entry.latency_us is None
        assert rows[2].entry.latency_us is not None


@proves("TRAIL-001")
@pytest.mark.parametrize(
    ("error", "outcome", "decision"),
    [
        (Denied("no"), "denied", "denied"),
        (Conflict("taken"), "conflict", "allowed"),
        (RuntimeError("a bug"), "internal", "allowed"),
        (asyncio.CancelledError(), "cancelled", "allowed"),
    ],
)
async def test_calls_that_change_nothing_are_recorded_by_how_they_ended(
    tmp_path: Path, error: BaseException, outcome: str, decision: str
) -> None:
    async with trail(tmp_path) as kept:
        await kept.recorder.finish(_call(), error=error)

        (row,) = await _rows(kept)
        assert (row.entry.outcome, row.entry.decision) == (outcome, decision)


class _Refusal:
    ok = False
    reason = "locked_by_other"


@proves("TRAIL-001")
async def test_an_answer_that_says_no_is_recorded_as_that(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await kept.recorder.finish(_call(), result=_Refusal(), is_read=True)
        waits = _call()
        with answering(waits):
            waits.result = {"ok": False, "reason": "queued"}
            await kept.recorder.write(_touch)

        assert await _said(kept) == [("lock.acquire", "queued"), ("lock.acquire", "locked_by_other")]


@proves("TRAIL-001")
async def test_what_goes_on_after_the_answer_is_not_the_callers_any_more(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept, anyio.create_task_group() as group:
        go_on = anyio.Event()
        seen: list[str] = []

        async def later() -> None:
            await go_on.wait()
            seen.append(calls.principal().name)
            await kept.recorder.write(_touch)

        call = _call()
        with answering(call):
            group.start_soon(later)
            await anyio.lowlevel.checkpoint()
            assert calls.principal() is OTTER
        await kept.recorder.finish(call)
        go_on.set()
        await async_eventually(lambda: bool(seen))

        assert seen == ["envmgr"]
        assert await _said(kept) == [("lock.acquire", "ok")]


class _Breaking:
    """A store whose commits can be made to fail, as on a full disk."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.is_full = False

    async def write(self, change: Callable[[Transaction], T]) -> T:
        if not self.is_full:
            return await self.store.write(change)

        def doomed(tx: Transaction) -> T:
            change(tx)
            raise Unavailable("the disk is full")

        return await self.store.write(doomed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@proves("TRAIL-001")
async def test_on_a_full_disk_calls_go_on_and_their_rows_wait(tmp_path: Path) -> None:
    breaking = _Breaking(await SqliteStore.open(tmp_path / "state.db"))
    store = AuditedStore(breaking, behind_s=0.0)
    breaking.is_full = True
    changing = _call("lock.release")
    with answering(changing), pytest.raises(Unavailable):
        await store.write(_touch)
    await store.finish(changing, error=Unavailable("the disk is full"))
    await store.finish(_call("lock.list"), is_read=True)
    with pytest.raises(EnvmgrError):
        await store.flush()
    breaking.is_full = False

    await store.flush()

    rows = await store.read(lambda tx: tx.audit.rows(after=0, limit=10))
    assert [(row.entry.operation, row.entry.outcome) for row in rows] == [
        ("lock.release", "unavailable"),
        ("lock.list", "ok"),
    ]
    await store.close()


@proves("TRAIL-001")
async def test_rows_that_wait_are_written_before_the_store_is_closed(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        for _ in range(20):
            await kept.recorder.finish(_call("agent.list"), is_read=True)

    async with trail(tmp_path) as kept:
        assert await _said(kept) == [("agent.list", "ok")] * 20


@proves("TRAIL-001")
async def test_who_is_turned_away_is_recorded_and_a_flood_is_counted(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        for _ in range(500):
            kept.recorder.turn_away(_call("lock.list"), Denied("no key"))

        rows = await _rows(kept)

        counted = sum(
            json.loads(row.entry.result)["rows"] for row in rows if row.entry.operation == "audit.lost"
        )
        single = [row for row in rows if row.entry.operation == "lock.list"]
        assert len(single) <= 100
        assert {row.entry.decision for row in single} == {"denied"}
        assert len(single) + counted == 500


@proves("TRAIL-006")
async def test_secrets_are_not_recorded_and_long_texts_are_cut(tmp_path: Path) -> None:
    secrets = {'a value "with" quotes', "plainvalue42"}
    store = AuditedStore(await SqliteStore.open(tmp_path / "state.db"), secrets, behind_s=0.0)
    texts: list[dict[str, object]] = [
        {"prompt": 'use plainvalue42 and a value "with" quotes'},
        {"prompt": "the key is emk_" + "x" * 43},
        {"password": "hunter2", "nested": [{"api_key": "abc", "note": "kept"}]},
        {"url": "postgres://me:hunter2@db/app"},
        {"prompt": "a long story. " * 500 + "hunter2hunter2"},
        {"tasks": [{"description": f"number {n}"} for n in range(1000)]},
        {f"field{n}": "x" * 200 for n in range(49)},
    ]
    for params in texts:
        await store.finish(Call(principal=OTTER, operation="agent.send", params=params))

    rows = [row.entry for row in await store.read(lambda tx: tx.audit.rows(after=0, limit=100))]
    await store.close()

    written = "".join(entry.params + entry.target + entry.result for entry in rows)
    for secret in ("plainvalue42", 'with\\" quotes', "emk_xxx", "hunter2", '"abc"'):
        assert secret not in written
    assert '"note":"kept"' in written
    assert "characters, sha256 " in rows[4].params
    assert all(len(entry.params) <= 4096 for entry in rows)
    assert json.loads(rows[6].params)["cut"] is True


@proves("TRAIL-001")
@pytest.mark.parametrize("text", ["\0", "\ud800", "é" * 300, '"', "\\"])
async def test_any_text_can_be_recorded_and_checked(tmp_path: Path, text: str) -> None:
    async with trail(tmp_path) as kept:
        await kept.recorder.finish(_call(target=text, more={text: [text]}))

        assert (await kept.verify()).findings == ()
        assert len(await _rows(kept)) == 1
