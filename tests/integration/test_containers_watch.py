"""What becomes of containers is heard at once, and an engine that goes away is told, not guessed about."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.drivers.docker import DockerEngine
from envmgr.errors import Unobservable
from envmgr.model.ids import LABEL_AGENT, LABEL_INSTANCE, AgentId, InstanceId
from envmgr.protocols.keepers import Held
from envmgr.runtime import runners
from envmgr.runtime.container_watch import ContainerWatch
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import stop_services
from tests.support import docker
from tests.support.containers import contained, container, engaged, open_log, unattended
from tests.support.docker import engine
from tests.support.engine_proxy import Door, door
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

STAY = "sleep 600"


class Heard:
    """What a follower was told, newest last, and why it was told no more."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.trouble = ""

    async def follow(self, inc: Incarnation) -> None:
        try:
            async for held in EngineRunner(inc).changes(also_missing=True):
                self.held[held.service] = held
        except Unobservable as error:
            self.trouble = error.message

    def is_alive(self, unit: str) -> bool:
        return unit in self.held and self.held[unit].is_alive

    def has_ended(self, unit: str) -> bool:
        return unit in self.held and not self.held[unit].is_alive


@asynccontextmanager
async def heard(inc: Incarnation) -> AsyncIterator[Heard]:
    hears = Heard()
    async with anyio.create_task_group() as group:
        group.start_soon(hears.follow, inc)
        yield hears
        group.cancel_scope.cancel()


async def start(inc: Incarnation) -> None:
    await claim_ports(inc)
    with anyio.fail_after(30):
        await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()


def name(inc: Incarnation, unit: str) -> str:
    return f"envmgr-{inc.id}-g1-{unit}"


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Door]:
    with door(tmp_path / "d") as made:
        yield made


@proves("CONT-014")
async def test_an_end_is_heard_within_a_second_with_its_status(tmp_path: Path) -> None:
    async with contained(tmp_path, container("db", STAY), container("web", STAY)) as inc:
        await start(inc)
        async with heard(inc) as hears:
            await async_eventually(lambda: hears.is_alive("db") and hears.is_alive("web"))
            killed_at = time.monotonic()
            await anyio.to_thread.run_sync(engine().api.kill, name(inc, "db"))
            await async_eventually(lambda: hears.has_ended("db"))
            took_s = time.monotonic() - killed_at
            assert hears.is_alive("web")
        await stop_services(inc)

    assert hears.held["db"].exit_code == 137
    assert took_s < 1.5


@proves("CONT-014")
async def test_a_container_that_somebody_removes_is_told_as_ended(tmp_path: Path) -> None:
    async with contained(tmp_path, container("db", STAY)) as inc:
        await start(inc)
        async with heard(inc) as hears:
            await async_eventually(lambda: hears.is_alive("db"))
            await anyio.to_thread.run_sync(lambda: engine().api.remove_container(name(inc, "db"), force=True))
            await async_eventually(lambda: hears.has_ended("db"))
        await stop_services(inc)


@proves("CONT-014", "CONT-015")
async def test_a_restarted_daemon_finds_what_runs_and_tells_what_is_gone(tmp_path: Path) -> None:
    async with unattended(tmp_path, container("db", STAY), container("web", STAY)) as inc:
        async with engaged(inc):
            await start(inc)
        await anyio.to_thread.run_sync(lambda: engine().api.remove_container(name(inc, "db"), force=True))
        async with engaged(inc):
            async with heard(inc) as hears:
                await async_eventually(lambda: hears.has_ended("db") and hears.is_alive("web"))
            await stop_services(inc)

    assert hears.held["db"].error == "its container is gone"


