"""What the supervisor and the watch over services keep in memory of one agent."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from envmgr.runtime.incarnation import Incarnation
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over

pytestmark = pytest.mark.anyio


@proves("LIFE-014")
async def test_all_who_ask_at_once_get_the_same_generation(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, actor = await take_over(inc)
        found: list[Incarnation] = []

        async def ask() -> None:
            found.append(await supervisor.incarnation(actor))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert [one is found[0] for one in found] == [True, True, True]
