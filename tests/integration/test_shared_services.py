"""One instance of a service for all agents of a repository, on real processes and keepers."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.errors import ConfigError, Conflict
from envmgr.model.container import Scope
from envmgr.model.probe import ExecProbe, HttpProbe, Readiness
from envmgr.model.service import (
    Condition,
    Dependency,
    PortSpec,
    ServiceKind,
    ServiceSpec,
    ServiceState,
    Tenant,
)
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource
from envmgr.protocols.keepers import Held
from envmgr.runtime import rendering, runners, sharing, tenancy
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import ServiceFailed
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps import shared
from envmgr.runtime.steps.ports import LeasePorts
from envmgr.runtime.steps.services import stop_services
from tests.support.crowds import Crowd
from tests.support.incarnations import incarnation
from tests.support.keepers import end_keeper, lives, py
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

# Answers with its pid and where it works.
SERVE = py(
    "import os, socket\n"
    "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
    "print('serving', flush=True)\n"
    "while True:\n"
    "    peer, _ = server.accept()\n"
    "    peer.recv(4096)\n"
    "    peer.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n%d %s' % (os.getpid(), os.getcwd().encode()))\n"
    "    peer.close()\n"
)
DB = ServiceSpec(
    name="db",
    kind=ServiceKind.PROCESS,
    scope=Scope.SHARED,
    command=SERVE,
    ports=(PortSpec(name="sql"),),
    ready=Readiness(probe=HttpProbe(port="sql"), deadline_s=10.0),
    exports={"DATABASE_URL": "db://127.0.0.1:${ports.sql}/${agent.id}"},
)
API = ServiceSpec(
    name="api",
    kind=ServiceKind.PROCESS,
    command="echo url is $DATABASE_URL; exec sleep 600",
    depends_on=(Dependency(service="db", condition=Condition.READY),),
)


@pytest.fixture
async def crowd(tmp_path: Path) -> AsyncIterator[Crowd]:
    async with incarnation(tmp_path, DB, API) as inc:
        made = Crowd(inc)
        try:
            yield made
        finally:
            homes = [agent.home for agent in made.agents.values()]
            for home in (*homes, sharing.common(inc, DB).home):
                await anyio.to_thread.run_sync(end_keeper, home)


async def start(inc: Incarnation) -> Sequence[tuple[str, ServiceState, str]]:
    """As a spawn does, and taken back as a spawn is when it fails."""
    told: list[tuple[str, ServiceState, str]] = []
    ports = LeasePorts(inc)
    try:
        with anyio.fail_after(20):
            await ports.do()
            run = ServiceRun(inc, await runners.hire(inc), {}, lambda *line: told.append(line))
            await run.start()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stop_services(inc, brief=True)
            await ports.undo(None)
        raise
    return told


async def stop(inc: Incarnation) -> None:
    with anyio.fail_after(20):
        await stop_services(inc)
        await shared.leave(inc)
        await inc.systems.store.write(lambda tx: tx.release_ports(inc.id))


async def answer(inc: Incarnation) -> str:
    """What the database says to this agent."""

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{inc.port('db', 'sql')}/", timeout=5) as page:
            return str(page.read().decode())

    return await anyio.to_thread.run_sync(get)


async def instance(inc: Incarnation) -> Held:
    common = sharing.common(inc, DB)
    return (await (await runners.hire(common)).of(common.service("db")).status())["db"]


async def holders(inc: Incarnation) -> tuple[str, ...]:
    share = await inc.systems.store.read(lambda tx: sharing.read(tx, sharing.common(inc, DB).id))
    return share.holders if share else ()


async def is_gone(held: Held) -> bool:
    return not await anyio.to_thread.run_sync(lives, held.identity)


@proves("SHARE-001")
async def test_all_agents_of_a_repository_use_one_instance_and_the_last_one_ends_it(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    await start(otter)
    await start(heron)
    held = await instance(otter)
    assert await answer(otter) == await answer(heron)
    assert otter.port("db", "sql") == heron.port("db", "sql")

    await stop(otter)
    assert await answer(heron)
    await stop(heron)
    assert await is_gone(held)
    assert await anyio.to_thread.run_sync(otter.systems.sockets.is_free, heron.port("db", "sql"))
    assert await holders(otter) == ()


@proves("SHARE-002")
async def test_it_works_in_the_main_checkout_and_each_agent_gets_exports_of_its_own(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    await start(otter)
    await start(heron)
    assert (await answer(otter)).split()[1] == str(otter.repo.root)
    for agent in (otter, heron):
        url = rendering.assistant_env(agent, {})["DATABASE_URL"]
        assert url == f"db://127.0.0.1:{otter.port('db', 'sql')}/{agent.id}"
        log = sharing.log(agent, agent.service("api"))
        assert f"url is {url}" in await anyio.Path(log).read_text(encoding="utf-8")
    assert "serving" in await anyio.Path(sharing.log(heron, heron.service("db"))).read_text(encoding="utf-8")
    await stop(otter)
    await stop(heron)


@proves("SHARE-003")
async def test_agents_that_come_at_once_start_one_instance(crowd: Crowd) -> None:
    agents = [await crowd.agent(name) for name in ("otter", "heron", "vole", "wren")]
    async with anyio.create_task_group() as group:
        for agent in agents:
            group.start_soon(start, agent)
    assert len({await answer(agent) for agent in agents}) == 1
    assert (await instance(agents[0])).launch == 1
    async with anyio.create_task_group() as group:
        for agent in agents:
            group.start_soon(stop, agent)
    assert await holders(agents[0]) == ()


@proves("SHARE-004")
async def test_a_start_that_fails_fails_all_who_wait_with_the_same_reason_and_leaves_nothing(
    crowd: Crowd,
) -> None:
    broken = replace(DB, command="sleep 0.3; echo no disk >&2; exit 4")
    agents = [await crowd.agent("heron", broken, API), await crowd.agent("vole", broken, API)]
    reasons: list[str] = []

    async def fail(agent: Incarnation) -> None:
        with pytest.raises(ServiceFailed) as failed:
            await start(agent)
        reasons.append(failed.value.message)

    async with anyio.create_task_group() as group:
        for agent in agents:
            group.start_soon(fail, agent)
    assert set(reasons) == {"db ended before it was ready with status 4; its last words: no disk"}
    assert await holders(agents[0]) == ()


@proves("SHARE-005")
async def test_another_definition_is_refused_naming_who_uses_it(crowd: Crowd) -> None:
    otter = await crowd.agent("otter")
    other = await crowd.agent("heron", replace(DB, env={"MODE": "fast"}), API)
    same = await crowd.agent("vole", replace(DB, exports={}, description="the same, seen otherwise"), API)
    await start(otter)
    with pytest.raises(Conflict, match="db runs for otter by another definition") as refused:
        await start(other)
    assert "Stop otter first" in refused.value.hint
    await start(same)
    assert await holders(otter) == (otter.id, same.id)
    for agent in (otter, same):
        await stop(agent)
    await start(other)
    await stop(other)


@proves("SHARE-006")
async def test_a_crash_leaves_nothing_wrong(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    await start(otter)
    await start(heron)
    held, said = await instance(otter), await answer(otter)
    systems = otter.systems

    await shared.tidy(systems, otter.layout, otter.instance, is_alive={otter.id}.__contains__)
    assert await holders(otter) == (otter.id,)
    assert await answer(otter) == said

    await shared.tidy(systems, otter.layout, otter.instance, is_alive=set().__contains__)
    assert await is_gone(held)
    await start(otter)
    assert await answer(otter) != said
    await stop(otter)
    for agent in (otter, heron):
        await stop(agent)


@proves("SHARE-007")
async def test_one_that_died_is_started_again_by_whoever_asks_first(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    await start(otter)
    await start(heron)
    held = await instance(otter)
    assert held.identity is not None
    os.kill(held.identity.pid, signal.SIGKILL)
    await async_eventually(lambda: is_gone(held), within_s=10)

    for agent in (otter, heron):
        hired = await runners.hire(agent)
        await ServiceRun(agent, hired, {}, lambda *_: None).start(only=["db"])
    assert (await instance(otter)).launch == 2
    assert await answer(otter) == await answer(heron)
    await stop(otter)
    await stop(heron)


@proves("SHARE-015")
async def test_one_whose_port_was_stolen_moves_for_all_who_start_it(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    for agent in (otter, heron):
        await LeasePorts(agent).do()
    stolen = otter.port("db", "sql")
    with socket.create_server(("127.0.0.1", stolen)):
        async with anyio.create_task_group() as group:
            group.start_soon(start, otter)
            group.start_soon(start, heron)
    assert otter.port("db", "sql") == heron.port("db", "sql") != stolen
    assert await answer(otter) == await answer(heron)
    await stop(otter)
    await stop(heron)


@proves("SHARE-008")
async def test_a_restart_by_one_agent_does_not_take_it_from_the_others(crowd: Crowd) -> None:
    otter, heron = await crowd.agent("otter"), await crowd.agent("heron")
    await start(otter)
    await start(heron)
    said = await answer(otter)
    runner = (await runners.hire(otter)).of(otter.service("db"))
    assert await runner.stop("db") == ()
    assert await answer(heron) == said
    await stop(heron)
    held = await instance(otter)
    await runner.stop("db")
    assert await is_gone(held)
    await stop(otter)


@proves("SHARE-009")
async def test_nothing_of_the_persons_own_is_ended_with_it(crowd: Crowd) -> None:
    otter = await crowd.agent("otter")
    await start(otter)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(
            await anyio.open_process(["sleep", "600"], cwd=otter.repo.root, stdin=None)
        )
        await stop(otter)
        assert own.returncode is None
        own.terminate()


# One file per database, in the folder the service works in.
TENANTS = replace(
    DB,
    tenant=Tenant(
        create="echo made >>db-${agent.id}; exec test ! -e refuse", drop="rm db-${agent.id}; exec true"
    ),
)


async def places(inc: Incarnation) -> set[str]:
    return {path.name.removeprefix("db-") async for path in anyio.Path(inc.repo.root).glob("db-*")}


@proves("SHARE-010")
async def test_each_agent_gets_a_place_before_its_services_start_and_keeps_it_over_stops(
    crowd: Crowd,
) -> None:
    looks = replace(API, command="ls ../db-*; exec sleep 600")
    heron, vole = await crowd.agent("heron", TENANTS, looks), await crowd.agent("vole", TENANTS, looks)
    await start(heron)
    assert await places(heron) == {heron.id}
    assert f"db-{heron.id}" in await anyio.Path(sharing.log(heron, looks)).read_text(encoding="utf-8")
    await start(vole)
    assert await places(heron) == {heron.id, vole.id}
    await stop(heron)
    await stop(vole)
    assert await places(heron) == {heron.id, vole.id}
    await start(heron)  # create bears repetition
    await stop(heron)


@proves("SHARE-011")
async def test_a_removed_agents_place_is_dropped_at_once_or_when_the_service_is_next_up(crowd: Crowd) -> None:
    heron, vole = await crowd.agent("heron", TENANTS), await crowd.agent("vole", TENANTS)
    await start(heron)
    await start(vole)
    await stop(heron)
    first = await tenancy.since(heron, TENANTS)
    assert await tenancy.quit_all(heron) == []
    assert await places(heron) == {vole.id}

    await stop(vole)
    assert await tenancy.quit_all(vole) == ["its place in db is dropped when that runs again"]
    assert await places(heron) == {vole.id}
    await start(heron)
    assert await places(heron) == {heron.id}
    assert first < await tenancy.since(heron, TENANTS)
    await stop(heron)


@proves("SHARE-012")
async def test_a_place_that_cannot_be_made_fails_the_agent_and_one_that_cannot_be_dropped_is_told(
    crowd: Crowd,
) -> None:
    heron, vole = await crowd.agent("heron", TENANTS), await crowd.agent("vole", TENANTS)
    await start(heron)
    await anyio.Path(heron.repo.root / "refuse").touch()
    with pytest.raises(ServiceFailed, match="db made no place for vole: status 1"):
        await start(vole)
    assert await answer(heron)
    await stop(vole)

    undroppable = replace(TENANTS, tenant=Tenant(drop="echo still in use; exit 5"))
    heron.spec = replace(heron.spec, services=(undroppable,))
    assert await tenancy.quit_all(heron) == ["its place in db was not dropped: status 5: still in use"]
    await stop(heron)


@proves("SHARE-017")
async def test_a_place_that_cannot_be_dropped_at_the_removal_is_dropped_later(crowd: Crowd) -> None:
    heron, vole = await crowd.agent("heron", TENANTS), await crowd.agent("vole", TENANTS)
    await start(heron)
    await start(vole)
    await stop(heron)

    def unknown(spec: AgentSpec, environment: Mapping[str, str]) -> Mapping[str, str]:
        raise ConfigError("there is no secret token", hint="")

    heron.spec = replace(heron.spec, secrets=(SecretRef(name="token", source=SecretSource.ENV, key="TOKEN"),))
    heron.systems = replace(heron.systems, secrets=unknown)
    assert await tenancy.quit_all(heron) == ["its place in db is not dropped yet: there is no secret token"]
    assert await places(vole) == {heron.id, vole.id}

    await stop(vole)
    await start(vole)
    assert await places(vole) == {vole.id}
    await stop(vole)


@proves("SHARE-008")
async def test_one_that_no_longer_answers_is_ended_for_all(crowd: Crowd) -> None:
    deaf_file = (await crowd.agent("otter")).path.parent / "deaf"
    deaf = replace(DB, ready=Readiness(probe=ExecProbe(command=f"test ! -e {deaf_file}"), deadline_s=0.5))
    heron, vole = await crowd.agent("heron", deaf), await crowd.agent("vole", deaf)
    await start(heron)
    await start(vole)
    held = await instance(heron)
    await anyio.Path(deaf_file).touch()
    runner = (await runners.hire(heron)).of(heron.service("db"))

    async def is_ended() -> bool:
        await runner.stop("db")
        return await is_gone(held)

    await async_eventually(is_ended, within_s=10)
    await stop(heron)
    await stop(vole)
