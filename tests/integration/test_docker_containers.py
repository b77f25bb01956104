"""Containers on the real engine: run once, refused with reasons, stopped and removed for certain."""

from __future__ import annotations

import signal
import socket
import time
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from envmgr.errors import ConfigError, Conflict, PortTaken
from envmgr.model.container import MountKind, MountSpec
from envmgr.model.observe import Absent, Present
from envmgr.protocols.engine import Container, ContainerLimits, Publish
from tests.support.docker import REDIS, WEB, WEB_CHECKED, Ours, engine
from tests.support.requirements import proves
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
        return str(answer.read().decode())


def truth(container: str) -> Any:
    return engine().api.inspect_container(container)


async def seen(ours: Ours, container: str) -> Container:
    found = await ours.engine.inspect(container)
    assert isinstance(found, Present)
    return found.value


async def ended(ours: Ours, container: str) -> Container:
    async def is_over() -> Container | None:
        found = await seen(ours, container)
        return None if found.is_alive or found.ended_at is None else found

    over = await async_eventually(is_over)
    assert over is not None
    return over


@proves("DOCK-001")
async def test_a_container_runs_with_what_it_was_given(ours: Ours, tmp_path: Path) -> None:
    port = free_port()
    tmp_path.chmod(0o755)  # it is read by another user
    (tmp_path / "index.html").write_text("from the host", encoding="utf-8")
    launch = ours.launch(
        image=WEB,
        env={"PORT": "8080", "GREETING": "hello = there"},
        publish=(Publish(container=8080, host=port),),
        mounts=(
            MountSpec(kind=MountKind.BIND, source=str(tmp_path), target="/www", read_only=True),
            MountSpec(kind=MountKind.TMPFS, target="/scratch", size_bytes=1024 * 1024),
        ),
        user="daemon",
        hostname="shop",
        limits=ContainerLimits(memory_bytes=64 * 1024 * 1024, cpus=0.5, pids=50),
        cap_drop=("NET_RAW",),
        init=True,
        log_bytes=1_000_000,
    )

    container = await ours.engine.run(launch)

    assert eventually(lambda: _page_or_none(f"127.0.0.1:{port}/")) == "from the host"
    status, said = await ours.engine.execute(
        container.id, ["sh", "-c", "exec 2>&1; id -un; hostname; echo $GREETING; touch /www/x"], deadline_s=10
    )
    assert status == 1
    assert said.splitlines()[:3] == ["daemon", "shop", "hello = there"]
    assert "Read-only file system" in said
    host = truth(container.id)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (
        2**26,
        2**26,
        5e8,
        50,
    )
    assert host["LogConfig"] == {"Type": "local", "Config": {"max-file": "2", "max-size": "1000000"}}
    assert host["CapDrop"] == ["NET_RAW"]
    assert container.published == {(8080, "tcp"): port}
    assert container.labels.items() >= ours.labels.items()
    assert str(tmp_path) in container.sources
    assert Path(f"/proc/{container.pid}").exists()
    await ours.engine.remove(container.id)


def _page_or_none(address: str) -> str:
    try:
        return page(address)
    except OSError:
        return ""


@proves("DOCK-001")
async def test_an_empty_entry_point_removes_the_image_s(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("sleep", "60", image=REDIS, entrypoint=()))

    assert truth(container.id)["Path"] == "sleep"
    await ours.engine.remove(container.id)


@proves("DOCK-002")
async def test_running_twice_is_one_container(ours: Ours) -> None:
    launch = ours.launch("sleep", "60")

    first = await ours.engine.run(launch)
    second = await ours.engine.run(launch)

    assert first == second
    await ours.engine.remove(first.id)


@proves("DOCK-002")
async def test_a_container_that_was_made_and_not_started_is_started(ours: Ours) -> None:
    made = engine().api.create_container(
        "envmgr-test/base", ["sleep", "60"], name=ours.name(), labels=ours.labels
    )["Id"]

    container = await ours.engine.run(ours.launch("sleep", "60"))

    assert container.id == made
    assert container.is_alive
    await ours.engine.remove(made)


