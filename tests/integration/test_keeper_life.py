"""How keepers come, are found again, and go."""

from __future__ import annotations

import os
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest

from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.errors import Conflict, Unavailable, Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.keepers import Keeper
from envmgr.protocols.processes import Marks
from tests.support.keepers import (
    OWNER,
    STUBBORN,
    end_keeper,
    keeper_folder,
    launch,
    lives,
    py,
    record_of,
    runs,
    sh,
)
from tests.support.requirements import ROOT, proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

keepers = UnixKeepers()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with keeper_folder(tmp_path) as folder:
        yield folder


async def pid_of(home: Path) -> int:
    return (await record_of(home)).identity.pid


@proves("KEEP-010")
async def test_hiring_twice_gives_the_same_keeper(home: Path) -> None:
    await keepers.hire(home, owner=OWNER)
    first = await pid_of(home)

    await keepers.hire(home, owner=OWNER)

    assert await pid_of(home) == first


@proves("KEEP-010", "R-38")
async def test_many_hires_at_once_give_one_keeper(home: Path) -> None:
    hired: list[Keeper] = []

    async def hire() -> None:
        hired.append(await keepers.hire(home, owner=OWNER))

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(hire)
    await hired[0].launch(launch("sleep", "60"))

    assert all([set(await keeper.status()) == {"web"} for keeper in hired])
    assert [p for p in psutil.process_iter() if str(home) in _words(p)] == [
        psutil.Process(await pid_of(home))
    ]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@proves("KEEP-010")
async def test_a_keeper_of_another_owner_is_left_alone(home: Path) -> None:
    await keepers.hire(home, owner=OWNER)

    with pytest.raises(Conflict, match=f"belongs to {OWNER}"):
        await keepers.hire(home, owner="somebody/else")
    assert isinstance(await keepers.find(home, owner="somebody/else"), Unknown)


@proves("KEEP-011")
async def test_a_keeper_is_found_only_while_one_holds_the_folder(home: Path) -> None:
    assert await keepers.find(home, owner=OWNER) == Absent()
    keeper = await keepers.hire(home, owner=OWNER)
    assert isinstance(await keepers.find(home, owner=OWNER), Present)

    await keeper.dismiss()

    assert await keepers.find(home, owner=OWNER) == Absent()
    assert not (home / "keeper.sock").exists()
    with pytest.raises(Unobservable):
        await keeper.status()


