"""What the runtime makes of keepers that are killed, stuck, or not sure, and of processes that cannot be ended."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.model.ids import AgentId
from envmgr.model.incident import Symptom
from envmgr.model.observe import Absent, Present, ProcessIdentity
from envmgr.model.service import Rate, RestartPolicy, RestartWhen, ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.processes import Marks, Member
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.keeper_loss import KeeperLoss
from envmgr.runtime.pulse import Pulse
from envmgr.runtime.steps.services import StartServices, stop_services
from envmgr.runtime.supervisor import Supervisor
from tests.support.incarnations import incarnation
from tests.support.keepers import lives, record_of, sh
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

AGAIN = RestartPolicy(when=RestartWhen.ON_FAILURE, initial_s=0.05)


def service(name: str) -> ServiceSpec:
    return ServiceSpec(name=name, kind=ServiceKind.PROCESS, command=sh("exec sleep 300"), restart=AGAIN)


@dataclass
class Watched:
    """A running agent, who looks after its keeper, and what that has reported."""

    inc: Incarnation
    actor: Actor
    control: Control
    loss: KeeperLoss
    reported: list[Symptom] = field(default_factory=list)
    restarted: list[Symptom] = field(default_factory=list)

    @property
    def conditions(self) -> dict[tuple[str, str], str]:
        return {(c.type, c.subject): c.reason for c in self.actor.state.conditions}

    async def identity(self, name: str = "web") -> ProcessIdentity:
        who = (await record_of(self.inc.home)).services[name].identity
        assert who is not None
        return who

    async def is_back(self, before: ProcessIdentity) -> bool:
        now = await self.identity()
        state = self.actor.services["web"].state
        return not lives(before) and lives(now) and state is ServiceState.READY


@asynccontextmanager
async def watched(inc: Incarnation, *, ask_every_s: float = 60.0) -> AsyncIterator[Watched]:
    await StartServices(inc, lambda *_: None).do()
    supervisor, actor = await take_over(inc)
    supervisor.pulse = Pulse(load_per_cpu=0)
    try:
        async with anyio.create_task_group() as group:
            here = _watched(inc, actor, supervisor, group, ask_every_s)
            await async_eventually(lambda: "web" in actor.services)
            yield here
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await stop_services(inc)


def _watched(
    inc: Incarnation, actor: Actor, supervisor: Supervisor, group: TaskGroup, ask_every_s: float
) -> Watched:
    health = Health(supervisor, group)
    control = Control(supervisor, health, group)
    reported: list[Symptom] = []
    restarted: list[Symptom] = []

    def report(_: Actor, symptom: Symptom) -> None:
        reported.append(symptom)

    def again(_: Actor, symptom: Symptom) -> None:
        restarted.append(symptom)

    health.report = report
    loss = KeeperLoss(
        supervisor, control, health, group,
        report=report, restarted=again, ask_every_s=ask_every_s, again_s=0.1,
    )  # fmt: skip
    health.keepers = loss
    actor.incarnation = inc
    health.watch(actor, inc)
    return Watched(inc, actor, control, loss, reported, restarted)


@pytest.fixture
async def inc(tmp_path: Path) -> AsyncIterator[Incarnation]:
    async with incarnation(tmp_path, service("web"), agent=AgentId(secrets.token_hex(4))) as inc:
        yield inc


@proves("ADOPT-003")
async def test_a_keeper_that_somebody_stopped_is_woken_and_nothing_starts_anew(inc: Incarnation) -> None:
    async with watched(inc, ask_every_s=0.1) as here:
        web, keeper = await here.identity(), (await record_of(inc.home)).identity

        os.kill(keeper.pid, signal.SIGSTOP)

        await async_eventually(lambda: ("Unobservable", "keeper") in here.conditions, within_s=10)
        await async_eventually(lambda: here.conditions == {}, within_s=20)
        assert (await record_of(inc.home)).identity == keeper
        assert await here.identity() == web


@proves("ADOPT-003", "KEEPERDOWN-001")
async def test_a_keeper_that_stays_silent_is_ended_and_its_services_move_to_another(inc: Incarnation) -> None:
    async with watched(inc) as here:
        web, keeper = await here.identity(), (await record_of(inc.home)).identity

        for _ in range(4):
            os.kill(keeper.pid, signal.SIGSTOP)
            await here.loss.silent(here.actor, inc)

        await async_eventually(lambda: here.is_back(web), within_s=20)
        assert not lives(keeper)
        assert (await record_of(inc.home)).identity != keeper


@proves("ADOPT-003")
async def test_a_stop_does_not_wait_for_a_keeper_that_answers_nobody(inc: Incarnation) -> None:
    await StartServices(inc, lambda *_: None).do()
    record = await record_of(inc.home)
    web = record.services["web"].identity
    os.kill(record.identity.pid, signal.SIGSTOP)

    await stop_services(inc)

    assert not lives(web)
    assert not lives(record.identity)


@proves("ADOPT-003")
async def test_a_keeper_of_an_older_generation_is_ended_with_what_it_held(inc: Incarnation) -> None:
    await StartServices(inc, lambda *_: None).do()
    record = await record_of(inc.home)
    younger = replace(inc, generation=2)

    await stop_services(younger)

    assert not lives(record.services["web"].identity)
    assert not lives(record.identity)


@proves("QUARANTINE-001", "R-31")
async def test_a_keeper_that_is_not_surely_one_is_in_quarantine_until_it_answers(inc: Incarnation) -> None:
    async with watched(inc, ask_every_s=0.1) as here:
        web, keeper = await here.identity(), (await record_of(inc.home)).identity
        path = inc.home / "keeper.json"
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace(f'"start_ticks": {keeper.start_ticks}', '"start_ticks": 1'), encoding="utf-8"
        )

        os.kill(keeper.pid, signal.SIGSTOP)

        await async_eventually(lambda: ("Quarantined", "keeper") in here.conditions, within_s=30)
        assert here.reported
        assert here.reported[-1].survivors
        assert lives(web)
        os.kill(keeper.pid, signal.SIGCONT)
        await async_eventually(lambda: here.conditions == {}, within_s=10)
        path.write_text(text, encoding="utf-8")
        assert await here.identity() == web


@proves("KEEPERDOWN-001")
async def test_lost_keepers_are_charged_to_the_budget_of_the_service(tmp_path: Path) -> None:
    once = replace(AGAIN, budget=Rate(count=1, window_s=600.0))
    fragile = replace(service("web"), restart=once)
    async with (
        incarnation(tmp_path, fragile, agent=AgentId(secrets.token_hex(4))) as inc,
        watched(inc) as here,
    ):
        web = await here.identity()
        os.kill((await record_of(inc.home)).identity.pid, signal.SIGKILL)
        await async_eventually(lambda: here.is_back(web), within_s=10)
        assert [s.words for s in here.restarted] == ["web lost its keeper"], "an incident can tell of it"
        web = await here.identity()

        os.kill((await record_of(inc.home)).identity.pid, signal.SIGKILL)

        await async_eventually(lambda: here.reported, within_s=10)
        assert [(s.subject, s.is_exhausted) for s in here.reported] == [("web", True)]
        assert "was restarted 1 times" in here.reported[0].words
        assert not lives(web)
        assert here.actor.services["web"].state is ServiceState.FAILED


@proves("KEEPERDOWN-001", "R-31")
async def test_who_restarts_one_unit_of_a_lost_keeper_does_not_keep_the_others_down(tmp_path: Path) -> None:
    slow = replace(AGAIN, initial_s=2.0)
    both = [replace(service(name), restart=slow) for name in ("web", "other")]
    async with (
        incarnation(tmp_path, *both, agent=AgentId(secrets.token_hex(4))) as inc,
        watched(inc) as here,
    ):
        other = await here.identity("other")
        os.kill((await record_of(inc.home)).identity.pid, signal.SIGKILL)
        await async_eventually(lambda: set(here.actor.pending) == {"web", "other"}, within_s=10)

        await here.control.restart(here.actor, ["web"])

        assert set(here.actor.pending) == {"other"}
        state = here.actor.services
        await async_eventually(lambda: state["other"].state is ServiceState.READY, within_s=10)
        assert not lives(other)
        assert lives(await here.identity("other"))


@proves("KEEPERDOWN-005", "R-1")
async def test_services_whose_logs_cannot_be_opened_as_on_a_full_disk_are_tried_until_they_can(
    inc: Incarnation,
) -> None:
    async with watched(inc) as here:
        web, log = await here.identity(), inc.home / "logs" / "web.log"
        log.unlink()
        log.mkdir()  # nothing can be written there

        os.kill((await record_of(inc.home)).identity.pid, signal.SIGKILL)
        await async_eventually(lambda: here.reported, within_s=20)
        await async_eventually(lambda: ("ServiceDown", "web") in here.conditions, within_s=10)
        assert here.actor.services["web"].state is ServiceState.FAILED
        log.rmdir()

        await async_eventually(lambda: here.is_back(web), within_s=20)
        await async_eventually(lambda: here.conditions == {}, within_s=10)


class Undying(ProcProcesses):
    """Processes of a kernel that does not deliver: what hangs in a system call cannot be ended."""

    def __init__(self) -> None:
        super().__init__(HostSockets())
        self.is_mortal = False

    async def end(
        self, marks: Marks, *, signal: str = "SIGTERM", hang_up: bool = False, grace_s: float = 10.0
    ) -> Sequence[Member]:
        if self.is_mortal:
            return await super().end(marks, signal=signal, hang_up=hang_up, grace_s=grace_s)
        match await self.members(marks):
            case Present(found):
                return found
            case Absent():
                return ()
        raise AssertionError


@proves("QUARANTINE-001")
async def test_nothing_is_started_beside_what_cannot_be_ended_and_a_person_is_asked(inc: Incarnation) -> None:
    processes = Undying()
    inc.systems = replace(inc.systems, processes=processes)
    async with watched(inc) as here:
        web = await here.identity()
        keeper = (await record_of(inc.home)).identity

        os.kill(keeper.pid, signal.SIGKILL)

        await async_eventually(lambda: ("Quarantined", "web") in here.conditions, within_s=10)
        reason = here.conditions["Quarantined", "web"]
        assert f"(pid {web.pid}) cannot be ended" in reason
        assert [(s.subject, bool(s.survivors)) for s in here.reported] == [("web", True)]
        assert here.actor.services["web"].state is ServiceState.FAILED
        assert (await record_of(inc.home)).identity == keeper, "no other keeper was hired"
        assert lives(web)

        processes.is_mortal = True
        await here.control.restart(here.actor, ["web"])

        await async_eventually(lambda: here.is_back(web), within_s=10)
        await async_eventually(lambda: here.conditions == {}, within_s=10)
