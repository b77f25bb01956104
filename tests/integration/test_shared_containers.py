"""One PostgreSQL for all agents of a repository, with a database for each; really queried, on the real engine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from envmgr.model.container import ContainerSpec, MountKind, MountSpec, Scope
from envmgr.model.ids import LABEL_AGENT, LABEL_GENERATION, LABEL_STATE, AgentId, network_name
from envmgr.model.observe import Present, Seen
from envmgr.model.probe import ExecProbe, HttpProbe, Readiness
from envmgr.model.service import Condition, Dependency, PortSpec, RunWhen, ServiceState, Tenant
from envmgr.protocols.engine import Engine, Found, Labels
from envmgr.runtime import owning, runners, shared_networks, sharing, tenancy
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps import shared
from envmgr.runtime.steps.ports import LeasePorts
from envmgr.runtime.steps.services import stop_services
from tests.support.containers import container, engaged, task
from tests.support.crowds import Crowd
from tests.support.docker import BASE, POSTGRES, WEB, existing, nothing_in_engine
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

EXISTS = "SELECT 1 FROM pg_database WHERE datname = 'a${agent.id}'"
DB = replace(
    container(
        "db",
        (),
        image=POSTGRES,
        inside=ContainerSpec(
            mounts=(MountSpec(kind=MountKind.VOLUME, source="pgdata", target="/var/lib/postgresql/data"),)
        ),
        env={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": "shop", "POSTGRES_DB": "shop"},
    ),
    scope=Scope.SHARED,
    ports=(PortSpec(name="sql", container=5432),),
    ready=Readiness(probe=ExecProbe(command=("pg_isready", "-U", "shop", "-d", "shop"), inside=True)),
    exports={"DATABASE_URL": "postgresql://shop:shop@127.0.0.1:${ports.sql}/a${agent.id}"},
    tenant=Tenant(
        create=f'psql -U shop -tAc "{EXISTS}" | grep -q 1 || createdb -U shop a${{agent.id}}',
        drop="dropdb -U shop --force a${agent.id}",
    ),
)
MIGRATE = task(
    "migrate",
    'psql "$DATABASE_URL" -c "create table owned (name text)" -c "insert into owned values (\'$ENVMGR_AGENT\')"',
    image=POSTGRES,
    depends_on=(Dependency(service="db", condition=Condition.READY),),
    run_when=RunWhen(env=("DATABASE_URL",)),
)


@pytest.fixture
async def crowd(tmp_path: Path) -> AsyncIterator[Crowd]:
    first = AgentId(secrets.token_hex(4))
    async with incarnation(tmp_path, DB, MIGRATE, agent=first) as inc:
        with nothing_in_engine({LABEL_STATE: str(inc.layout.state_dir)}):
            async with engaged(inc):
                yield Crowd(inc)
                for volume in ("pgdata",):
                    await inc.systems.containers.remove_volume(
                        f"envmgr-{sharing.common(inc, DB).id}-{volume}"
                    )


async def start(inc: Incarnation) -> dict[str, str]:
    """How each service stands."""
    with anyio.fail_after(60):
        await LeasePorts(inc).do()
        outcomes = await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
    assert {o.state for o in outcomes.values()} <= {ServiceState.READY, ServiceState.DONE}
    return {name: outcome.detail for name, outcome in outcomes.items()}


async def stop(inc: Incarnation) -> None:
    with anyio.fail_after(60):
        await stop_services(inc)
        await shared.leave(inc)


async def ask(inc: Incarnation, query: str, database: str) -> str:
    """What PostgreSQL itself says."""
    common = sharing.common(inc, DB)
    held = (await (await runners.hire(common)).of(common.service("db")).status())["db"]
    argv = ["psql", "-U", "shop", "-tAc", query, database]
    code, output = await inc.systems.containers.execute(held.container, argv, deadline_s=10)
    assert code == 0, output
    return output.strip()


@proves("SHARE-013", "SHARE-010", "SHARE-011", "TASK-003")
async def test_agents_share_a_postgresql_and_each_has_a_database_of_its_own(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    async with anyio.create_task_group() as group:
        group.start_soon(start, otter)
        group.start_soon(start, heron)
    running = [one for one in existing({LABEL_STATE: str(otter.layout.state_dir)}) if "-db" in one]
    assert running == [f"container: envmgr-{sharing.common(otter, DB).id}-g1-db"]
    for agent in (otter, heron):
        assert await ask(agent, "select name from owned", f"a{agent.id}") == agent.id

    await stop(otter)
    assert await ask(heron, "select name from owned", f"a{heron.id}") == heron.id
    otter.generation += 1
    assert (await start(otter))["migrate"].startswith("skipped: unchanged")
    assert await ask(otter, "select name from owned", f"a{otter.id}") == otter.id

    await stop(otter)
    assert await tenancy.quit_all(otter) == []
    assert otter.id not in await ask(heron, "select datname from pg_database", "shop")
    otter.generation += 1
    assert (await start(otter))["migrate"] == "exited with 0"
    await stop(otter)
    await stop(heron)


CACHE = replace(
    container("cache", (), image=WEB),
    scope=Scope.SHARED,
    ports=(PortSpec(name="http", container=80),),
    ready=Readiness(probe=HttpProbe(port="http")),
)
CLIENT = container("client", "exec sleep 600", image=BASE)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Crowd]:
    first = AgentId(secrets.token_hex(4))
    async with incarnation(tmp_path, CACHE, CLIENT, agent=first) as inc:
        with nothing_in_engine({LABEL_STATE: str(inc.layout.state_dir)}):
            async with engaged(inc):
                yield Crowd(inc)


async def reaches(inc: Incarnation) -> bool:
    """Whether the agent's own container finds the shared one by its name."""
    client = owning.container(inc, "client")
    argv = ["busybox", "wget", "-q", "-O", "/dev/null", "http://cache/"]
    return (await inc.systems.containers.execute(client, argv, deadline_s=10))[0] == 0


