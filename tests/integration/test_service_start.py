"""Services come up in order, or the reason is told at once: real processes under a real keeper, on real ports."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import pytest

from envmgr.errors import Conflict, PortTaken, Unavailable
from envmgr.model.probe import AnyOf, ExecProbe, HttpProbe, LogProbe, Probe, Readiness, TcpProbe
from envmgr.model.service import Condition, Dependency, PortSpec, ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime import runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.outcomes import Outcome, ServiceFailed
from envmgr.runtime.services import ServiceRun
from tests.support.incarnations import incarnation
from tests.support.keepers import py, record_of, runs, sh
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

WAITING, STARTING, READY, DONE, FAILED = (
    ServiceState.WAITING,
    ServiceState.STARTING,
    ServiceState.READY,
    ServiceState.DONE,
    ServiceState.FAILED,
)
Make = Callable[..., AbstractAsyncContextManager[Incarnation]]

# Listens on its port, says so, and stays.
LISTEN = py(
    "import os, socket, time\n"
    "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
    "print('listening', flush=True)\n"
    "time.sleep(600)\n"
)
# Answers every request with 200 and a page.
SERVE = py(
    "import os, socket\n"
    "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
    "while True:\n"
    "    peer, _ = server.accept()\n"
    "    peer.recv(4096)\n"
    "    peer.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello from otter')\n"
    "    peer.close()\n"
)
STAY = ("sleep", "600")
HTTP = (PortSpec(name="http"),)


@dataclass(slots=True)
class Told:
    """What people were told, in order."""

    lines: list[tuple[str, ServiceState, str]] = field(default_factory=list)

    def __call__(self, service: str, state: ServiceState, detail: str) -> None:
        self.lines.append((service, state, detail))

    def story(self) -> list[tuple[str, ServiceState]]:
        return [(service, state) for service, state, _ in self.lines]

    def has(self, service: str, state: ServiceState) -> bool:
        return (service, state) in self.story()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(incarnation, tmp_path)


@pytest.fixture
def told() -> Told:
    return Told()


async def start(inc: Incarnation, told: Told) -> dict[str, Outcome]:
    await claim_ports(inc)
    return await start_only(inc, told)


async def start_only(inc: Incarnation, told: Told) -> dict[str, Outcome]:
    with anyio.fail_after(20):
        return dict(await ServiceRun(inc, await runners.hire(inc), {}, told).start())


def states(outcomes: dict[str, Outcome]) -> dict[str, ServiceState]:
    return {name: outcome.state for name, outcome in outcomes.items()}


def process(name: str, command: str | tuple[str, ...] = STAY, **more: object) -> ServiceSpec:
    return ServiceSpec(name=name, kind=ServiceKind.PROCESS, command=command, **more)  # type: ignore[arg-type]  # fields by name


def task(name: str, command: str | tuple[str, ...], **more: object) -> ServiceSpec:
    return ServiceSpec(name=name, kind=ServiceKind.TASK, command=command, **more)  # type: ignore[arg-type]  # fields by name


def when(service: str, condition: Condition, **more: object) -> tuple[Dependency, ...]:
    return (Dependency(service=service, condition=condition, **more),)  # type: ignore[arg-type]  # fields by name


def ready(probe: Probe, **more: float) -> Readiness:
    return Readiness(probe=probe, **more)  # type: ignore[arg-type]  # fields by name


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody else (this process) listens there."""
    with socket.create_server(("127.0.0.1", port)):
        yield


# --- order and conditions ----------------------------------------------------------------------------------------


@proves("SVC-001")
async def test_services_start_one_after_the_other_as_they_depend(make: Make, told: Told) -> None:
    async with make(
        process("web", depends_on=when("api", Condition.READY)),
        process(
            "api",
            LISTEN,
            ports=HTTP,
            ready=ready(TcpProbe(port="http")),
            depends_on=when("seed", Condition.SUCCEEDED),
        ),
        task("seed", ("true",)),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"web": READY, "api": READY, "seed": DONE}
    assert told.story() == [
        ("seed", STARTING),
        ("seed", DONE),
        ("api", STARTING),
        ("api", READY),
        ("web", STARTING),
        ("web", READY),
    ]


