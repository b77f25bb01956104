"""An engine that is down, frozen, or started again: said within the deadline, and mended by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import pytest

from envmgr.drivers.docker import DockerEngine
from envmgr.errors import ConfigError, Unavailable, Unobservable
from envmgr.model.container import PullPolicy
from envmgr.model.ids import InstanceId
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.engine import ContainerLaunch
from tests.support import docker
from tests.support.docker import Ours
from tests.support.engine_proxy import door
from tests.support.own_engine import TINY, OwnEngine, own_engine
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    with own_engine() as here:
        yield here


@pytest.fixture
def there(own: OwnEngine) -> Iterator[Ours]:
    """The driver on an engine of its own, with short deadlines: a second for a look, six for a change."""
    with docker.ours(own.host, deadline_s=1.0) as here:
        yield here


def _at(host: str, deadline_s: float = 1.0) -> DockerEngine:
    return DockerEngine(instance=InstanceId("test"), host=host, deadline_s=deadline_s)


@proves("DOCK-020")
async def test_an_engine_that_is_down_is_unknown_not_empty(tmp_path: Path) -> None:
    down = _at(f"unix://{tmp_path}/none.sock")

    where = f"unix://{tmp_path}/none.sock (docker.host of the settings)"
    assert await down.look() == Unknown(f"the container engine at {where} does not answer")
    assert isinstance(await down.containers({"envmgr.instance": "x"}), Unknown)
    assert isinstance(await down.inspect("x"), Unknown)
    for call in (
        down.remove("x"),
        down.stop("x", signal="SIGTERM", grace_s=1),
        down.ensure_network("x", {}),
        down.image("x", pull=PullPolicy.MISSING),
        down.execute("x", ["true"], deadline_s=1),
        anext(aiter(down.output("x"))),
        anext(aiter(down.changes())),
    ):
        with pytest.raises(Unavailable, match="does not answer"):
            await call


@proves("DOCK-020")
async def test_a_host_without_any_engine_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    nowhere = DockerEngine(instance=InstanceId("test"), system_socket=str(tmp_path / "none.sock"))

    assert await nowhere.look() == Absent()


@proves("DOCK-020")
@pytest.mark.parametrize("host", ["ssh://somewhere", "nonsense", "unix://", "npipe:////./pipe/docker_engine"])
async def test_an_address_that_cannot_be_used_is_refused_by_those_who_use_it(host: str) -> None:
    engine = _at(host)

    assert await engine.look() == Unknown(f"the container engine's address {host!r} cannot be used")
    with pytest.raises(ConfigError, match="cannot be used"):
        await engine.ensure_network("x", {})


@proves("DOCK-021")
async def test_a_frozen_engine_is_unknown_within_the_deadline_and_found_again_afterwards(
    own: OwnEngine, there: Ours
) -> None:
    container = await there.engine.run(there.launch("sleep", "60", image=TINY, init=True))
    assert isinstance(await there.engine.look(), Present)

    with own.frozen():
        began_at = time.monotonic()
        assert isinstance(await there.engine.look(), Unknown)
        assert isinstance(await there.engine.inspect(container.id), Unknown)
        assert isinstance(await there.engine.containers(there.labels), Unknown)
        with pytest.raises(Unobservable):
            await there.engine.execute(container.id, ["/usr/bin/busybox", "true"], deadline_s=1)
        with pytest.raises(Unobservable):
            await anext(aiter(there.engine.output(container.id)))
        with pytest.raises(Unobservable):
            await there.engine.stop(container.id, signal="SIGTERM", grace_s=1)
        assert time.monotonic() - began_at < 25

    found = await there.engine.inspect(container.id)
    assert isinstance(found, Present)
    await there.engine.remove(container.id)


@proves("DOCK-021")
async def test_after_one_call_too_slow_among_others_streams_go_on_and_stops_have_their_grace(
    tmp_path: Path,
) -> None:
    said = "trap 'exit 7' TERM; echo here; while true; do busybox usleep 20000; done"
    with door(tmp_path / "d") as entrance, docker.ours() as direct:
        container = await direct.engine.run(direct.launch("sh", "-c", said))
        there = _at(entrance.url)
        assert isinstance(await there.inspect(container.id), Present)  # a connection is there
        async with anyio.create_task_group() as group:
            entrance.jam()
            group.start_soon(partial(there.signal, container.id, signal="SIGWINCH"))
            await anyio.wait_all_tasks_blocked()
            assert isinstance(await there.inspect(container.id), Unknown)
            entrance.clear()

        async with aclosing(there.output(container.id)) as output:
            assert (await anext(output))[1] == b"here\n"
        await there.stop(container.id, signal="SIGTERM", grace_s=10)

        found = await direct.engine.inspect(container.id)
        assert isinstance(found, Present)
        assert found.value.exit_code == 7
        there.close()
        await direct.engine.remove(container.id)


@proves("DOCK-021")
async def test_a_stop_does_not_wait_behind_starts_that_the_engine_holds_up(tmp_path: Path) -> None:
    with door(tmp_path / "d") as entrance, docker.ours() as direct:
        there = _at(entrance.url)
        container = await direct.engine.run(direct.launch("sleep", "60", init=True))
        assert isinstance(await there.inspect(container.id), Present)
        entrance.hold(b"/containers/create")
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(_never_made, there, direct.launch("true", what=f"held-{number}"))
            await anyio.wait_all_tasks_blocked()
            began_at = time.monotonic()
            await there.stop(container.id, signal="SIGTERM", grace_s=5)
            took_s = time.monotonic() - began_at
            group.cancel_scope.cancel()
        assert took_s < 4
        await direct.engine.remove(container.id)


async def _never_made(there: DockerEngine, launch: ContainerLaunch) -> None:
    with pytest.raises(Unobservable):
        await there.run(launch)


@proves("DOCK-021")
async def test_commands_that_a_silent_engine_does_not_begin_end_in_their_time(
    own: OwnEngine,
) -> None:
    with docker.ours(own.host, deadline_s=20.0) as there:
        container = await there.engine.run(there.launch("sleep", "60", image=TINY))
        with own.frozen():
            began_at = time.monotonic()
            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(_probe, there, container.id)
            took_s = time.monotonic() - began_at
        assert took_s < 10
        await there.engine.remove(container.id)


async def _probe(there: Ours, container: str) -> None:
    with pytest.raises(Unobservable):
        await there.engine.execute(container, ["/usr/bin/busybox", "true"], deadline_s=1)


@proves("DOCK-021")
async def test_a_creation_whose_outcome_was_unknown_is_one_container_in_the_end(
    own: OwnEngine, there: Ours
) -> None:
    launch = there.launch("sleep", "60", image=TINY, init=True)
    assert isinstance(
        await there.engine.look(), Present
    )  # a connection is there, so the request will be heard

    with own.frozen(), pytest.raises(Unobservable):
        await there.engine.run(launch)
    container = await there.engine.run(launch)

    listed = await there.engine.containers(there.labels)
    assert isinstance(listed, Present)
    assert [each.id for each in listed.value] == [container.id]
    assert container.is_alive
    await there.engine.remove(container.id)


@proves("DOCK-022")
async def test_an_engine_started_again_in_the_middle_is_noticed_and_found_again() -> None:
    with own_engine() as own, docker.ours(own.host, deadline_s=1.0) as there:
        await _restart_in_the_middle(own, there)


async def _restart_in_the_middle(own: OwnEngine, there: Ours) -> None:
    container = await there.engine.run(there.launch("sleep", "60", image=TINY, init=True))
    ends: list[str] = []

    async def listen() -> None:
        with pytest.raises(Unobservable):
            async for _ in there.engine.changes():
                pass
        ends.append("changes")

    async def follow() -> None:
        try:
            async for _ in there.engine.output(container.id):
                pass
        except Unavailable:  # or it ended with the container, which the engine stopped first
            pass
        ends.append("output")

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        group.start_soon(follow)
        await anyio.to_thread.run_sync(own.stop)
        await async_eventually(lambda: len(ends) == 2)
        assert isinstance(await there.engine.inspect(container.id), Unknown)
        await anyio.to_thread.run_sync(own.start)

    found = await there.engine.inspect(container.id)
    assert isinstance(found, Present)
    assert not found.value.is_alive
    assert (await there.engine.start(container.id)).is_alive
    await there.engine.remove(container.id)