@proves("SHARE-007", "SHARE-013")
async def test_a_shared_container_that_is_made_anew_is_reached_by_all_again(pair: Crowd) -> None:
    otter, heron = await pair.agent("otter"), await pair.agent("heron")
    for agent in (otter, heron):
        await start(agent)
        assert await reaches(agent)
    await otter.systems.containers.remove(owning.container(sharing.common(otter, CACHE), "cache"))
    assert not await reaches(heron)

    hired = await runners.hire(otter)
    with anyio.fail_after(30):
        await ServiceRun(otter, hired, {}, lambda *_: None).start(only=["cache"])
    assert await reaches(otter)
    assert await reaches(heron)
    await stop(otter)
    assert await reaches(heron)
    await stop(heron)


class InBetween:
    """The engine, and what other agents do to it between two calls."""

    def __init__(self, engine: Engine, *, gone: Sequence[Found] = (), reconnects: str = "") -> None:
        """`gone`: networks that a listing still shows; `reconnects`: who joins a network before it is removed, once."""
        self._engine, self._gone, self._reconnects = engine, gone, reconnects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def networks(self, labels: Labels) -> Seen[Sequence[Found]]:
        seen = await self._engine.networks(labels)
        assert isinstance(seen, Present)
        return Present([*seen.value, *self._gone])

    async def remove_network(self, name: str) -> None:
        if self._reconnects:
            container, self._reconnects = self._reconnects, ""
            await self._engine.connect_network(name, container, aliases=())
        await self._engine.remove_network(name)


def through(inc: Incarnation, engine: InBetween) -> Incarnation:
    return replace(inc, systems=replace(inc.systems, engine=cast("Engine", engine)))


@proves("SHARE-016")
async def test_agents_that_come_and_go_at_the_same_time_do_not_fail_each_other(pair: Crowd) -> None:
    otter, heron = await pair.agent("otter"), await pair.agent("heron")
    for agent in (otter, heron):
        await start(agent)
    engine, shared_one = otter.systems.containers, owning.container(sharing.common(otter, CACHE), "cache")

    labels = {LABEL_AGENT: heron.id, LABEL_GENERATION: "7"}
    gone = Found(name=network_name(heron.id, 7, "default"), labels=labels)
    await shared_networks.connect(through(otter, InBetween(engine, gone=[gone])), CACHE)

    await stop(through(heron, InBetween(engine, reconnects=shared_one)))
    assert existing({LABEL_AGENT: heron.id}) == []
    assert await reaches(otter)
    await stop(otter)