@proves("SVC-001")
async def test_independent_services_start_side_by_side(make: Make, told: Told, tmp_path: Path) -> None:
    # Each waits until it sees the other one.
    def meet(mine: str, other: str) -> tuple[str, ...]:
        folder = tmp_path
        return sh(f"touch {folder}/{mine}; until [ -e {folder}/{other} ]; do sleep 0.02; done")

    async with make(task("a", meet("a", "b")), task("b", meet("b", "a"))) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"a": DONE, "b": DONE}


@proves("SVC-002")
async def test_started_means_alive_for_a_moment_and_not_ready(make: Make, told: Told, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = sh(f"until [ -e {go} ]; do sleep 0.02; done; echo up; sleep 600")
    async with make(
        process("slow", slow, ready=ready(LogProbe(pattern="up"))),
        task("first", ("touch", str(go)), depends_on=when("slow", Condition.STARTED)),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"slow": READY, "first": DONE}
    assert told.story().index(("first", STARTING)) < told.story().index(("slow", READY))


@proves("SVC-002")
async def test_a_service_that_ends_at_once_has_not_started(make: Make, told: Told) -> None:
    async with make(
        process("short", ("true",), critical=False),
        process("user", depends_on=when("short", Condition.STARTED), critical=False),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"short": FAILED, "user": FAILED}
    assert outcomes["user"].detail == "user cannot start: short is failed, not started"


@proves("SVC-002")
@pytest.mark.parametrize(
    ("condition", "code", "state"),
    [
        (Condition.COMPLETED, 0, READY),
        (Condition.COMPLETED, 3, READY),
        (Condition.SUCCEEDED, 0, READY),
        (Condition.SUCCEEDED, 3, FAILED),
    ],
)
async def test_a_dependant_of_a_task_starts_when_the_condition_is_met(
    make: Make, told: Told, condition: Condition, code: int, state: ServiceState
) -> None:
    async with make(
        task("seed", sh(f"exit {code}"), critical=False),
        process("api", depends_on=when("seed", condition), critical=False),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"seed": FAILED if code else DONE, "api": state}


@proves("SVC-002")
async def test_a_task_may_succeed_with_another_status(make: Make, told: Told) -> None:
    async with make(task("seed", sh("exit 3"), success_exit_codes=(0, 3))) as inc:
        outcomes = await start(inc, told)

    assert outcomes["seed"] == Outcome(state=DONE, detail="exited with 3")


@proves("SVC-003")
async def test_what_depends_on_a_failed_service_fails_too_along_the_chain_and_others_go_on(
    make: Make, told: Told
) -> None:
    async with make(
        process("db", sh("echo no space >&2; exit 5"), critical=False),
        process("api", depends_on=when("db", Condition.READY), critical=False),
        process("web", depends_on=when("api", Condition.READY), critical=False),
        process("docs"),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"db": FAILED, "api": FAILED, "web": FAILED, "docs": READY}
    assert outcomes["db"].detail == "db ended before it was ready with status 5; its last words: no space"
    assert outcomes["web"].detail == "web cannot start: api is failed, not ready"


@proves("SVC-003")
async def test_a_dependency_that_is_not_required_may_fail(make: Make, told: Told) -> None:
    async with make(
        process("cache", ("false",), critical=False),
        process("api", depends_on=when("cache", Condition.READY, required=False)),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"cache": FAILED, "api": READY}


@proves("SVC-003")
async def test_a_dependant_fails_at_once_when_what_it_waits_for_exits(make: Make, told: Told) -> None:
    never = ready(LogProbe(pattern="never said"), deadline_s=600)
    begun = time.monotonic()
    async with make(
        process("db", sh("sleep 0.5; exit 1"), ready=never, critical=False),
        process("api", depends_on=when("db", Condition.READY), critical=False),
    ) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"db": FAILED, "api": FAILED}
    assert time.monotonic() - begun < 15


