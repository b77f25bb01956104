"""Services in containers come up like processes do: in order, ready when they are, or with the reason; on the real engine."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from envmgr.errors import ConfigError, EnvmgrError, PortTaken, Unavailable
from envmgr.model.container import BuildSpec, ContainerSpec, MountKind, MountSpec, PullPolicy, VolumeSpec
from envmgr.model.ids import LABEL_AGENT, LABEL_INSTANCE
from envmgr.model.probe import (
    ExecProbe,
    HttpProbe,
    ImageHealth,
    LogProbe,
    Probe,
    ProcessProbe,
    Readiness,
    ResourceProbe,
    TcpProbe,
)
from envmgr.model.service import (
    Condition,
    Dependency,
    PortSpec,
    ProcessLimits,
    ServiceKind,
    ServiceSpec,
    ServiceState,
)
from envmgr.runtime import runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.outcomes import Outcome, ServiceFailed
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import discard_units, stop_services, stop_units
from envmgr.runtime.supplies import remove_images
from tests.support.containers import contained, container, task
from tests.support.docker import BASE, REDIS, WEB, WEB_CHECKED, engine, existing
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

Make = Callable[..., AbstractAsyncContextManager[Incarnation]]
READY, DONE, FAILED = ServiceState.READY, ServiceState.DONE, ServiceState.FAILED
STAY = "sleep 600"
HTTP = (PortSpec(name="http", container=80),)
# Listens inside; `nc` of busybox ends with its first caller, hence the loop.
LISTEN = "while true; do busybox nc -l -p 80 -e echo hello; done"


@dataclass(slots=True)
class Told:
    """What people were told, in order."""

    lines: list[tuple[str, ServiceState, str]] = field(default_factory=list)

    def __call__(self, service: str, state: ServiceState, detail: str) -> None:
        self.lines.append((service, state, detail))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(running, tmp_path)


def running(folder: Path, *services: ServiceSpec, **more: object) -> AbstractAsyncContextManager[Incarnation]:
    return contained(folder, *services, **more)  # type: ignore[arg-type]  # passed on by name


@pytest.fixture
def told() -> Told:
    return Told()


async def start(inc: Incarnation, told: Told, only: tuple[str, ...] | None = None) -> dict[str, Outcome]:
    await claim_ports(inc)
    return await start_only(inc, told, only)


async def start_only(
    inc: Incarnation, told: Told, only: tuple[str, ...] | None = None, **standing: Outcome
) -> dict[str, Outcome]:
    with anyio.fail_after(90):  # a build may take its time on a busy machine
        run = ServiceRun(inc, await runners.hire(inc), {}, told, standing=standing)
        return dict(await run.start(only))


async def fails(inc: Incarnation, told: Told) -> EnvmgrError:
    with pytest.raises(EnvmgrError) as failed:
        await start(inc, told)
    return failed.value


def states(outcomes: dict[str, Outcome]) -> dict[str, ServiceState]:
    return {name: outcome.state for name, outcome in outcomes.items()}


def ready(probe: Probe, **more: float) -> Readiness:
    return Readiness(probe=probe, **more)  # type: ignore[arg-type]  # fields by name


def when(service: str, condition: Condition = Condition.READY) -> tuple[Dependency, ...]:
    return (Dependency(service=service, condition=condition),)


def said(inc: Incarnation, unit: str) -> dict[str, str]:
    lines = (inc.home / "logs" / f"{unit}.log").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def truth(inc: Incarnation, unit: str) -> dict[str, object]:
    found: dict[str, object] = engine().api.inspect_container(f"envmgr-{inc.id}-g1-{unit}")
    return found


@proves("CONT-018")
async def test_a_container_gets_the_secrets_that_its_service_names_and_no_others(
    make: Make, told: Told
) -> None:
    db = container("db", STAY, ports=(PortSpec(name="sql", container=5432),),
                   env={"PASSWORD": "${secrets.DB_KEY}"},
                   exports={"DB_URL": "pg://${secrets.URL_KEY}@127.0.0.1:${ports.sql}/"})  # fmt: skip
    api = container("api", 'test "$API_KEY" = a-1 && exec sleep 600', depends_on=when("db"))
    web = container("web", STAY, description="needs no API_KEY")
    secrets = {"DB_KEY": "d-1", "URL_KEY": "u-1", "API_KEY": "a-1", "API_KEY_2": "x-1"}
    async with make(db, api, web) as inc:
        await claim_ports(inc)
        with anyio.fail_after(60):
            await ServiceRun(inc, await runners.hire(inc), secrets, told).start()
        shown = {unit: str(truth(inc, unit)) for unit in ("db", "api", "web")}
        seen = {unit: {name for name, value in secrets.items() if value in shown[unit]} for unit in shown}
        assert seen == {"db": {"DB_KEY", "URL_KEY"}, "api": {"API_KEY", "URL_KEY"}, "web": set()}
        await stop_services(inc)


# --- what they get, and how they find each other ------------------------------------------------------------------


@proves("CONT-001")
async def test_containers_find_each_other_by_name_and_the_host_finds_them_at_leased_ports(
    make: Make, told: Told
) -> None:
    db = container("db", (), image=REDIS, ports=(PortSpec(name="tcp", container=6379),),
        ready=ready(ExecProbe(command=("redis-cli", "ping"), inside=True)),
        exports={"REDIS_URL": "redis://127.0.0.1:${ports.tcp}/0", "REDIS_HOST": "${services.db.host}"},
        inside=ContainerSpec(aliases=("cache",)))  # fmt: skip
    ask = task("ask", "env; redis-cli -u $REDIS_URL set k 1; redis-cli -h cache get k", image=REDIS,
        depends_on=when("db"))  # fmt: skip
    host = ServiceSpec(name="host", kind=ServiceKind.TASK, command="env", depends_on=when("db"))
    async with make(db, ask, host) as inc:
        outcomes = await start(inc, told)
        inside, outside = said(inc, "ask"), said(inc, "host")
        answers = (inc.home / "logs" / "ask.log").read_text().splitlines()[-2:]
        port = str(inc.port("db", "tcp"))
        await stop_services(inc)

    assert states(outcomes) == {"db": READY, "ask": DONE, "host": DONE}
    assert answers == ["OK", "1"]
    assert (inside["REDIS_URL"], inside["REDIS_HOST"], inside["DB_TCP_PORT"]) == (
        "redis://db:6379/0", "db", "6379",
    )  # fmt: skip
    assert (outside["REDIS_URL"], outside["REDIS_HOST"], outside["DB_TCP_PORT"]) == (
        f"redis://127.0.0.1:{port}/0", "127.0.0.1", port,
    )  # fmt: skip


@proves("CONT-002")
async def test_a_container_gets_the_template_s_variables_and_nothing_of_the_person_s(
    make: Make, told: Told
) -> None:
    show = task("show", "env", env={"MINE": "own", "PORTS": "${ports.http}"}, ports=HTTP)
    async with make(show) as inc:
        inc.spec = replace(
            inc.spec,
            env={**inc.spec.env, "HOME": "/home/somebody", "SHARED": "yes"},
            inherited=("PATH", "HOME"),
        )
        await start(inc, told)
        env = said(inc, "show")
        await stop_services(inc)

    assert env["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert env["HOME"] == "/root"
    assert (env["SHARED"], env["MINE"], env["PORTS"], env["PORT"]) == ("yes", "own", "80", "80")
    assert (env["ENVMGR_AGENT"], env["ENVMGR_SERVICE"]) == (inc.id, "show")
    assert not {"ENVMGR_INSTANCE", "ENVMGR_WORKTREE", "TMUX"} & env.keys()


@proves("CONT-001")
async def test_what_runs_on_the_host_is_found_from_a_container(make: Make, told: Told) -> None:
    with answering(b"R=hello from the host\n") as number:
        api = ServiceSpec(
            name="api", kind=ServiceKind.EXTERNAL, ports=(PortSpec(name="tcp", number=number),),
            ready=ready(TcpProbe(port="tcp")), exports={"API": "127.0.0.1:${ports.tcp}"},
        )  # fmt: skip
        call = task(
            "call", "echo A=$API; busybox nc $${API%:*} $${API#*:} < /dev/null", depends_on=when("api")
        )
        async with make(api, call) as inc:
            await start(inc, told)
            answer = said(inc, "call")
            await stop_services(inc)

    assert answer["A"] == f"host.docker.internal:{number}"
    assert answer["R"] == "hello from the host"


@contextmanager
def answering(word: bytes) -> Iterator[int]:
    """The port of somebody on this host who tells everybody the same."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(word)

    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@proves("CONT-003")
