"""Recovery that is hindered, asked for again, or goes on in another daemon: nothing is forgotten, and nothing is judged by what was before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.model.incident import Rung
from tests.support.incarnations import incarnation
from tests.support.recovering import QUICK, daemon
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@proves("RECOVER-025")
async def test_a_store_that_fails_as_a_measure_is_chosen_costs_neither_the_measure_nor_the_next_one(
    tmp_path: Path,
) -> None:
    reached: list[str] = []
    async with incarnation(tmp_path) as inc:
        inc.spec = replace(inc.spec, recovery=QUICK)
        await _execute(tmp_path, _NO_ROOM_ONCE)
        async with daemon(inc, reach=reached.append) as lab:
            await lab.assistant_dies()
            await lab.until_calm()
            assert reached.count("recover-recorded") == 2
            assert lab.measures.rungs == [Rung.SESSION]

            with anyio.fail_after(5):
                await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="test")


_NO_ROOM_ONCE = """CREATE TRIGGER full BEFORE UPDATE ON agent
WHEN (SELECT json_array_length(incident, '$.climbs') FROM incident) = 1
BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"""


async def _execute(folder: Path, statement: str) -> None:
    def execute() -> None:
        with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as database:
            database.execute(statement)

    await anyio.to_thread.run_sync(execute)