@proves("KEEP-011", "R-31")
async def test_a_keeper_that_holds_the_lock_and_is_silent_is_unknown(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    pid = await pid_of(home)

    async def is_unobservable(ask: Awaitable[object]) -> None:
        with pytest.raises(Unobservable):
            await ask

    os.kill(pid, signal.SIGSTOP)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(is_unobservable, keeper.status())
            group.start_soon(is_unobservable, keepers.hire(home, owner=OWNER))
            found = await keepers.find(home, owner=OWNER)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert isinstance(found, Unknown)


@proves("KEEP-012")
async def test_a_keeper_outlives_its_starter_and_is_adopted_by_another_process(home: Path) -> None:
    script = (
        "import anyio, os, sys, signal; from pathlib import Path; from envmgr.drivers.keeper.client import UnixKeepers\n"
        "from tests.support.keepers import launch, OWNER\n"
        "async def main():\n"
        "    keeper = await UnixKeepers().hire(Path(sys.argv[1]), owner=OWNER)\n"
        "    await keeper.launch(launch('sleep', '60'))\n"
        "    os.killpg(0, signal.SIGKILL)\n"
        "anyio.run(main)"
    )
    starter = await anyio.run_process(
        [sys.executable, "-c", script, str(home)], cwd=ROOT, check=False, start_new_session=True
    )
    assert starter.returncode == -signal.SIGKILL

    keeper = await keepers.hire(home, owner=OWNER)

    held = (await keeper.status())["web"]
    assert held.is_alive
    assert lives(held.identity)
    assert psutil.Process(await pid_of(home)).ppid() == 1


@proves("KEEP-013")
async def test_a_keeper_does_not_leave_living_processes(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    await keeper.launch(launch(*sh("sleep 60 & exit 0")))

    with pytest.raises(Conflict, match="still holds"):
        await keeper.dismiss()

    assert await keeper.stop("web") == ()
    await keeper.dismiss()


@proves("KEEP-013")
async def test_a_keeper_asked_to_terminate_ends_everything_first(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    keeper_was = (await record_of(home)).identity
    held = await keeper.launch(launch(*sh("setsid sleep 60 & echo $!; wait")))
    await async_eventually(lambda: held.log.read_text().strip())
    escaped = int(held.log.read_text())

    os.kill(keeper_was.pid, signal.SIGTERM)

    await async_eventually(lambda: not lives(keeper_was))
    assert not lives(held.identity)
    assert not runs(escaped)


@proves("KEEP-013")
async def test_a_keeper_that_is_leaving_takes_nothing_new(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    held = await keeper.launch(launch(*py(STUBBORN)))
    await async_eventually(lambda: held.log.read_text())
    keeper_was = (await record_of(home)).identity
    os.kill(keeper_was.pid, signal.SIGTERM)

    async def refuses() -> bool:
        try:
            await keeper.launch(launch("true", service="late"))
        except Conflict as error:
            return "leaving" in error.message
        return False

    await async_eventually(refuses)
    assert await keeper.stop("web", grace_s=0) == ()
    await async_eventually(lambda: not lives(keeper_was))


@proves("KEEP-013")
async def test_hangup_and_interrupt_do_not_end_a_keeper(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    await keeper.launch(launch("sleep", "60"))

    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(await pid_of(home), number)

    assert (await keeper.status())["web"].is_alive


@proves("KEEP-014", "R-13", "R-31")
async def test_after_the_keeper_was_killed_its_processes_are_found_and_ended(
    home: Path, tmp_path: Path
) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    env = {"ENVMGR_AGENT": uuid.uuid4().hex}
    # One below the service, one that left the session; both lose all their parents.
    script = "setsid sh -c 'sleep 60 >/dev/null & sleep 60' >/dev/null & sleep 60 >/dev/null & wait"
    held = await keeper.launch(launch(*sh(script), cwd=tmp_path, env=env))
    await async_eventually(lambda: len(_sleepers(env)) == 3)
    changes = keeper.changes()
    await anext(changes)

    os.kill(await pid_of(home), signal.SIGKILL)

    assert [seen async for seen in changes] == []
    assert await keepers.find(home, owner=OWNER) == Absent()
    left = (await record_of(home)).services["web"]
    assert left == held
    assert left.identity is not None
    processes = ProcProcesses(HostSockets())
    marks = Marks(roots=(left.identity,), marker=env, cwd=tmp_path)
    found = await processes.members(marks)
    assert isinstance(found, Present)
    assert {one.identity.pid for one in found.value} >= {p.pid for p in _sleepers(env)} | {left.identity.pid}
    assert await processes.end(marks) == ()
    assert _sleepers(env) == []


def _sleepers(env: dict[str, str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "sleep" and env.items() <= process.environ().items():
                found.append(process)
        except psutil.Error:
            continue
    return found


@proves("KEEP-014")
async def test_the_next_keeper_goes_on_counting_launches_and_log_bytes(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    await keeper.launch(launch(*sh("echo 12345")))
    await async_eventually(lambda: (home / "logs" / "web.log").read_text() == "12345\n")
    keeper_was = (await record_of(home)).identity
    os.kill(keeper_was.pid, signal.SIGKILL)
    await async_eventually(lambda: not lives(keeper_was))

    held = await (await keepers.hire(home, owner=OWNER)).launch(launch(*sh("echo 6"), generation=2))

    assert (held.launch, held.log_offset) == (2, 6)


@proves("KEEP-015")
async def test_a_keeper_with_three_services_takes_at_most_12_mb(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    for name in ("api", "db", "web"):
        await keeper.launch(launch(*sh("head -c 1000000 /dev/zero; exec sleep 60"), service=name))
    await async_eventually(lambda: (home / "logs" / "web.log").stat().st_size == 1_000_000)

    # Resident size: what PSS would be if no other Python ran, so the bar does not depend on the neighbours.
    assert psutil.Process(await pid_of(home)).memory_info().rss <= 12_000_000


@proves("KEEP-016")
async def test_a_folder_with_a_long_path_is_served_too(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 30)
    try:
        keeper = await keepers.hire(home, owner=OWNER)
        await keeper.launch(launch("sleep", "60"))

        assert isinstance(await keepers.find(home, owner=OWNER), Present)
    finally:
        await anyio.to_thread.run_sync(end_keeper, home)


@proves("KEEP-016")
async def test_the_socket_and_the_logs_are_only_for_their_user(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    held = await keeper.launch(launch("true"))

    private = [home / "keeper.sock", home / "keeper.json", home / "keeper.lock", held.log]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o777) for path in (home, held.log.parent)} == {"0o700"}


@proves("KEEP-016")
async def test_nonsense_on_the_socket_harms_nothing(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    await keeper.launch(launch("sleep", "60"))

    for nonsense in (
        b"\xff\n",
        b"[]\n",
        b'{"verb": "launch"}\n',
        b'{"owner": "test/agent", "verb": "dance"}\n',
    ):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(home / "keeper.sock"))
            caller.sendall(nonsense)
            assert b'"ok": false' in caller.recv(4096)

    assert (await keeper.status())["web"].is_alive


async def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    home = tmp_path / "agent"
    (home / "keeper.lock").mkdir(parents=True)

    with pytest.raises(Unavailable, match="Is a directory"):
        await keepers.hire(home, owner=OWNER)


async def test_a_keeper_that_fails_in_the_background_is_a_clear_error(home: Path, tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "logs").write_text("in the way")

    with pytest.raises(Unavailable, match="File exists"):
        await keepers.hire(home, owner=OWNER)
    assert await keepers.find(home, owner=OWNER) == Absent()


@proves("KEEP-015")
async def test_an_idle_keeper_uses_no_processor_time(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    await keeper.launch(launch("sleep", "60"))
    await keeper.status()
    program = psutil.Process(await pid_of(home))

    async def stays_asleep() -> bool:
        before = program.num_ctx_switches().voluntary
        await anyio.sleep(0.3)
        return program.num_ctx_switches().voluntary == before

    # It may still be busy with the end of our connection.
    await async_eventually(stays_asleep, within_s=3)
