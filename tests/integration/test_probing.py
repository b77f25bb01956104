"""Units that run are looked at: real processes under a real keeper, sick when a file says so."""

from __future__ import annotations

import http.server
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from envmgr.errors import ConfigError
from envmgr.model.agent import Condition
from envmgr.model.event import Event
from envmgr.model.incident import Part, Symptom
from envmgr.model.probe import ExecProbe, HttpProbe, Liveness, ProcessProbe, Readiness, ResourceProbe, Startup
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec, ServiceState
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource
from envmgr.protocols.keepers import Held
from envmgr.protocols.series import Sample
from envmgr.runtime import runners
from envmgr.runtime.actor import Actor
from envmgr.runtime.answers import Answer
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.looking import look
from envmgr.runtime.metering import Meter
from envmgr.runtime.outcomes import ServiceFailed
from envmgr.runtime.pulse import Pulse
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import stop_services
from envmgr.store.series import SqliteSeries
from tests.support.incarnations import incarnation
from tests.support.patients import write_patient
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

READY, FAILED = ServiceState.READY, ServiceState.FAILED
PATIENT = (sys.executable, "patient.py")
LIVE = Liveness(probe=HttpProbe(port="http", path="/live"), period_s=0.05, timeout_s=0.5, down=3, grace_s=0.0)
IS_READY = Readiness(probe=HttpProbe(port="http", path="/ready"), period_s=0.05, timeout_s=0.5)


def web(**more: object) -> ServiceSpec:
    said = {"command": PATIENT, "ports": (PortSpec(name="http"),), "ready": IS_READY, **more}
    return ServiceSpec(name="web", kind=ServiceKind.PROCESS, **said)  # type: ignore[arg-type]  # fields by name


@dataclass(slots=True)
class Ward:
    """A watched agent, and what was told of it."""

    inc: Incarnation
    actor: Actor
    health: Health
    pulse: Callable[[Pulse], None]
    symptoms: list[Symptom] = field(default_factory=list)

    @property
    def state(self) -> ServiceState:
        return self.actor.services["web"].state

    async def looks(self, metric: str) -> Sequence[Sample]:
        return [s for s in await self.inc.systems.series.read(self.inc.id) if s.metric == metric]

    async def further_looks(self, metric: str, count: int) -> None:
        """Until it was looked at so often again."""
        seen = len(await self.looks(metric))

        async def are_there() -> bool:
            return len(await self.looks(metric)) >= seen + count

        await async_eventually(are_there)

    async def told(self, kind: str) -> Sequence[Event]:
        return [e for e in await self.inc.systems.store.read(lambda tx: tx.events()) if e.kind == kind]

    def file(self, name: str) -> Path:
        return self.inc.path / name


@asynccontextmanager
async def watched(
    folder: Path, *services: ServiceSpec, now: Callable[[], float] = time.time, adopted: bool = False
) -> AsyncIterator[Ward]:
    """Its services are started, then watched as a daemon does; `adopted`: one that knows nothing of them yet."""
    async with incarnation(folder, *services) as inc:
        write_patient(inc.path)
        inc.systems = replace(inc.systems, series=SqliteSeries(folder / "series.db"), now=now)
        supervisor, actor = await take_over(inc)
        supervisor.pulse = Pulse(load_per_cpu=0)
        await claim_ports(inc)
        with anyio.fail_after(20):
            outcomes = await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
        actor.services = {} if adopted else dict(outcomes)
        async with anyio.create_task_group() as group:
            health = Health(supervisor, group)
            ward = Ward(inc, actor, health, partial(setattr, supervisor, "pulse"))
            health.report = lambda _, symptom: ward.symptoms.append(symptom)
            health.watch(actor, inc)
            try:
                yield ward
            finally:
                with anyio.CancelScope(shield=True):
                    health.forget(actor)
                    await stop_services(inc)
                    await inc.systems.series.close()
                group.cancel_scope.cancel()


async def read(path: Path) -> str:
    """Empty when there is no such file."""
    return await anyio.Path(path).read_text() if path.exists() else ""