async def test_mounts_limits_and_builds_are_as_the_template_says(make: Make, told: Told) -> None:
    mounts = (
        MountSpec(kind=MountKind.BIND, source="src", target="/src"),
        MountSpec(kind=MountKind.VOLUME, source="data", target="/data"),
    )
    built = ContainerSpec(build=BuildSpec(context="app", args={"WORD": "hello"}), mounts=mounts)
    app = replace(
        container("app", "cat /src/file /word; echo kept >> /data/file; sleep 600", inside=built),
        limits=ProcessLimits(memory_bytes=64 * 2**20, cpus=0.5, pids=50),
        ready=ready(LogProbe(pattern="hello")),
    )
    assert app.container is not None
    app = replace(app, container=replace(app.container, image=""))
    async with make(app, volumes=(VolumeSpec(name="data"),)) as inc:
        (inc.path / "src").mkdir()
        (inc.path / "src" / "file").write_text("from the worktree\n")
        (inc.path / "app").mkdir()
        recipe = "FROM envmgr-test/base\nARG WORD\nRUN echo $WORD > /word\n"
        (inc.path / "app" / "Dockerfile").write_text(recipe)
        await start(inc, told)
        log = (inc.home / "logs" / "app.log").read_text()
        config = truth(inc, "app")["HostConfig"]
        names = {
            v["Name"] for v in engine().api.volumes(filters={"label": f"envmgr.agent={inc.id}"})["Volumes"]
        }
        await stop_services(inc)
        engine().api.remove_volume(f"envmgr-{inc.id}-data")
        engine().api.remove_image(f"envmgr-{inc.id}-app")

    assert log.splitlines()[:2] == ["from the worktree", "hello"]
    assert isinstance(config, dict)
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 * 2**20, 500_000_000, 50)
    assert names == {f"envmgr-{inc.id}-data"}