@proves("SVC-003")
async def test_waiting_for_a_dependency_has_an_end(make: Make, told: Told) -> None:
    never = ready(LogProbe(pattern="never said"), deadline_s=600)
    async with make(
        process("db", ready=never),
        process("api", depends_on=when("db", Condition.READY, timeout_s=0.3)),
    ) as inc:
        with pytest.raises(ServiceFailed, match=r"^api waited 0\.3 s for db to be ready$"):
            await start(inc, told)


# --- one service fails -------------------------------------------------------------------------------------------


@proves("SVC-004")
async def test_a_critical_service_that_fails_ends_the_start_with_status_and_last_words(
    make: Make, told: Told
) -> None:
    broken = sh("echo starting; echo 'no config file' >&2; exit 2")
    async with make(process("api", broken), process("slow", ready=ready(LogProbe(pattern="never")))) as inc:
        with pytest.raises(ServiceFailed) as failed:
            await start(inc, told)

    error = failed.value
    assert error.message == "api ended before it was ready with status 2; its last words: no config file"
    assert error.details == {"service": "api", "exit_code": 2, "log": "starting\nno config file"}
    assert "envmgr logs otter api" in error.hint


@proves("SVC-004")
async def test_a_service_that_is_killed_is_told_with_the_signal(make: Make, told: Told) -> None:
    async with make(process("api", sh("kill -9 $$$$"))) as inc:
        with pytest.raises(ServiceFailed, match="^api ended before it was ready with signal SIGKILL$"):
            await start(inc, told)


@proves("SVC-004")
async def test_a_program_that_does_not_exist_is_named(make: Make, told: Told) -> None:
    async with make(process("api", ("no-such-program-anywhere",))) as inc:
        with pytest.raises(ServiceFailed, match="api could not be executed: .*no-such-program-anywhere"):
            await start(inc, told)


