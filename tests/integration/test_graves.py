"""Tombstones of what agents began themselves: they end, and never touch an agent that is up again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from envmgr.model.agent import Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.lease import Tombstone
from envmgr.runtime import begun
from envmgr.runtime.graves import Graves
from envmgr.runtime.incarnation import Incarnation
from tests.support.containers import contained
from tests.support.docker import BASE, engine, remove
from tests.support.engine_proxy import door
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

_DAY_S = 86_400.0


@asynccontextmanager
async def at_work(inc: Incarnation) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(Graves(inc.systems).run)
        yield
        group.cancel_scope.cancel()


async def bury(inc: Incarnation, agent: AgentId, *, ago_s: float) -> None:
    """As a stop does while the engine is down."""
    grave = Tombstone(
        kind=begun.GRAVE,
        name=f"envmgr-{agent}",
        agent=agent,
        generation=1,
        since=inc.systems.now() - ago_s,
        data={"instance": inc.instance, "worktree": str(inc.path)},
    )
    await inc.systems.store.write(lambda tx: tx.bury(grave))


async def graves(inc: Incarnation) -> set[str]:
    return {grave.agent for grave in await inc.systems.store.read(lambda tx: tx.tombstones())}


@proves("BEGUN-008")
async def test_what_a_running_agent_began_is_not_taken_for_what_it_left_before(tmp_path: Path) -> None:
    async with contained(tmp_path) as inc:
        await take_over(inc, Lifecycle.RUNNING)
        await bury(inc, inc.id, ago_s=0.0)
        labels = {begun.PROJECT: begun.trace(inc).project}
        made = engine().containers.run(BASE, ["sleep", "600"], detach=True, init=True, labels=labels).id
        try:
            async with at_work(inc):
                await async_eventually(lambda: is_empty(inc), within_s=15)
            assert engine().containers.get(made).status == "running"
        finally:
            remove("container", made)


async def is_empty(inc: Incarnation) -> bool:
    return not await graves(inc)


@proves("BEGUN-008")
async def test_an_engine_that_stays_away_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    removed_now, removed_long_ago = AgentId("beaver00"), AgentId("heron000")
    with door(tmp_path / "way") as way:
        async with contained(tmp_path, host=way.url) as inc:
            await take_over(inc, Lifecycle.STOPPED)
            for agent, ago_s in ((inc.id, 2 * _DAY_S), (removed_now, 0.0), (removed_long_ago, 2 * _DAY_S)):
                await bury(inc, agent, ago_s=ago_s)
            way.shut()
            async with at_work(inc):
                await async_eventually(lambda: is_gone(inc, removed_long_ago), within_s=15)
            assert await graves(inc) == {inc.id, removed_now}
            way.open()
            async with at_work(inc):
                await async_eventually(lambda: is_empty(inc), within_s=15)


async def is_gone(inc: Incarnation, agent: AgentId) -> bool:
    return agent not in await graves(inc)