# --- readiness -----------------------------------------------------------------------------------------------------


@proves("CONT-004", "PROBE-008")
@pytest.mark.parametrize(
    ("line", "image", "probe"),
    [
        (LISTEN, "envmgr-test/base", TcpProbe(port="http")),
        ("", WEB, HttpProbe(port="http")),
        ("echo up; sleep 600", "envmgr-test/base", LogProbe(pattern="^up$")),
        ("sleep 600", "envmgr-test/base", ExecProbe(command="test -d /proc", inside=True)),
        ("sleep 600", "envmgr-test/base", ExecProbe(command='test "$HTTP" != 80')),
        ("", WEB_CHECKED, ImageHealth()),
        ("sleep 600 & sleep 600", "envmgr-test/base", ProcessProbe(pattern="sleep 600", count=2)),
        ("sleep 600", "envmgr-test/base", ResourceProbe(memory_bytes=10**8, open_files=100)),
    ],
    ids=["tcp", "http", "log", "inside", "beside", "image", "processes", "resources"],
)
async def test_each_kind_of_probe_tells_when_a_container_is_ready(
    make: Make, told: Told, line: str, image: str, probe: Probe
) -> None:
    command: str | tuple[str, ...] = line or ()
    service = container(
        "web", command, image=image, ports=HTTP, ready=ready(probe), env={"HTTP": "${ports.http}"}
    )
    async with make(service) as inc:
        assert states(await start(inc, told)) == {"web": READY}
        await stop_services(inc)


