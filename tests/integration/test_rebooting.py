"""The way back after a restart of the machine, and those who must keep out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.agent import Lifecycle
from envmgr.model.stimulus import SpawnSucceeded, StopSucceeded
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.rebooting import Rebooting
from tests.support.incarnations import incarnation
from tests.support.recovering import LIMITS, QUICK, Lab, daemon
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


async def with_an_open_incident(inc: Incarnation) -> None:
    """An earlier daemon, which saw the assistant die and was to do nothing about it."""
    inc.spec = replace(inc.spec, recovery=QUICK)
    async with daemon(inc, limits=replace(LIMITS, is_on=False)) as lab:
        await lab.assistant_dies()
        await lab.until_waiting()


@asynccontextmanager
async def after_a_reboot(inc: Incarnation) -> AsyncIterator[tuple[Lab, Rebooting]]:
    """The first daemon afterwards, before it brings anybody back."""
    await inc.systems.store.write(lambda tx: tx.put("boot", "the one before"))
    async with daemon(inc) as lab:
        lab.actor.restoring = "waits for its turn"  # before the conductor's first look, as daemons do
        rebooting = Rebooting(lab.supervisor, boot="this one", over=lab.conductor.over)
        await rebooting.mark()
        yield lab, rebooting


async def comes_back(lab: Lab, rebooting: Rebooting) -> None:
    """Stop plan and spawn go well."""
    before = lab.actor.state.generation
    async with anyio.create_task_group() as group:
        group.start_soon(rebooting.run)
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)
        await lab.supervisor.apply(lab.actor, StopSucceeded(generation=before))
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.SPAWNING)
        await lab.supervisor.apply(lab.actor, SpawnSucceeded(generation=before + 1, holds=frozenset()))


@proves("REBOOT-004")
async def test_nothing_is_recovered_that_waits_to_be_brought_back(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        await with_an_open_incident(inc)
        async with after_a_reboot(inc) as (lab, rebooting):
            for _ in range(3):
                lab.conductor.report(lab.actor, lab.death())
                await lab.conductor.look()
            assert (lab.actor.state.lifecycle, lab.actor.state.rung) == (Lifecycle.RUNNING, None)

            await comes_back(lab, rebooting)
            await lab.conductor.look()

            assert (lab.actor.state.lifecycle, lab.actor.state.generation) == (Lifecycle.RUNNING, 2)
            assert lab.measures.taken == []
            assert (await lab.incident()).closed_at is not None
