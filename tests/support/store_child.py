"""Write to a store for ever and say on stdout what was answered; meant to be killed.

Run as `python -m tests.support.store_child PATH FIRST`. Each change appends an event and sets a setting of the same
number, counted from FIRST.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import anyio

from envmgr.model.event import NewEvent
from envmgr.protocols.store import Transaction
from envmgr.store.sqlite import SqliteStore


async def main(path: Path, first: int) -> None:
    os.write(1, b"opening\n")
    store = await SqliteStore.open(path)
    numbers = itertools.count(first)

    async def client() -> None:
        for number in numbers:

            def change(tx: Transaction, number: int = number) -> None:
                tx.append(NewEvent(kind="tick", data={"number": number}), at=1.0)
                tx.put(f"number-{number}", "done")

            await store.write(change)
            os.write(1, f"{number}\n".encode())

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(client)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
