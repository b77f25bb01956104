"""A keeper is killed or stuck: what it held is found and ended wherever it went, and nobody else is touched."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.errors import Unobservable
from envmgr.model.ids import AgentId
from envmgr.model.observe import Absent, Present, ProcessIdentity, Seen
from envmgr.model.service import ServiceKind, ServiceSpec, StopPolicy
from envmgr.protocols.processes import Member
from envmgr.runtime import keeperless
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps.services import StartServices, stop_services, stop_units
from tests.support.incarnations import incarnation
from tests.support.keepers import OWNER, keeper_folder, launch, lives, record_of, runs, sh
from tests.support.requirements import proves
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio

keepers = UnixKeepers()

# Its grandchild has a session of its own, has lost its parents, works in /, and holds no port.
FLEEING = "(cd /; setsid sh -c 'echo $$$$ > \"$PLACE/fled\"; exec sleep 300' &); exec sleep 300"


def somebody() -> AgentId:
    """Of its own for each test: one agent's orphans look alike to tests side by side."""
    return AgentId(secrets.token_hex(4))


def service(name: str, script: str, folder: Path, **more: object) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        kind=ServiceKind.PROCESS,
        command=sh(script),
        env={"PLACE": str(folder)},
        **more,  # type: ignore[arg-type]  # fields by name
    )


async def started(inc: Incarnation) -> dict[str, ProcessIdentity]:
    """All services run; who they are."""
    await StartServices(inc, lambda *_: None).do()
    held = (await record_of(inc.home)).services
    return {name: one.identity for name, one in held.items() if one.identity is not None}


async def kill_keeper(home: Path) -> None:
    keeper = (await record_of(home)).identity
    os.kill(keeper.pid, signal.SIGKILL)
    await async_eventually(lambda: not lives(keeper))


@pytest.fixture
async def inc(tmp_path: Path) -> AsyncIterator[Incarnation]:
    first = service("first", FLEEING, tmp_path)
    other = service("other", "exec sleep 300", tmp_path)
    async with incarnation(tmp_path, first, other, agent=somebody()) as inc:
        yield inc


@proves("ADOPT-001", "R-13")
async def test_what_fled_from_a_killed_keeper_is_ended_with_its_service(
    inc: Incarnation, tmp_path: Path
) -> None:
    who = await started(inc)
    fled = int(eventually((tmp_path / "fled").read_text))
    await kill_keeper(inc.home)
    assert runs(fled)

    await stop_services(inc)

    assert not runs(fled)
    assert [name for name, one in who.items() if lives(one)] == []


@proves("ADOPT-001")
async def test_of_a_killed_keeper_only_the_services_that_are_meant_are_ended(inc: Incarnation) -> None:
    who = await started(inc)
    await kill_keeper(inc.home)

    await stop_units(inc, ["first"])

    assert {name: lives(one) for name, one in who.items()} == {"first": False, "other": True}
    await stop_services(inc)


@proves("ADOPT-001")
async def test_services_of_a_killed_keeper_get_their_own_signal_and_time(tmp_path: Path) -> None:
    script = "trap 'sleep 2.5; echo bye > \"$PLACE/bye\"; exit' INT; while :; do sleep 0.05; done"
    slow = service("slow", script, tmp_path, stop=StopPolicy(signal="SIGINT", grace_s=10.0))
    async with incarnation(tmp_path, slow, agent=somebody()) as inc:
        await started(inc)
        await kill_keeper(inc.home)

        await stop_services(inc)

        assert (tmp_path / "bye").exists()


@proves("ADOPT-002", "R-31")
async def test_a_pid_that_is_somebody_elses_by_now_is_never_signalled(
    inc: Incarnation, tmp_path: Path
) -> None:
    await started(inc)
    await kill_keeper(inc.home)
    with innocent() as stranger:
        await stop_services(inc)  # so that nothing of it is left but the record
        forge(inc.home, service="first", pid=stranger)

        await stop_services(inc)

        assert runs(stranger)


@contextmanager
def innocent() -> Iterator[int]:
    """A process in a session of its own that has nothing to do with any agent."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def forge(home: Path, *, service: str, pid: int) -> None:
    """The record names a pid that was given out again."""
    path = home / "keeper.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["services"][service]["identity"]["pid"] = pid
    path.write_text(json.dumps(record), encoding="utf-8")


@proves("ADOPT-002", "R-31")
async def test_a_record_of_an_earlier_start_of_the_host_ends_nobody(tmp_path: Path) -> None:
    kept = service("web", "cd /; exec sleep 300", tmp_path)
    async with incarnation(tmp_path, kept, agent=somebody()) as inc:
        (web,) = (await started(inc)).values()
        await kill_keeper(inc.home)
        marks = (await keeperless.marks(inc))["web"]
        path = inc.home / "keeper.json"
        path.write_text(path.read_text(encoding="utf-8").replace(web.boot_id, "0" * 36), encoding="utf-8")
        old = (await keeperless.marks(inc))["web"]
        processes = ProcProcesses(HostSockets())

        assert [one.identity for one in present(await processes.members(marks))] == [web]
        assert isinstance(await processes.members(old), Absent)

        await processes.end(marks, grace_s=1.0)


def present(seen: Seen[Sequence[Member]]) -> Sequence[Member]:
    assert isinstance(seen, Present)
    return seen.value


# --- stuck ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with keeper_folder(tmp_path) as folder:
        yield folder


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if runs(pid):
            os.kill(pid, signal.SIGCONT)


@proves("ADOPT-003")
async def test_a_keeper_that_was_stopped_is_woken_and_knows_its_services(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    held = await keeper.launch(launch("sleep", "60"))
    with stopped((await record_of(home)).identity.pid):
        await keepers.wake(home, owner=OWNER)

        assert await keeper.status() == {"web": held}


@proves("ADOPT-003")
async def test_a_keeper_that_answers_nobody_can_be_ended_and_its_service_lives_on(home: Path) -> None:
    keeper = await keepers.hire(home, owner=OWNER)
    held = await keeper.launch(launch("sleep", "60"))
    with stopped((await record_of(home)).identity.pid):
        await keepers.end(home, owner=OWNER)

    assert await keepers.find(home, owner=OWNER) == Absent()
    assert held.identity is not None
    assert lives(held.identity)
    os.kill(held.identity.pid, signal.SIGKILL)
    await keepers.end(home, owner=OWNER)  # nobody holds the lock: harmless


@proves("ADOPT-003", "R-31")
@pytest.mark.parametrize("doubt", ["owner", "start", "lock"])
async def test_who_is_not_surely_the_keeper_is_not_ended(home: Path, doubt: str) -> None:
    await keepers.hire(home, owner=OWNER)
    keeper = (await record_of(home)).identity
    path = home / "keeper.json"
    text = path.read_text(encoding="utf-8")
    record = json.loads(text)
    with innocent() as stranger:
        if doubt == "start":
            record["start_ticks"] -= 1
        if doubt == "lock":  # a living process with all that the record says, but without the lock
            who = await anyio.to_thread.run_sync(ProcProcesses(HostSockets()).identify, stranger)
            assert who is not None
            record |= {"pid": who.pid, "start_ticks": who.start_ticks}
        path.write_text(json.dumps(record), encoding="utf-8")
        owner = "somebody/else" if doubt == "owner" else OWNER

        with pytest.raises(Unobservable, match="lock"):
            await keepers.end(home, owner=owner)

        assert lives(keeper)
        assert runs(stranger)
    path.write_text(text, encoding="utf-8")