@proves("CONT-005")
async def test_a_published_port_that_takes_connections_is_no_readiness(make: Make, told: Told) -> None:
    deaf = container("web", STAY, ports=HTTP, ready=ready(TcpProbe(port="http"), deadline_s=1.0))
    async with make(deaf) as inc:
        failure = await fails(inc, told)
        # The engine itself takes connections there, long before anybody listens inside.
        socket.create_connection(("127.0.0.1", inc.port("web", "http")), 5).close()
        await stop_services(inc)

    assert failure.message == "web was not ready within 1 s: connection refused: nothing listens yet"


@proves("CONT-005")
async def test_a_log_probe_does_not_believe_an_earlier_run_of_the_same_container(
    make: Make, told: Told
) -> None:
    once = "test -e /been && exec sleep 600; touch /been; echo up; sleep 600"
    async with make(container("web", once, ready=ready(LogProbe(pattern="^up$"), deadline_s=1.0))) as inc:
        assert states(await start(inc, told)) == {"web": READY}
        await stop_units(inc, ["web"], brief=True)
        failure = await fails(inc, told)
        await stop_services(inc, brief=True)

    assert "no log line matches" in failure.message


# --- what goes wrong -----------------------------------------------------------------------------------------------


@proves("CONT-006")
async def test_a_container_that_exits_at_once_is_told_with_status_and_last_words(
    make: Make, told: Told
) -> None:
    async with make(container("db", "echo starting; echo no space left; exit 3")) as inc:
        failure = await fails(inc, told)
        await stop_services(inc)

    assert isinstance(failure, ServiceFailed)
    assert failure.message == "db ended before it was ready with status 3; its last words: no space left"
    assert failure.hint == "Read its log with `envmgr logs otter db`, then mend the command."


@proves("CONT-006")
async def test_a_container_that_runs_out_of_memory_is_told_with_its_limit(make: Make, told: Told) -> None:
    greedy = replace(
        container("db", "echo filling; x=$(busybox dd if=/dev/zero bs=1M count=200 | tr '\\0' x); echo full"),
        limits=ProcessLimits(memory_bytes=32 * 2**20),
        ready=ready(LogProbe(pattern="never")),
    )
    async with make(greedy) as inc:
        failure = await fails(inc, told)
        await stop_services(inc)

    assert failure.message.startswith(
        "db ended before it was ready: it ran out of memory: its limit is 32 MB"
    )
    assert "limits.memory" in failure.hint


@proves("CONT-006")
async def test_a_container_that_never_gets_healthy_is_given_up_with_what_the_image_says(
    make: Make, told: Told
) -> None:
    sick = container(
        "web", ("sh", "-c", "touch /tmp/sick; echo unwell; exec web-entry"), image=WEB_CHECKED,
        inside=ContainerSpec(entrypoint=()), ports=HTTP, ready=ready(ImageHealth(), deadline_s=2.0),
    )  # fmt: skip
    async with make(sick) as inc:
        failure = await fails(inc, told)
        await stop_services(inc)

    assert failure.message.startswith("web was not ready within 2 s: its health check says ")
    assert "envmgr logs otter web" in failure.hint


@proves("CONT-006")
@pytest.mark.parametrize(
    ("image", "pull", "kind", "words"),
    [
        ("envmgr-test/nowhere", PullPolicy.NEVER, ConfigError, "there is no image envmgr-test/nowhere"),
        (
            "127.0.0.1:9/nobody/there",
            PullPolicy.MISSING,
            Unavailable,
            "the registry of 127.0.0.1:9/nobody/there",
        ),
    ],
    ids=["missing", "pull refused"],
)
async def test_an_image_that_cannot_be_had_is_named_with_its_service(
    make: Make, told: Told, image: str, pull: PullPolicy, kind: type[EnvmgrError], words: str
) -> None:
    async with make(container("db", (), image=image, inside=ContainerSpec(pull=pull))) as inc:
        failure = await fails(inc, told)
        await stop_services(inc)

    assert type(failure) is kind
    assert failure.message.startswith(f"db: {words}")
    assert failure.hint


