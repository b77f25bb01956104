"""Many spawns at once, and starts again, over one supervisor: together they never get more than the host has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.agent import Lifecycle
from envmgr.model.spec import AgentSpec, Limits
from envmgr.protocols.gauges import Gauges, HostFigures
from envmgr.protocols.store import AgentRecord, OwedEffect, Transaction
from envmgr.runtime.actor import Actor
from envmgr.runtime.admission import Refused
from envmgr.runtime.bus import Bus
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.room import HostLimits
from envmgr.runtime.supervisor import Policy, Supervisor
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

GB = 10**9


class TenGigabytes(Gauges):
    """A machine of which nothing is used yet."""

    async def host(self, folders: Mapping[str, Path]) -> HostFigures:
        return HostFigures(memory_bytes=16 * GB, available_bytes=11 * GB)


async def _perform(actor: Actor, owed: OwedEffect, *, was_cut_off: bool = False) -> None:
    """Nothing: they spawn for ever."""


def _supervisor(inc: Incarnation) -> Supervisor:
    policy = Policy(limits=HostLimits(min_free_memory_bytes=GB, max_agents=100))
    systems = replace(inc.systems, gauges=TenGigabytes())
    return Supervisor(systems, inc.layout, inc.instance, bus=Bus(), policy=policy, perform=_perform)


@dataclass
class Crowd:
    """Who asks at once, and what they got."""

    supervisor: Supervisor
    refused: int = 0

    async def spawn(self, inc: Incarnation, spec: AgentSpec) -> None:
        try:
            await self.supervisor.spawn(spec, repo=inc.repo, environment={}, cause="")
        except Refused:
            self.refused += 1

    async def start(self, actor: Actor) -> None:
        try:
            await self.supervisor.start_again(actor, environment={}, cause="")
        except Refused:
            self.refused += 1


def _active(supervisor: Supervisor) -> int:
    return sum(actor.state.lifecycle is Lifecycle.SPAWNING for actor in supervisor.actors())


@proves("ADMIT-002", "R-36")
async def test_fifty_spawns_at_once_get_no_more_memory_than_there_is(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc, anyio.create_task_group() as effects:
        crowd = Crowd(_supervisor(inc))
        crowd.supervisor.start(effects)
        wanted = replace(inc.spec, limits=Limits(memory_bytes=GB), template="crowd")

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(crowd.spawn, inc, replace(wanted, name=f"crowd-{number}"))

        assert (_active(crowd.supervisor), crowd.refused) == (10, 40)


@proves("ADMIT-002")
async def test_starts_at_once_get_no_more_memory_than_there_is(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc, anyio.create_task_group() as effects:
        crowd = Crowd(_supervisor(inc))
        crowd.supervisor.start(effects)
        (known,) = await inc.systems.store.read(lambda tx: tx.agents())
        spec = replace(inc.spec, limits=Limits(memory_bytes=3 * GB))
        records = [_stopped(known, spec, number) for number in range(6)]

        def insert(tx: Transaction) -> None:
            for record in records:
                tx.insert_agent(record)

        await inc.systems.store.write(insert)
        actors = [crowd.supervisor.take_over(record) for record in records]

        async with anyio.create_task_group() as group:
            for actor in actors:
                group.start_soon(crowd.start, actor)

        assert (_active(crowd.supervisor), crowd.refused) == (3, 3)


def _stopped(known: AgentRecord, spec: AgentSpec, number: int) -> AgentRecord:
    name = f"stopped-{number}"
    state = replace(known.state, id=type(known.state.id)(f"{number:08x}"), name=name)
    return AgentRecord(state=state, spec=replace(spec, name=name))
