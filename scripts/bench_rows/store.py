"""Durable writes through the store against one raw connection that commits each by itself.

Both append the same event to the same tables with the same pragmas, in files side by side. Rounds alternate, so that
both meet the same noise; the best round of each is compared, and every figure is writes per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from envmgr.model.event import NewEvent
from envmgr.protocols.store import Transaction
from envmgr.store.schema import connect, prepare
from envmgr.store.sqlite import SqliteStore

EVENT = NewEvent(
    kind="agent.running", agent="abcd2345", generation=3, cause="req-1", data={"step": "ports", "n": 7}
)
ROUND_S = 0.5


def measure_group_commit(rounds: int = 5) -> dict[str, float]:
    """Rates in writes per second.

    Returns:
        `raw`: one sqlite3 connection, one commit each. `store_1`, `store_8`, `store_64`: so many asyncio tasks, each
        awaiting its own write. `store_8_by_64`: 8 tasks, 64 appends in each write. `ratio_8`: `store_8` to `raw`.
    """
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="em-bench-", dir=Path.home()) as folder:
        for number in range(rounds):
            found = {"raw": _raw(Path(folder) / f"raw{number}.db")}
            found |= asyncio.run(_through_store(Path(folder) / f"store{number}.db"))
            best = {name: max(rate, best.get(name, 0.0)) for name, rate in found.items()}
    return best | {"ratio_8": best["store_8"] / best["raw"]}


def _raw(path: Path) -> float:
    prepare(path)
    connection = connect(path)
    row = (1.0, EVENT.kind, EVENT.agent, EVENT.generation, EVENT.cause, json.dumps(dict(EVENT.data)))
    sql = "INSERT INTO event (at, kind, agent, generation, cause, data) VALUES (?, ?, ?, ?, ?, ?)"
    try:
        return _rate(connection, sql, row)
    finally:
        connection.close()


def _rate(connection: sqlite3.Connection, sql: str, row: tuple[object, ...]) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < ROUND_S:
        connection.execute(sql, row)
        count += 1
    return count / (time.perf_counter() - began)


async def _through_store(path: Path) -> dict[str, float]:
    store = await SqliteStore.open(path)

    async def one() -> int:
        await store.write(lambda tx: tx.append(EVENT, at=1.0))
        return 1

    async def many() -> int:
        return await store.write(_append_64)

    try:
        return {
            "store_1": await _together(1, one),
            "store_8": await _together(8, one),
            "store_64": await _together(64, one),
            "store_8_by_64": await _together(8, many),
        }
    finally:
        await store.close()


def _append_64(tx: Transaction) -> int:
    for _ in range(64):
        tx.append(EVENT, at=1.0)
    return 64


async def _together(tasks: int, write: Callable[[], Awaitable[int]]) -> float:
    began, count = time.perf_counter(), 0

    async def client() -> None:
        nonlocal count
        while time.perf_counter() - began < ROUND_S:
            written = await write()
            count += written

    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(client)
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for name, value in measure_group_commit(parser.parse_args().rounds).items():
        print(f"{name:15} {value:12,.1f}")