@proves("CONT-006")
async def test_a_program_that_is_not_in_the_image_is_named(make: Make, told: Told) -> None:
    async with make(container("db", ("no-such-program",), inside=ContainerSpec())) as inc:
        failure = await fails(inc, told)
        await stop_services(inc)

    assert isinstance(failure, ConfigError)
    assert failure.message.startswith("db: ")
    assert "no-such-program" in failure.message


@proves("CONT-006")
async def test_a_build_that_fails_shows_the_end_of_its_output(make: Make, told: Told) -> None:
    broken = container("app", (), image="", inside=ContainerSpec(build=BuildSpec()))
    async with make(broken) as inc:
        (inc.path / "Dockerfile").write_text("FROM envmgr-test/base\nRUN echo compiling && exit 7\n")
        failure = await fails(inc, told)
        await stop_services(inc)

    assert failure.message.startswith("app: the image could not be built")
    assert any("compiling" in str(line) for line in failure.details["output"])  # type: ignore[attr-defined]


@proves("CONT-007")
async def test_a_failed_task_fails_what_waits_for_it_at_once(make: Make, told: Told) -> None:
    async with make(
        task("migrate", "echo no such table; exit 5", critical=False),
        container("api", STAY, depends_on=when("migrate", Condition.SUCCEEDED), critical=False),
        container("web", STAY, depends_on=when("api"), critical=False),
    ) as inc:
        outcomes = await start(inc, told)
        await stop_services(inc)

    assert states(outcomes) == {"migrate": FAILED, "api": FAILED, "web": FAILED}
    assert outcomes["migrate"].detail == "migrate ended with status 5; its last words: no such table"
    assert outcomes["web"].detail == "web cannot start: api is failed, not ready"


@proves("CONT-007")
async def test_a_task_that_does_not_end_is_ended(make: Make, told: Told) -> None:
    async with make(
        task("migrate", "echo waiting; sleep 600", timeout_s=0.5, inside=ContainerSpec(init=True))
    ) as inc:
        failure = await fails(inc, told)
        assert truth(inc, "migrate")["State"]["Running"] is False  # type: ignore[index]
        await stop_services(inc)

    assert failure.message == "task migrate did not end within 0.5 s"


@proves("CONT-008", "R-32")
async def test_a_port_that_was_taken_meanwhile_is_moved(make: Make, told: Told) -> None:
    web = container("web", LISTEN, ports=HTTP, ready=ready(TcpProbe(port="http")))
    async with make(web) as inc:
        await claim_ports(inc)
        first = inc.port("web", "http")
        with socket.create_server(("127.0.0.1", first)):
            outcomes = await start_only(inc, told)
        second = inc.port("web", "http")
        await stop_services(inc)

    assert states(outcomes) == {"web": READY}
    assert second != first
    assert any(f"port {first} is taken" in detail for _, _, detail in told.lines)