@proves("SVC-004")
async def test_a_task_that_does_not_end_in_time_is_ended_and_told(
    make: Make, told: Told, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    async with make(task("seed", sh(f"echo $$$$ > {pid}; exec sleep 600"), timeout_s=0.5)) as inc:
        with pytest.raises(ServiceFailed, match="^task seed did not end within 0.5 s$"):
            await start(inc, told)

        assert not runs(int(pid.read_text()))


@proves("SVC-004")
async def test_a_service_that_never_gets_ready_says_what_was_seen_last(make: Make, told: Told) -> None:
    probe = ready(TcpProbe(port="http"), deadline_s=0.4)
    async with make(process("api", sh("echo warming up; sleep 600"), ports=HTTP, ready=probe)) as inc:
        with pytest.raises(ServiceFailed) as failed:
            await start(inc, told)

    assert failed.value.message == (
        "api was not ready within 0.4 s: connection refused: nothing listens yet; its last words: warming up"
    )
    assert failed.value.details == {"log": "warming up"}


@proves("SVC-004")
async def test_a_keeper_that_is_killed_in_the_middle_ends_the_start(make: Make, told: Told) -> None:
    async with make(process("api", ready=ready(LogProbe(pattern="never said")))) as inc:

        async def kill_the_keeper() -> None:
            await async_eventually(
                lambda: told.has("api", STARTING) and (inc.home / "logs" / "api.log").exists()
            )
            os.kill((await record_of(inc.home)).identity.pid, signal.SIGKILL)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(kill_the_keeper)
                # A question that is under way is cut off; else the stream of changes ends. Both may come first.
                with pytest.raises(Unavailable, match="^the keeper of otter (ended|does not answer)"):
                    await start(inc, told)
        finally:
            await inc.systems.processes.end(inc.marks(part="service:api"))


# --- readiness ---------------------------------------------------------------------------------------------------


@proves("SVC-005")
@pytest.mark.parametrize(
    ("command", "probe"),
    [
        (LISTEN, TcpProbe(port="http")),
        (SERVE, HttpProbe(port="http")),
        (SERVE, HttpProbe(port="http", status=(200,), body="from otter$")),
        (LISTEN, LogProbe(pattern="^listen")),
        (LISTEN, ExecProbe(command='test -n "$PORT" && grep -q listening "$LOG"')),
        (LISTEN, AnyOf(probes=(LogProbe(pattern="never said"), TcpProbe(port="http")))),
    ],
    ids=["tcp", "http", "http-body", "log", "exec", "any"],
)
async def test_a_service_is_ready_when_its_probe_says_so(
    make: Make, told: Told, command: tuple[str, ...], probe: Probe, tmp_path: Path
) -> None:
    log = str(tmp_path / "state" / "agents" / "0tter000" / "logs" / "api.log")
    async with make(process("api", command, ports=HTTP, ready=ready(probe), env={"LOG": log})) as inc:
        outcomes = await start(inc, told)

    assert states(outcomes) == {"api": READY}


@proves("SVC-005")
@pytest.mark.parametrize(
    ("command", "probe", "why"),
    [
        (SERVE, HttpProbe(port="http", status=(204,)), "GET / answered 200"),
        (SERVE, HttpProbe(port="http", body="badger"), "GET /: body does not match 'badger'"),
        (LISTEN, HttpProbe(port="http"), "no answer in time"),
        (LISTEN, LogProbe(pattern="never"), "no log line matches 'never' yet"),
        (LISTEN, ExecProbe(command="echo not yet; exit 4"), "probe exited with 4: not yet"),
    ],
    ids=["status", "body", "silent", "log", "exec"],
)
async def test_a_probe_that_fails_says_why(
    make: Make, told: Told, command: tuple[str, ...], probe: Probe, why: str
) -> None:
    readiness = ready(probe, deadline_s=0.5, timeout_s=0.3)
    async with make(process("api", command, ports=HTTP, ready=readiness)) as inc:
        with pytest.raises(ServiceFailed) as failed:
            await start(inc, told)

    assert failed.value.message.startswith(f"api was not ready within 0.5 s: {why}")


@proves("SVC-005")
async def test_a_log_probe_does_not_believe_an_earlier_launch(make: Make, told: Told) -> None:
    async with make(
        process("api", LISTEN, ports=HTTP, ready=ready(LogProbe(pattern="old words"), deadline_s=0.5))
    ) as inc:
        (inc.home / "logs").mkdir(parents=True)
        (inc.home / "logs" / "api.log").write_text("old words\n")
        with pytest.raises(ServiceFailed, match="no log line matches"):
            await start(inc, told)


@proves("SVC-005")
async def test_several_successes_in_a_row_may_be_asked_for(make: Make, told: Told, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    probe = ExecProbe(command=f"echo x >> {tries}")
    async with make(process("api", ready=ready(probe, up=3))) as inc:
        await start(inc, told)

    assert len(tries.read_text().split()) == 3


@proves("SVC-006")
async def test_an_external_service_is_waited_for_and_never_started(make: Make, told: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        port = PortSpec(name="db", number=elsewhere.getsockname()[1])
        service = ServiceSpec(
            name="db", kind=ServiceKind.EXTERNAL, ports=(port,), ready=ready(TcpProbe(port="db"))
        )
        async with make(service) as inc:
            outcomes = await start(inc, told)

    assert states(outcomes) == {"db": READY}


@proves("SVC-006")
async def test_an_external_service_that_is_not_there_fails_by_its_deadline(make: Make, told: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = PortSpec(name="db", number=once.getsockname()[1])
    service = ServiceSpec(
        name="db", kind=ServiceKind.EXTERNAL, ports=(port,), ready=ready(TcpProbe(port="db"), deadline_s=0.3)
    )
    async with make(service) as inc:
        with pytest.raises(ServiceFailed, match="db was not ready within 0.3 s: connection refused"):
            await start(inc, told)


# --- ports -------------------------------------------------------------------------------------------------------


@proves("SVC-007", "R-32")
@pytest.mark.parametrize(
    "command",
    [LISTEN, STAY],
    ids=["fails to bind", "does not notice"],
)
async def test_a_service_whose_port_was_stolen_moves_to_another_one(
    make: Make, told: Told, command: tuple[str, ...], tmp_path: Path
) -> None:
    # The second one never listens by itself: without looking at who answers it would pass for ready.
    probe = (
        TcpProbe(port="http")
        if command is LISTEN
        else AnyOf(probes=(TcpProbe(port="http"), ExecProbe(command="true")))
    )
    async with make(
        process("db", LISTEN, ports=HTTP, ready=ready(TcpProbe(port="http"))),
        process("api", command, ports=HTTP, ready=ready(probe), depends_on=when("db", Condition.READY)),
    ) as inc:
        await claim_ports(inc)
        before = dict(inc.ports)
        with taken(before["api", "http"]):
            outcomes = await start_only(inc, told)

        assert states(outcomes) == {"db": READY, "api": READY}
        assert inc.ports["db", "http"] == before["db", "http"]
        assert inc.ports["api", "http"] != before["api", "http"]
        leases = await inc.systems.store.read(lambda tx: tx.leases())
        assert {(x.service, x.name): x.port for x in leases if x.held} == inc.ports
    moved = [detail for service, _, detail in told.lines if "moved to another port" in detail]
    assert len(moved) == 1
    assert f"port {before['api', 'http']} is taken by pid {os.getpid()}" in moved[0]


@proves("SVC-007", "R-32")
async def test_a_fixed_port_that_was_stolen_is_a_conflict_that_names_the_thief(
    make: Make, told: Told
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    fixed = (PortSpec(name="http", prefer=number, fixed=True),)
    async with make(process("api", LISTEN, ports=fixed, ready=ready(TcpProbe(port="http")))) as inc:
        await claim_ports(inc)
        with taken(number), pytest.raises(PortTaken) as conflict:
            await start_only(inc, told)

    assert conflict.value.message.startswith(f"port {number} is taken by pid {os.getpid()} (")
    assert "drop `fixed`" in conflict.value.hint


@proves("SVC-007", "R-32")
async def test_a_fixed_port_that_is_taken_beforehand_is_a_conflict_before_anything_starts(
    make: Make, told: Told
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        number = thief.getsockname()[1]
        fixed = (PortSpec(name="http", prefer=number, fixed=True),)
        async with make(process("api", LISTEN, ports=fixed)) as inc:
            with pytest.raises(Conflict, match=f"port {number} of api.http is taken"):
                await start(inc, told)

    assert told.lines == []


@proves("PORT-004")
async def test_ports_that_other_programs_have_are_passed_over_when_leasing(make: Make) -> None:
    async with make(process("api", ports=HTTP)) as inc:
        await claim_ports(inc)
        first = inc.port("api", "http")
        await inc.systems.store.write(lambda tx: tx.release_ports(inc.id, forget=True))
        inc.ports.clear()
        with taken(first):
            await claim_ports(inc)

        assert inc.port("api", "http") > first


@proves("PORT-006")
async def test_a_dependant_gets_ports_and_connection_strings_of_what_it_depends_on(
    make: Make, told: Told, tmp_path: Path
) -> None:
    wanted = ("PORT", "API_PORT", "API_HTTP_PORT", "DB_MAIN_PORT", "DATABASE_URL", "SECRET_URL")
    show = "; ".join(f'echo "{name}=${name}"' for name in wanted)
    async with make(
        process(
            "db",
            ports=(PortSpec(name="main"),),
            exports={"DATABASE_URL": "postgres://127.0.0.1:${ports.main}/app"},
        ),
        process("unrelated", exports={"SECRET_URL": "x"}),
        task(
            "api",
            show,
            ports=(PortSpec(name="http", env="API_PORT"),),
            depends_on=when("db", Condition.STARTED),
        ),
    ) as inc:
        await start(inc, told)

        said = dict(line.split("=", 1) for line in (inc.home / "logs" / "api.log").read_text().splitlines())
        api, db = str(inc.port("api", "http")), str(inc.port("db", "main"))
    assert said == {
        "PORT": api,
        "API_PORT": api,
        "API_HTTP_PORT": api,
        "DB_MAIN_PORT": db,
        "DATABASE_URL": f"postgres://127.0.0.1:{db}/app",
        "SECRET_URL": "",
    }