@contextmanager
def squatter(port: int) -> Iterator[None]:
    """This process answers every request there with 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    http.server.HTTPServer.allow_reuse_address = True
    with http.server.HTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield
        server.shutdown()


# --- readiness ---------------------------------------------------------------------------------------------------


@proves("PROBE-001")
async def test_a_service_is_lost_after_three_misses_and_back_after_one_answer(tmp_path: Path) -> None:
    async with watched(tmp_path, web()) as ward:
        ward.file("no-ready").touch()
        await async_eventually(lambda: ward.state is FAILED)
        misses = [s for s in await ward.looks("probe.ready") if s.value == 0]
        assert len(misses) >= 3
        assert ward.symptoms == []  # it may be busy: nothing is restarted for that

        ward.file("no-ready").unlink()
        await async_eventually(lambda: ward.state is READY)


@proves("PROBE-005", "PROBE-004")
async def test_a_squatter_who_answers_200_is_foreign_and_is_reported(tmp_path: Path) -> None:
    # The listener is a child, so that its end is not the end of the service.
    command = f"{sys.executable} patient.py & echo $! > listener; wait; exec sleep 1000"
    async with watched(tmp_path, web(command=command)) as ward:
        port = ward.inc.port("web", "http")
        os.kill(int(await read(ward.file("listener"))), signal.SIGKILL)
        await async_eventually(partial(anyio.to_thread.run_sync, ward.inc.systems.sockets.is_free, port))
        with squatter(port):
            symptom = await async_eventually(lambda: next(iter(ward.symptoms), None))
            assert symptom is not None
            assert (symptom.part, symptom.subject, symptom.is_hang) == (Part.SERVICE, "web", False)
            assert symptom.foreign.startswith(f"pid {os.getpid()} (")
            assert ward.state is FAILED
            assert ward.actor.services["web"].detail.startswith(f"port {port} is taken by pid {os.getpid()}")


@proves("PROBE-004")
async def test_a_probe_that_does_not_care_takes_anybodys_answer(tmp_path: Path) -> None:
    command = f"{sys.executable} patient.py & echo $! > listener; wait; exec sleep 1000"
    careless = replace(IS_READY, owner=False)
    async with watched(tmp_path, web(command=command, ready=careless)) as ward:
        port = ward.inc.port("web", "http")
        os.kill(int(await read(ward.file("listener"))), signal.SIGKILL)
        await async_eventually(partial(anyio.to_thread.run_sync, ward.inc.systems.sockets.is_free, port))
        with squatter(port):
            await ward.further_looks("probe.ready", 8)
            assert ward.state is READY
        assert ward.symptoms == []


# --- startup -----------------------------------------------------------------------------------------------------


SLOW = Startup(probe=ExecProbe(command="echo x >> tried; test -e started"), period_s=0.05)


@proves("PROBE-002")
async def test_readiness_is_not_looked_at_before_the_start_has_succeeded(tmp_path: Path) -> None:
    ready = Readiness(probe=ExecProbe(command="echo x >> asked"))
    unit = ServiceSpec(
        name="web", kind=ServiceKind.PROCESS, command="exec sleep 1000", startup=SLOW, ready=ready
    )
    async with incarnation(tmp_path, unit) as inc, anyio.create_task_group() as group:
        run = ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None)
        group.start_soon(run.start)

        async def are_tries() -> bool:
            return (await read(inc.path / "tried")).count("x") >= 4

        await async_eventually(are_tries)
        assert not (inc.path / "asked").exists()

        (inc.path / "started").touch()
        await async_eventually(lambda: (inc.path / "asked").exists())
        await stop_services(inc)
        group.cancel_scope.cancel()


@proves("PROBE-002")
async def test_a_start_that_takes_too_long_names_its_own_deadline(tmp_path: Path) -> None:
    unit = ServiceSpec(
        name="web", kind=ServiceKind.PROCESS, command="exec sleep 1000", startup=replace(SLOW, deadline_s=0.2)
    )
    async with incarnation(tmp_path, unit) as inc:
        with pytest.raises(ServiceFailed, match=r"web was not started within 0\.2 s") as caught:
            await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
        assert "startup.deadline" in caught.value.hint
        await stop_services(inc)


@proves("PROBE-002")
@pytest.mark.parametrize(("deadline_s", "state"), [(600.0, None), (0.01, FAILED)], ids=["young", "old"])
async def test_a_daemon_that_adopts_a_starting_service_gives_it_the_time_it_has(
    tmp_path: Path, deadline_s: float, state: ServiceState | None
) -> None:
    startup = Startup(probe=ExecProbe(command="true"), deadline_s=deadline_s)
    async with watched(tmp_path, web(startup=startup), adopted=True) as ward:
        ward.file("no-ready").touch()
        ward.actor.services.clear()
        await ward.further_looks("probe.ready", 6)
        seen = ward.actor.services.get("web")
        assert (seen.state if seen else None) is state


# --- liveness ----------------------------------------------------------------------------------------------------


@proves("PROBE-003", "PROBE-006")
async def test_a_service_that_hangs_is_told_with_its_launch_and_is_not_ready_whatever_it_says(
    tmp_path: Path,
) -> None:
    hangs: list[tuple[Held, Symptom]] = []
    async with watched(tmp_path, web(live=LIVE)) as ward:
        ward.health.on_hang = lambda actor, inc, unit, held, symptom: hangs.append((held, symptom))
        ward.file("no-live").touch()
        await async_eventually(lambda: hangs)
        held, symptom = hangs[0]
        assert held.is_alive
        assert symptom.is_hang
        assert symptom.words == "web runs and does not answer: GET /live answered 503"
        assert len([s for s in await ward.looks("probe.live") if s.value == 0]) == 3
        await ward.further_looks("probe.ready", 4)
        assert ward.state is FAILED

        ward.file("no-live").unlink()
        await async_eventually(lambda: ward.state is READY)
    assert ward.symptoms == []


@proves("PROBE-003")
async def test_liveness_waits_for_the_first_readiness_and_its_grace(tmp_path: Path) -> None:
    patient = replace(LIVE, grace_s=600.0)
    async with watched(tmp_path, web(live=patient)) as ward:
        ward.file("no-live").touch()
        await ward.further_looks("probe.ready", 8)
        assert await ward.looks("probe.live") == []
        assert ward.state is READY


@proves("PROBE-003")
async def test_liveness_goes_on_while_the_service_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path, web(live=LIVE)) as ward:
        await ward.further_looks("probe.live", 1)
        ward.file("no-ready").touch()
        await async_eventually(lambda: ward.state is FAILED)
        ward.file("no-live").touch()
        symptom = await async_eventually(lambda: next(iter(ward.symptoms), None))
        assert symptom is not None
        assert symptom.is_hang


@proves("PROBE-003")
async def test_changes_of_other_services_do_not_begin_the_count_anew(tmp_path: Path) -> None:
    async with watched(tmp_path, web(live=replace(LIVE, down=6))) as ward:
        ward.file("no-live").touch()
        while not ward.symptoms:
            await ward.further_looks("probe.live", 1)
            ward.health.watch(ward.actor, ward.inc)  # as after each change of the agent's services
        assert len([s for s in await ward.looks("probe.live") if s.value == 0]) == 6


@proves("PROBE-012")
async def test_a_daemon_that_does_not_know_the_secrets_blames_nobody_for_that(tmp_path: Path) -> None:
    def unknown(spec: AgentSpec, environment: object) -> dict[str, str]:
        raise ConfigError("there is no secret TOKEN", hint="")

    async with watched(
        tmp_path, web(live=replace(LIVE, probe=ExecProbe(command='test -n "$TOKEN"')))
    ) as ward:
        ward.health.forget(ward.actor)
        token = SecretRef(name="TOKEN", source=SecretSource.ENV, key="TOKEN")
        ward.inc.spec = replace(ward.inc.spec, secrets=(token,))
        ward.inc.systems = replace(ward.inc.systems, secrets=unknown)
        ward.health.watch(ward.actor, ward.inc)

        def remark() -> Condition | None:
            return next((c for c in ward.actor.state.conditions if c.type == "Unobservable"), None)

        condition = await async_eventually(remark)
        assert condition is not None
        assert condition.subject == "web.live"
        assert condition.reason.startswith("its secrets are not known")
        await ward.further_looks("probe.ready", 8)
        assert remark() == condition
        assert (ward.state, ward.symptoms) == (READY, [])


# --- the machine -------------------------------------------------------------------------------------------------


@proves("PROBE-007")
async def test_an_overloaded_machine_suspends_probes_which_is_told_once(tmp_path: Path) -> None:
    load = tmp_path / "loadavg"
    load.write_text("9999.0 1.0 1.0 1/9 9\n", encoding="ascii")
    # A clock of which five seconds pass in five milliseconds: that often the load is read.
    fast = partial(lambda: time.monotonic() * 1000)
    async with watched(tmp_path, web(live=LIVE)) as ward:
        await ward.further_looks("probe.live", 1)
        ward.pulse(Pulse(proc=tmp_path, awake=fast, since_boot=fast))
        ward.file("no-ready").touch()
        ward.file("no-live").touch()
        await async_eventually(partial(ward.told, "probes.suspended"))
        at = len(await ward.looks("probe.live"))
        await anyio.lowlevel.checkpoint()
        assert (ward.state, ward.symptoms) == (READY, [])

        load.write_text("0.1 1.0 1.0 1/9 9\n", encoding="ascii")
        await async_eventually(lambda: ward.symptoms)
        assert len(await ward.looks("probe.live")) >= at + LIVE.down
        (suspended,) = await ward.told("probes.suspended")
        (resumed,) = await ward.told("probes.resumed")
        assert (
            suspended.data["reason"]
            == resumed.data["reason"]
            == "the machine is overloaded: its load is 9999.0"
        )


@proves("PROBE-010")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0], ids=["ahead", "back"])
async def test_a_jump_of_the_wall_clock_makes_nobody_sick_and_hides_no_sickness(
    tmp_path: Path, jump_s: float
) -> None:
    jumped = threading.Event()
    async with watched(
        tmp_path, web(live=LIVE), now=lambda: time.time() + (jump_s if jumped.is_set() else 0.0)
    ) as ward:
        await ward.further_looks("probe.live", 2)
        jumped.set()
        await ward.further_looks("probe.live", 4)
        await ward.further_looks("probe.ready", 4)
        assert (ward.state, ward.symptoms) == (READY, [])

        ward.file("no-live").touch()
        symptom = await async_eventually(lambda: next(iter(ward.symptoms), None), within_s=5)
        assert symptom is not None
        assert symptom.is_hang


# --- processes and what they use ---------------------------------------------------------------------------------


CROWD = "sleep 1000 & sleep 1000 & wait"


@proves("PROBE-008")
@pytest.mark.parametrize(
    ("probe", "why"),
    [
        (ProcessProbe(pattern="^sleep", count=2), ""),
        (ProcessProbe(pattern="^sleep", count=3), "2 of 3 processes with '^sleep' in the command line"),
        (ProcessProbe(pattern="worker"), "0 of 1 processes with 'worker' in the command line"),
        (ProcessProbe(count=3), ""),
        (ResourceProbe(memory_bytes=10**9, open_files=1000, cpus=8.0), ""),
        (ResourceProbe(memory_bytes=1000), r"uses \d+ MB of 0 MB"),
        (ResourceProbe(open_files=1), r"has \d+ files open of 1"),
    ],
)
async def test_processes_and_their_use_can_be_asked_for(
    tmp_path: Path, probe: ProcessProbe | ResourceProbe, why: str
) -> None:
    unit = ServiceSpec(name="crowd", kind=ServiceKind.PROCESS, command=CROWD)
    async with incarnation(tmp_path, unit) as inc:
        answer = await asked_of(inc, unit, probe)
        assert answer.is_ready is (why == "")
        assert (not why) or matches(why, answer.why)
        await stop_services(inc)


@proves("PROBE-008")
async def test_processors_are_counted_from_one_look_to_the_next(tmp_path: Path) -> None:
    unit = ServiceSpec(name="busy", kind=ServiceKind.PROCESS, command="while :; do :; done")
    bound = Readiness(probe=ResourceProbe(cpus=0.01), period_s=0.1)
    async with incarnation(tmp_path, unit) as inc:
        held, meter = await started(inc, unit), Meter(inc, unit)
        assert (await look(inc, unit, bound, held, {}, meter=meter)).is_ready

        async def is_over() -> bool:
            answer = await look(inc, unit, bound, held, {}, meter=meter)
            return not answer.is_ready and "of 0.01 processors" in answer.why

        await async_eventually(is_over)
        await stop_services(inc)


async def started(inc: Incarnation, unit: ServiceSpec) -> Held:
    runner = await runners.hire(inc)
    await ServiceRun(inc, runner, {}, lambda *_: None).start()
    return (await runner.of(unit).status())[unit.name]


async def asked_of(inc: Incarnation, unit: ServiceSpec, probe: ProcessProbe | ResourceProbe) -> Answer:
    held = await started(inc, unit)
    return await look(inc, unit, Readiness(probe=probe), held, {}, meter=Meter(inc, unit))


def matches(pattern: str, text: str) -> bool:
    return text == pattern or re.fullmatch(pattern, text) is not None
