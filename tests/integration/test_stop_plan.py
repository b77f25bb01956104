"""A verified stop: every part runs, whatever another one does, and what survives is named."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.model.event import NewEvent
from envmgr.model.observe import Absent
from envmgr.model.service import (
    Condition,
    Dependency,
    PortSpec,
    ServiceKind,
    ServiceSpec,
    ServiceState,
    StopPolicy,
)
from envmgr.model.spec import Hooks, TaskCommand
from envmgr.runtime.incarnation import GIT_RUNS, Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.steps.environment import WriteEnvironment
from envmgr.runtime.steps.services import StartServices
from envmgr.runtime.steps.session import OpenSession
from envmgr.runtime.stopping import stop
from tests.support.incarnations import incarnation
from tests.support.keepers import STUBBORN, py
from tests.support.requirements import proves
from tests.support.tmux import tmux_lab
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

# Notes its own end in the file ENDED.
NOTES_ITS_END = py(
    "import os, signal, socket, sys\n"
    "def end(*_):\n"
    "    open(os.environ['ENDED'], 'a').write(os.environ['ENVMGR_PART'] + '\\n')\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
    "print('ready', flush=True)\n"
    "signal.pause()\n"
)
PARTS = ["assistant", "people", "services", "session", "verify", "release"]


def service(name: str, command: tuple[str, ...], folder: Path, **more: object) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        kind=ServiceKind.PROCESS,
        command=command,
        ports=(PortSpec(name="http"),),
        env={"ENDED": str(folder / "ended")},
        **more,  # type: ignore[arg-type]  # fields by name
    )


class Running:
    """A started agent without an assistant, and what its stop told."""

    def __init__(self, inc: Incarnation) -> None:
        self.inc = inc
        self.told: list[NewEvent] = []

    async def record(self, event: NewEvent) -> None:
        self.told.append(event)

    def parts(self, kind: str) -> list[object]:
        return [event.data["step"] for event in self.told if event.kind == kind]

    async def is_gone(self) -> bool:
        processes = await self.inc.systems.processes.members(self.inc.marks())
        session = await self.inc.systems.terminals.look(self.inc.session, owner=self.inc.tag)
        leases = await self.inc.systems.store.read(lambda tx: tx.leases())
        return (
            isinstance(processes, Absent) and isinstance(session, Absent) and not any(x.held for x in leases)
        )


@asynccontextmanager
async def running(folder: Path, *services: ServiceSpec) -> AsyncIterator[Running]:
    def silent(service: str, state: ServiceState, detail: str) -> None:
        return None

    async with tmux_lab(folder), incarnation(folder, *services) as inc:
        await claim_ports(inc)
        inc.has_made(GIT_RUNS)
        await OpenSession(inc).do()
        await WriteEnvironment(inc).do()
        await StartServices(inc, silent).do()
        yield Running(inc)


@proves("STOP-001")
async def test_a_stop_ends_services_dependants_first_and_leaves_nothing(tmp_path: Path) -> None:
    needs_db = (Dependency(service="db", condition=Condition.READY),)
    db = service("db", NOTES_ITS_END, tmp_path)
    api = service("api", NOTES_ITS_END, tmp_path, depends_on=needs_db)
    async with running(tmp_path, db, api) as here:
        assert not await here.is_gone()

        failures = await stop(here.inc, here.record)

        assert failures.reasons == {}
        assert await here.is_gone()
        assert not (here.inc.home / "env").exists()
    assert (tmp_path / "ended").read_text().split() == ["service:api", "service:db"]
    assert here.parts("stop.started") == here.parts("stop.finished") == PARTS


@proves("STOP-001")
async def test_a_stop_may_be_repeated(tmp_path: Path) -> None:
    async with running(tmp_path, service("api", NOTES_ITS_END, tmp_path)) as here:
        await stop(here.inc, here.record)

        assert (await stop(here.inc, here.record)).reasons == {}
        assert await here.is_gone()


@proves("CTRL-004")
async def test_a_stop_ends_what_the_keeper_holds_of_units_that_are_no_longer_there(tmp_path: Path) -> None:
    api, old = service("api", NOTES_ITS_END, tmp_path), service("old", NOTES_ITS_END, tmp_path)
    async with running(tmp_path, api, old) as here:
        here.inc.spec = replace(here.inc.spec, services=(api,))
        here.inc.ports.pop(("old", "http"))

        failures = await stop(here.inc, here.record)

        assert failures.reasons == {}
        assert await here.is_gone()


@proves("STOP-001")
async def test_a_service_that_ignores_its_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    stubborn = service("api", py(STUBBORN), tmp_path, stop=StopPolicy(grace_s=0.3))
    async with running(tmp_path, stubborn) as here:
        log = here.inc.home / "logs" / "api.log"
        await async_eventually(lambda: "ready" in log.read_text())

        failures = await stop(here.inc, here.record)

        assert (failures.reasons, await here.is_gone()) == ({}, True)


@proves("STOP-002")
async def test_every_part_runs_although_others_fail_and_each_failure_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, service("api", NOTES_ITS_END, tmp_path)) as here:
        inc = here.inc
        # There is no such signal.
        inc.spec = replace(inc.spec, assistant=replace(inc.spec.assistant, stop=StopPolicy(signal="SIGNONE")))

        failures = await stop(inc, here.record)

        assert list(failures.reasons) == ["assistant"]
        assert here.parts("stop.finished") == PARTS
        assert await here.is_gone()
    assert failures.sentences[0].startswith("assistant: ")


@proves("STOP-002")
async def test_a_failing_stop_hook_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    async with running(tmp_path, service("api", NOTES_ITS_END, tmp_path)) as here:
        here.inc.spec = replace(here.inc.spec, hooks=Hooks(pre_stop=(TaskCommand(command="exit 9"),)))

        failures = await stop(here.inc, here.record)

        assert (failures.reasons, await here.is_gone()) == ({}, True)
    notices = [str(event.data["text"]) for event in here.told if event.kind == "notice"]
    assert len(notices) == 1
    assert "9" in notices[0]
    assert notices[0].endswith("; the stop goes on")


@proves("STOP-003")
async def test_a_stranger_on_a_port_that_was_never_opened_does_not_fail_the_stop(tmp_path: Path) -> None:
    async with running(tmp_path, service("api", ("sleep", "600"), tmp_path)) as here:
        with socket.create_server(("127.0.0.1", here.inc.port("api", "http"))):
            failures = await stop(here.inc, here.record)

        assert failures.reasons == {}


@proves("STOP-001")
async def test_every_boundary_of_a_stop_is_a_point_where_a_crash_can_be_tried(tmp_path: Path) -> None:
    points: list[str] = []
    async with running(tmp_path, service("api", NOTES_ITS_END, tmp_path)) as here:
        await stop(here.inc, here.record, reach=points.append)

    assert points == [f"stop-{when}-{part}" for part in PARTS for when in ("before", "after")]