@proves("CONT-008", "R-32")
async def test_a_fixed_port_that_was_taken_meanwhile_is_a_conflict(make: Make, told: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    fixed = (PortSpec(name="http", container=80, prefer=number, fixed=True),)
    async with make(container("web", STAY, ports=fixed)) as inc:
        await claim_ports(inc)
        with socket.create_server(("127.0.0.1", number)), pytest.raises(PortTaken) as taken:
            await start_only(inc, told)
        await stop_services(inc)

    assert taken.value.port == number


# --- again ---------------------------------------------------------------------------------------------------------


@proves("CONT-009")
async def test_a_restart_keeps_the_container_and_what_it_wrote(make: Make, told: Told) -> None:
    count = "echo run >> /runs; echo runs $(wc -l < /runs); sleep 600"
    async with make(
        container("db", count, ready=ready(LogProbe(pattern="runs"))), container("other", STAY)
    ) as inc:
        first = await start(inc, told)
        before = {unit: truth(inc, unit)["Id"] for unit in ("db", "other")}
        started = truth(inc, "other")["State"]["StartedAt"]  # type: ignore[index]
        await stop_units(inc, ["db"], brief=True)
        again = await start_only(inc, told, ("db",), other=first["other"])
        after = {unit: truth(inc, unit)["Id"] for unit in ("db", "other")}
        assert truth(inc, "other")["State"]["StartedAt"] == started  # type: ignore[index]
        log = (inc.home / "logs" / "db.log").read_text()
        await stop_services(inc, brief=True)

    assert before == after
    assert states(again) == {"db": READY, "other": READY}
    assert log == "runs 1\nruns 2\n"


@proves("CONT-009")
async def test_another_configuration_gets_another_container_and_a_discarded_one_is_gone(
    make: Make, told: Told
) -> None:
    async with make(container("db", STAY)) as inc:
        await start(inc, told)
        before = truth(inc, "db")["Id"]
        await stop_units(inc, ["db"], brief=True)
        changed = replace(inc.spec.services[0], env={"NEW": "1"})
        inc.spec = replace(inc.spec, services=(changed,))
        await start_only(inc, told)
        after = truth(inc, "db")["Id"]
        await stop_units(inc, ["db"], brief=True)
        await discard_units(inc, ["db"])
        left = engine().api.containers(all=True, filters={"label": f"envmgr.agent={inc.id}"})
        await stop_services(inc, brief=True)

    assert before != after
    assert left == []


@proves("CONT-010")
async def test_a_container_of_an_older_generation_is_removed_before_the_new_ones_start(
    make: Make, told: Told
) -> None:
    async with make(container("db", STAY)) as inc:
        await start(inc, told)
        inc.generation = 2
        await start_only(inc, told)
        names = [
            c["Names"][0]
            for c in engine().api.containers(all=True, filters={"label": f"envmgr.agent={inc.id}"})
        ]
        await stop_services(inc, brief=True)

    assert names == [f"/envmgr-{inc.id}-g2-db"]


@proves("CONT-029")
async def test_a_restart_keeps_the_image_and_only_what_is_made_anew_is_built_again(
    make: Make, told: Told
) -> None:
    app = container("app", STAY, image="", inside=ContainerSpec(build=BuildSpec(), init=True))
    async with make(app) as inc:
        file = inc.path / "Dockerfile"
        file.write_text(f"FROM {BASE}\nENV STAGE=one\n")
        await start(inc, told)
        first = truth(inc, "app")
        file.write_text(f"FROM {BASE}\nENV STAGE=two\n")
        told.lines.clear()
        await stop_units(inc, ["app"])
        await start(inc, told)
        again, lines = truth(inc, "app"), [line for *_, line in told.lines]
        await stop_units(inc, ["app"])
        await discard_units(inc, ["app"])
        await start(inc, told)
        anew = truth(inc, "app")
        inc.spec = replace(inc.spec, services=())  # its images go all the same, with and without a tag
        await stop_services(inc)
        await remove_images(inc)
        assert existing({LABEL_AGENT: inc.id}) == []

    assert (again["Id"], again["Image"]) == (first["Id"], first["Image"])
    assert not [line for line in lines if "FROM" in line]
    assert anew["Image"] != first["Image"]
    assert "STAGE=two" in anew["Config"]["Env"]  # type: ignore[index]  # as the engine tells it


@proves("CONT-030")
async def test_what_only_has_a_units_name_or_carries_a_volume_is_left_alone(make: Make, told: Told) -> None:
    async with make(container("app", STAY), container("other", STAY)) as inc:
        labels = {LABEL_INSTANCE: inc.instance, LABEL_AGENT: inc.id}
        create = partial(engine().containers.create, BASE, ["sleep", "600"])
        carrier = create(name=f"carrier-{inc.id}", labels=labels)
        foreign = create(name=f"envmgr-{inc.id}-g1-app")
        try:
            foreign.start()
            await start(inc, told, ("other",))
            await stop_units(inc, ["app"])
            await discard_units(inc, ["app"])
            hired = (await runners.hire(inc)).engine
            assert hired is not None
            assert await hired.stop("app", grace_s=0.1) == ()
            foreign.reload()
            assert foreign.status == "running"
            carrier.reload()
            await stop_services(inc)
        finally:
            foreign.remove(force=True)