@proves("DOCK-002")
async def test_one_that_has_ended_is_made_anew_for_another_port(ours: Ours) -> None:
    first = await ours.engine.run(ours.launch("true", publish=(Publish(container=80, host=free_port()),)))
    await ended(ours, first.id)
    port = free_port()

    second = await ours.engine.run(ours.launch("true", publish=(Publish(container=80, host=port),)))

    assert second.id != first.id
    assert truth(second.id)["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == str(port)
    await ours.engine.remove(second.id)


@proves("DOCK-002")
async def test_a_container_of_somebody_else_is_left_alone(ours: Ours) -> None:
    name = ours.name()
    engine().api.create_container("envmgr-test/base", ["true"], name=name)
    try:
        with pytest.raises(Conflict, match="of somebody else"):
            await ours.engine.run(ours.launch("true"))
        assert truth(name)["State"]["Status"] == "created"
    finally:
        engine().api.remove_container(name)


@proves("DOCK-002")
async def test_starting_again_keeps_the_container_and_what_it_wrote(ours: Ours) -> None:
    first = await ours.engine.run(ours.launch("sh", "-c", "cat /mark; echo been here >/mark"))
    await ended(ours, first.id)

    second = await ours.engine.start(first.id)
    await ended(ours, first.id)

    assert second.id == first.id
    assert engine().api.logs(first.id).decode().splitlines()[-1] == "been here"
    await ours.engine.remove(first.id)


@proves("DOCK-003")
@pytest.mark.parametrize("is_container", [False, True], ids=["by a program", "by a container"])
async def test_a_taken_port_is_named_and_nothing_stays(ours: Ours, *, is_container: bool) -> None:
    port = free_port()
    publish = (Publish(container=80, host=port),)
    other = None
    if is_container:
        other = await ours.engine.run(ours.launch("sleep", "60", what="other", publish=publish))
    listener = socket.create_server(("127.0.0.1", 0 if is_container else port))
    with closing(listener), pytest.raises(PortTaken) as taken:
        await ours.engine.run(ours.launch("sleep", "60", publish=publish))

    assert taken.value.port == port
    assert isinstance(await ours.engine.inspect(ours.name()), Absent)
    if other is not None:
        await ours.engine.remove(other.id)


@proves("DOCK-003")
@pytest.mark.parametrize(
    ("command", "more", "words"),
    [
        (["no-such-program"], {}, 'exec: "no-such-program": executable file not found in $PATH'),
        (["/etc/passwd"], {}, 'exec: "/etc/passwd": permission denied'),
        (["true"], {"user": "nobody-here"}, "unable to find user nobody-here"),
        (["true"], {"image": "envmgr-test/no-such-image"}, "No such image: envmgr-test/no-such-image"),
        (["true"], {"image": "Not A Reference"}, "invalid reference format"),
        (["true"], {"networks": {"no-such-network": ()}}, "network no-such-network not found"),
        (["true"], {"workdir": "/etc/passwd"}, "not a directory"),
        (["true"], {"cap_add": ("NOPE",)}, "unknown capability"),
        (["true"], {"sysctls": {"net.nope": "1"}}, "/proc/sys/net/nope"),
        (["true"], {"limits": ContainerLimits(memory_bytes=1000)}, "memory limit"),
        (
            ["true"],
            {"mounts": (MountSpec(kind=MountKind.BIND, source="/no/such/folder", target="/x"),)},
            "bind source path does not exist: /no/such/folder",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
async def test_a_refused_configuration_is_explained_and_nothing_stays(
    ours: Ours, command: list[str], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        await ours.engine.run(ours.launch(*command, **more))

    assert words in refused.value.message
    assert "OCI runtime" not in refused.value.message
    assert isinstance(await ours.engine.inspect(ours.name()), Absent)


@proves("DOCK-004")
@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
async def test_how_a_container_ended_is_known(ours: Ours, script: str, code: int) -> None:
    began_at = time.time()
    container = await ours.engine.run(ours.launch("sh", "-c", script, init=True))

    over = await ended(ours, container.id)

    assert (over.exit_code, over.out_of_memory, over.state) == (code, False, "exited")
    assert over.ended_at is not None
    assert began_at - 1 < over.started_at <= over.ended_at < time.time() + 1
    await ours.engine.remove(container.id)


@proves("DOCK-004")
async def test_out_of_memory_is_told_from_other_ends(ours: Ours) -> None:
    greedy = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo got it"
    limits = ContainerLimits(memory_bytes=16 * 1024 * 1024)
    container = await ours.engine.run(ours.launch("sh", "-c", greedy, limits=limits))

    over = await ended(ours, container.id)

    assert over.out_of_memory
    assert over.exit_code not in (0, None)
    await ours.engine.remove(container.id)


@proves("DOCK-004")
async def test_the_image_s_own_check_is_told(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=WEB_CHECKED))
    assert container.health == "starting"

    async def health() -> str:
        return (await seen(ours, container.id)).health

    async def is_healthy() -> bool:
        return await health() == "healthy"

    async def is_sick() -> bool:
        return await health() == "unhealthy"

    await async_eventually(is_healthy)
    await ours.engine.execute(container.id, ["touch", "/tmp/sick"], deadline_s=10)
    await async_eventually(is_sick)
    await ours.engine.remove(container.id)


@proves("DOCK-005")
async def test_containers_find_each_other_by_name_in_their_networks_only(ours: Ours) -> None:
    inner, outer = ours.name("inner"), ours.name("outer")
    for network in (inner, outer):
        await ours.engine.ensure_network(network, ours.labels)
    web = await ours.engine.run(
        ours.launch(image=WEB, what="web", networks={inner: ("web", "shop"), outer: ("front",)})
    )
    near = await ours.engine.run(ours.launch("sleep", "60", what="near", networks={inner: ("near",)}))
    far = await ours.engine.run(ours.launch("sleep", "60", what="far", networks={outer: ("far",)}))

    async def fetch(container: Container, host: str) -> tuple[int, str]:
        argv = ["busybox", "wget", "-q", "-O", "-", f"http://{host}/"]
        return await ours.engine.execute(container.id, argv, deadline_s=20)

    assert set(web.addresses) == {inner, outer}
    assert await fetch(near, "web") == (0, "hello from a container\n")
    assert await fetch(near, "shop") == (0, "hello from a container\n")
    assert await fetch(far, "front") == (0, "hello from a container\n")
    assert (await fetch(far, "web"))[0] == 1
    with pytest.raises(Conflict, match="active endpoints"):
        await ours.engine.remove_network(inner)
    for container in (web, near, far):
        await ours.engine.remove(container.id)
    for network in (inner, outer, inner):
        await ours.engine.remove_network(network)


def handles(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for a signal (proc(5), SigCgt)."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (number - 1) & 1)


@proves("DOCK-006")
async def test_a_polite_container_ends_by_its_signal_at_once(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=WEB))
    # The kernel keeps from the first process of a container what that does not handle, or not yet.
    await async_eventually(lambda: handles(container.pid, signal.SIGTERM))
    began_at = time.monotonic()

    await ours.engine.stop(container.id, signal="SIGTERM", grace_s=20)
    await ours.engine.stop(container.id, signal="SIGTERM", grace_s=20)

    assert time.monotonic() - began_at < 10
    assert (await seen(ours, container.id)).exit_code == 0
    await ours.engine.remove(container.id)


@proves("DOCK-006")
@pytest.mark.parametrize("is_paused", [False, True], ids=["running", "paused"])
async def test_who_ignores_the_signal_is_killed_after_the_grace(ours: Ours, *, is_paused: bool) -> None:
    container = await ours.engine.run(ours.launch("sh", "-c", "trap '' TERM; sleep 60; sleep 60"))
    if is_paused:
        await ours.engine.pause(container.id)
    began_at = time.monotonic()

    await ours.engine.stop(container.id, signal="SIGTERM", grace_s=0.5)

    assert 0.5 <= time.monotonic() - began_at < 10
    over = await seen(ours, container.id)
    assert (over.state, over.exit_code, over.out_of_memory) == ("exited", 137, False)
    await ours.engine.remove(container.id)


@proves("DOCK-006")
async def test_waiting_for_many_stops_keeps_the_engine_free_for_others(ours: Ours) -> None:
    stubborn = [
        await ours.engine.run(ours.launch("sh", "-c", "trap '' TERM; sleep 60; sleep 60", what=f"s{i}"))
        for i in range(6)
    ]
    began_at = time.monotonic()

    async with anyio.create_task_group() as group:
        for each in stubborn:
            group.start_soon(partial(ours.engine.stop, each.id, signal="SIGTERM", grace_s=2))
        await anyio.lowlevel.checkpoint()
        assert isinstance(await ours.engine.look(), Present)
        looked_s = time.monotonic() - began_at

    assert looked_s < 2
    assert time.monotonic() - began_at < 10
    for each in stubborn:
        await ours.engine.remove(each.id)


@proves("DOCK-006")
async def test_removing_is_verified_and_takes_anonymous_volumes_along(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=REDIS))
    (volume,) = container.sources

    await ours.engine.remove(container.id)
    await ours.engine.remove(container.id)

    assert isinstance(await ours.engine.inspect(container.id), Absent)
    assert volume not in [each["Name"] for each in engine().api.volumes()["Volumes"] or ()]


@proves("DOCK-006")
async def test_what_is_gone_can_be_signalled_stopped_and_thawed_without_harm(ours: Ours) -> None:
    name = ours.name("never-was")

    await ours.engine.signal(name, "SIGHUP")
    await ours.engine.stop(name, signal="SIGTERM", grace_s=1)
    await ours.engine.unpause(name)
    await ours.engine.remove(name)


@proves("DOCK-006")
async def test_pausing_and_going_on_can_be_said_twice(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("sleep", "60"))

    await ours.engine.pause(container.id)
    await ours.engine.pause(container.id)
    paused = await seen(ours, container.id)
    await ours.engine.unpause(container.id)
    await ours.engine.unpause(container.id)

    assert (paused.state, paused.is_alive) == ("paused", True)
    assert (await seen(ours, container.id)).state == "running"
    await ours.engine.remove(container.id)


@proves("DOCK-007")
async def test_lists_have_what_carries_all_labels_ended_ones_too(ours: Ours) -> None:
    red = await ours.engine.run(ours.launch("sleep", "60", what="red"))
    blue = await ours.engine.run(ours.launch("true", what="blue"))
    await ended(ours, blue.id)

    all_of_us = await ours.engine.containers(
        {**ours.labels, "envmgr.instance": ours.labels["envmgr.instance"]}
    )
    nobody = await ours.engine.containers({**ours.labels, "color": ""})

    assert isinstance(all_of_us, Present)
    assert {each.id for each in all_of_us.value} == {red.id, blue.id}
    assert nobody == Present([])
    for each in (red, blue):
        await ours.engine.remove(each.id)


@proves("DOCK-007")
async def test_who_mounts_a_folder_or_a_volume_is_found(ours: Ours, tmp_path: Path) -> None:
    volume, below = ours.name("data"), tmp_path / "tree" / "src"
    below.mkdir(parents=True)
    await ours.engine.ensure_volume(volume, ours.labels)
    mounts = (
        MountSpec(kind=MountKind.VOLUME, source=volume, target="/data"),
        MountSpec(kind=MountKind.BIND, source=str(below), target="/src"),
    )
    container = await ours.engine.run(ours.launch("sleep", "60", mounts=mounts))

    async def found(source: object) -> list[str]:
        answer = await ours.engine.mounting(str(source))
        assert isinstance(answer, Present)
        return [each.id for each in answer.value]

    assert await found(tmp_path / "tree") == [container.id]
    assert await found(below) == [container.id]
    assert await found(volume) == [container.id]
    assert await found(tmp_path / "tre") == []
    await ours.engine.remove(container.id)
    await ours.engine.remove_volume(volume)


@proves("DOCK-008")
async def test_networks_and_volumes_are_made_once_and_are_not_taken_from_others(ours: Ours) -> None:
    name, others = ours.name(), {**ours.labels, "owner": "somebody else"}

    await ours.engine.ensure_network(name, ours.labels)
    await ours.engine.ensure_network(name, ours.labels)
    assert await ours.engine.ensure_volume(name, ours.labels) is True
    assert await ours.engine.ensure_volume(name, ours.labels) is False

    with pytest.raises(Conflict, match="of somebody else"):
        await ours.engine.ensure_network(name, others)
    with pytest.raises(Conflict, match="of somebody else"):
        await ours.engine.ensure_volume(name, others)
    for found in (await ours.engine.networks(ours.labels), await ours.engine.volumes(ours.labels)):
        assert isinstance(found, Present)
        assert [(each.name, dict(each.labels)) for each in found.value] == [(name, ours.labels)]
    await ours.engine.remove_network(name)
    await ours.engine.remove_volume(name)
    await ours.engine.remove_volume(name)


@proves("DOCK-008")
async def test_a_volume_in_use_is_not_removed(ours: Ours) -> None:
    volume = ours.name("data")
    await ours.engine.ensure_volume(volume, ours.labels)
    mount = MountSpec(kind=MountKind.VOLUME, source=volume, target="/data")
    container = await ours.engine.run(ours.launch("true", mounts=(mount,)))

    with pytest.raises(Conflict, match="volume is in use"):
        await ours.engine.remove_volume(volume)

    await ours.engine.remove(container.id)
    await ours.engine.remove_volume(volume)


@proves("DOCK-008")
async def test_there_are_more_networks_than_the_engine_s_own_pools_hold(ours: Ours) -> None:
    names = [ours.name(f"n{i}") for i in range(33)]  # its pools hold 31

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(ours.engine.ensure_network, name, ours.labels)
    found = await ours.engine.networks(ours.labels)

    assert isinstance(found, Present)
    assert sorted(each.name for each in found.value) == sorted(names)
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(ours.engine.remove_network, name)