@proves("CONT-014")
async def test_a_start_by_somebody_else_is_another_launch(tmp_path: Path) -> None:
    async with contained(tmp_path, container("db", STAY)) as inc:
        await start(inc)
        async with heard(inc) as hears:
            await async_eventually(lambda: hears.is_alive("db"))
            first = hears.held["db"].launch
            await anyio.to_thread.run_sync(lambda: engine().api.restart(name(inc, "db"), timeout=0))
            await async_eventually(lambda: hears.is_alive("db") and hears.held["db"].launch > first)
        await stop_services(inc)


@proves("CONT-014")
async def test_an_engine_that_goes_away_is_told_and_what_ended_meanwhile_is_known_when_it_is_back(
    tmp_path: Path, entrance: Door
) -> None:
    services = (container("db", STAY), container("web", STAY))
    async with contained(tmp_path, *services, host=entrance.url) as inc:
        await start(inc)
        async with heard(inc) as hears:
            await async_eventually(lambda: hears.is_alive("db") and hears.is_alive("web"))
            entrance.shut()
            await async_eventually(lambda: hears.trouble)
            await anyio.to_thread.run_sync(engine().api.kill, name(inc, "db"))
            entrance.open()
        async with heard(inc) as again:
            await async_eventually(lambda: again.has_ended("db") and again.is_alive("web"))
        await stop_services(inc)

    assert "container engine" in hears.trouble


@proves("CONT-014")
async def test_an_engine_that_says_nothing_any_more_is_told(tmp_path: Path, entrance: Door) -> None:
    async with contained(tmp_path, container("db", STAY), host=entrance.url) as inc:
        await start(inc)
        async with heard(inc) as hears:
            await async_eventually(lambda: hears.is_alive("db"))
            entrance.jam()
            await async_eventually(lambda: hears.trouble, within_s=20)
            entrance.clear()
        async with heard(inc) as again:
            await async_eventually(lambda: again.is_alive("db"))
        await stop_services(inc)


@proves("CONT-014")
async def test_a_container_that_the_engine_cannot_tell_about_hides_no_other(
    tmp_path: Path, entrance: Door
) -> None:
    async with unattended(tmp_path, container("db", STAY), container("web", STAY)) as inc:
        async with engaged(inc):
            await start(inc)
        wedged = await anyio.to_thread.run_sync(engine().api.inspect_container, name(inc, "db"))
        entrance.hold(f"/containers/{wedged['Id']}/json".encode())
        async with engaged(inc, host=entrance.url):
            async with heard(inc) as hears:
                await async_eventually(lambda: hears.is_alive("db") and hears.is_alive("web"))
                await anyio.to_thread.run_sync(engine().api.kill, name(inc, "web"))
                await async_eventually(lambda: hears.has_ended("web"), within_s=3)
            status = await EngineRunner(inc).status()
            entrance.clear()
            await stop_services(inc)

    assert hears.trouble == ""
    assert hears.is_alive("db")
    assert status["db"].is_alive
    assert not status["web"].is_alive


@proves("CONT-014")
async def test_a_listing_that_began_before_a_launch_does_not_take_it_for_removed(entrance: Door) -> None:
    agent = AgentId("a1b2c3d4")
    with docker.ours() as direct:
        instance = InstanceId(direct.labels[LABEL_INSTANCE])
        there = DockerEngine(instance=instance, host=entrance.url)
        watch = ContainerWatch(there, instance, open_log)
        entrance.withhold(b"/containers/json")
        async with anyio.create_task_group() as group:
            await group.start(watch.run)
            with watch.follow(agent) as follower:
                await async_eventually(lambda: entrance.is_withholding)
                launch = direct.launch("sleep", "60", init=True)
                launched = await direct.engine.run(
                    replace(launch, labels={**launch.labels, LABEL_AGENT: agent})
                )
                watch.note(launched)
                entrance.clear()
                await follower.until_live()
                told: list[str] = []
                with anyio.move_on_after(1):
                    while True:
                        told.append((await follower.next()).state)
            group.cancel_scope.cancel()
        there.close()
        await direct.engine.remove(launched.id)

    assert told[-1] == "running"
    assert "dead" not in told
