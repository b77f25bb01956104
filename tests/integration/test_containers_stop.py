"""Containers stop with their dependants first, are surely gone, and what cannot be ended stays known; on the real engine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.errors import Unobservable
from envmgr.model.container import ContainerSpec, MountKind, MountSpec
from envmgr.model.event import NewEvent
from envmgr.model.observe import Absent
from envmgr.model.probe import LogProbe, Readiness
from envmgr.model.service import Condition, Dependency, PortSpec, ServiceKind, ServiceSpec, StopPolicy
from envmgr.runtime import engine_runner, engine_use, runners, stopping
from envmgr.runtime.graves import Graves
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.settling import Moves, change_key, endings
from envmgr.runtime.steps.services import stop_services, stop_units
from tests.support.containers import contained, container
from tests.support.docker import existing
from tests.support.engine_proxy import Door, door
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

STAY = "sleep 600"
# Says when it is told to end, with nanoseconds, and what it does then.
POLITE = "trap 'echo told $(date +%s%N); exit 0' TERM; echo up; while true; do busybox usleep 20000; done"
DEAF = "trap '' TERM; echo up; while true; do busybox usleep 20000; done"
UP = Readiness(probe=LogProbe(pattern="up"))


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Door]:
    with door(tmp_path / "d") as made:
        yield made


async def start(inc: Incarnation) -> None:
    await claim_ports(inc)
    with anyio.fail_after(40):
        await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()


def after(name: str) -> tuple[Dependency, ...]:
    return (Dependency(service=name, condition=Condition.READY),)


async def told_at(inc: Incarnation, unit: str) -> int:
    """The engine tells the last words of a container when it gets to it."""
    log = inc.home / "logs" / f"{unit}.log"
    told = await async_eventually(lambda: re.findall(r"told (\d+)\n", log.read_text()))
    return int(told[-1])


def left(inc: Incarnation) -> list[str]:
    return existing({"envmgr.agent": inc.id})


@proves("CONT-011")
async def test_a_chain_of_eight_containers_and_processes_stops_in_exactly_reverse_order(
    tmp_path: Path,
) -> None:
    chain: list[ServiceSpec] = []
    for index in range(8):
        edge = after(chain[-1].name) if chain else ()
        if index % 2:
            command = ("bash", "-c", POLITE.replace("busybox usleep 20000", "sleep 0.02").replace("$", "$$"))
            unit = ServiceSpec(name=f"s{index}", kind=ServiceKind.PROCESS, command=command, ready=UP)
        else:
            unit = container(f"s{index}", ("bash", "-c", POLITE), ready=UP, inside=ContainerSpec())
        chain.append(replace(unit, depends_on=edge))
    async with contained(tmp_path, *chain) as inc:
        await start(inc)
        await stop_services(inc)
        moments = [await told_at(inc, f"s{index}") for index in range(8)]
        assert left(inc) == []

    assert moments == sorted(moments, reverse=True)


@proves("CONT-011")
async def test_who_ignores_the_signal_is_killed_in_time_while_a_polite_sibling_stops_fast(
    tmp_path: Path,
) -> None:
    deaf = container("deaf", DEAF, ready=UP, stop=StopPolicy(grace_s=1.5), inside=ContainerSpec())
    polite = container("polite", POLITE, ready=UP, inside=ContainerSpec())
    async with contained(tmp_path, deaf, polite) as inc:
        await start(inc)
        begun, begun_ns = time.monotonic(), time.time_ns()
        await stop_services(inc)
        took_s, polite_s = time.monotonic() - begun, (await told_at(inc, "polite") - begun_ns) / 1e9

    assert polite_s < 1.0
    assert 1.5 <= took_s < 6.0


@proves("CONT-011")
async def test_a_container_gets_the_signal_and_the_command_of_its_stop_policy(tmp_path: Path) -> None:
    line = "trap 'echo told to end; exit 0' USR1; echo up; while true; do busybox usleep 20000; done"
    policy = StopPolicy(signal="SIGUSR1", command="echo flushed > /proc/1/fd/1", grace_s=5.0)
    async with contained(
        tmp_path, container("db", line, ready=UP, stop=policy, inside=ContainerSpec())
    ) as inc:
        await start(inc)
        await stop_services(inc)
        said = (inc.home / "logs" / "db.log").read_text().split("\n")

    assert said[:3] == ["up", "flushed", "told to end"]


@proves("CONT-011")
async def test_stopping_some_units_leaves_the_others_alone_and_stopping_twice_is_harmless(
    tmp_path: Path,
) -> None:
    async with contained(tmp_path, container("db", STAY), container("web", STAY)) as inc:
        await start(inc)
        for _ in range(2):
            await stop_units(inc, ["web"])
        held = await engine_runner.EngineRunner(inc).status()
        alive = {name: one.is_alive for name, one in held.items()}
        for _ in range(2):
            await stop_services(inc)
        assert left(inc) == []
        assert await engine_runner.left(inc) == ()

    assert alive == {"db": True, "web": False}


@proves("CONT-011")
async def test_a_start_that_was_cut_off_leaves_nothing_after_its_undo(tmp_path: Path) -> None:
    never = container("db", STAY, ready=Readiness(probe=LogProbe(pattern="never")))
    async with contained(tmp_path, never, container("web", STAY)) as inc:
        await claim_ports(inc)
        with anyio.move_on_after(1.0):
            await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
        await stop_services(inc, brief=True)
        assert left(inc) == []


@proves("CONT-012")
async def test_an_engine_that_does_not_answer_at_a_stop_is_told_and_the_next_stop_ends_everything(
    tmp_path: Path, entrance: Door
) -> None:
    process = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command=("sleep", "600"))
    async with contained(tmp_path, container("db", STAY), process, host=entrance.url) as inc:
        await start(inc)
        entrance.shut()
        with pytest.raises(Unobservable) as failed:
            await stop_services(inc)
        # What can be ended has ended, and the rest is still there.
        assert isinstance(await runners.find_keeper(inc), Absent)
        there = left(inc)
        assert (await engine_runner.left(inc))[0].startswith("containers unknown: ")
        entrance.open()
        await stop_services(inc)
        assert left(inc) == []

    assert f"container: envmgr-{inc.id}-g1-db" in there
    assert "the container engine" in failed.value.message
    assert "envmgr stop otter" in failed.value.hint


@proves("CONT-012")
async def test_a_jammed_engine_holds_up_a_stop_no_longer_than_its_deadline(
    tmp_path: Path, entrance: Door
) -> None:
    async with contained(tmp_path, container("db", STAY), container("web", STAY), host=entrance.url) as inc:
        await start(inc)
        entrance.jam()
        begun = time.monotonic()
        with pytest.raises(Unobservable):
            await stop_services(inc)
        took_s = time.monotonic() - begun
        entrance.clear()
        await stop_services(inc)
        assert left(inc) == []

    assert took_s < 15


@proves("CONT-016")
async def test_what_a_silent_engine_makes_late_is_removed_when_it_appears(tmp_path: Path) -> None:
    async with contained(tmp_path, container("db", STAY)) as inc:
        runner = (await runners.hire(inc)).engine
        assert runner is not None
        name = f"envmgr-{inc.id}-g1-db"
        await engine_use.note(inc)
        inc.unsure.add(("container", name))  # as after a call without an answer
        await stop_services(inc)
        graves = await inc.systems.store.read(lambda tx: tx.tombstones())
        await runner.launch(inc.services[0], {})  # it carries the call out after all
        async with anyio.create_task_group() as group:
            group.start_soon(Graves(inc.systems).run)
            await async_eventually(lambda: f"container: {name}" not in left(inc))
            await async_eventually(lambda: no_graves(inc), within_s=15)
            group.cancel_scope.cancel()
        await stop_services(inc)

    assert [(grave.kind, grave.name) for grave in graves] == [("container", name)]


@proves("CONT-028")
async def test_a_stop_ends_what_a_change_that_was_cut_off_had_yet_to_end_as_its_policy_says(
    tmp_path: Path,
) -> None:
    # Takes a second for its last words, and hears nothing but its own signal.
    line = (
        "trap '' TERM; trap 'sleep 1; echo flushed > /w/said; exit 0' USR1; while true; do sleep 0.05; done"
    )
    inside = ContainerSpec(mounts=(MountSpec(kind=MountKind.BIND, source=".", target="/w"),))
    policy = StopPolicy(signal="SIGUSR1", grace_s=20)
    old = container("db", line, inside=inside, stop=policy, ports=(PortSpec(name="sql", container=5432),))
    async with contained(tmp_path, old) as inc:
        await start(inc)
        note = Moves(gone=endings(inc.services, ["db"])).to_json()
        inc.spec = replace(inc.spec, services=())
        await inc.systems.store.write(lambda tx: tx.put(change_key(inc.id), note))

        failures = await stopping.stop(inc, record)

        assert failures.sentences == ()
        assert (inc.path / "said").read_text() == "flushed\n"
        assert left(inc) == []
        assert not [lease for lease in await inc.systems.store.read(lambda tx: tx.leases()) if lease.held]


async def record(event: NewEvent) -> None:
    return None


async def no_graves(inc: Incarnation) -> bool:
    return not await inc.systems.store.read(lambda tx: tx.tombstones())
