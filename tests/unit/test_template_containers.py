"""Services in containers: every key reaches the spec, and what cannot be is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.core.placeholders import render
from envmgr.model.container import (
    BuildSpec,
    ContainerSpec,
    MountKind,
    MountSpec,
    PullPolicy,
    Scope,
    Seed,
    VolumeSpec,
)
from envmgr.model.probe import AnyOf, ExecProbe, HttpProbe, ImageHealth, NotifyProbe, Readiness
from envmgr.model.service import (
    Condition,
    Dependency,
    PortSpec,
    ProcessLimits,
    RestartPolicy,
    ServiceKind,
    ServiceSpec,
)
from envmgr.model.spec import TaskCommand
from tests.support.requirements import proves
from tests.support.templates import HEAD, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


EVERYTHING = (
    HEAD
    + """\
agent: {}
volumes:
  pgdata: {scope: shared}
  cache:
    seed: {script: "cp -r /worktree/seed/. . && echo ${agent.slug}", image: busybox, timeout: 30s}
hooks:
  on_start: [{command: psql -c 'select 1', inside: db, timeout: 5s}]
services:
  db:
    image: postgres:16-alpine
    build: {context: ./docker, dockerfile: pg.Dockerfile, target: dev, args: {DEBUG: true, V: 1}}
    command: postgres -c "max_connections=20" -c port=${ports.sql}
    entrypoint: [docker-entrypoint.sh]
    ports:
      sql: {container: 5432, protocol: udp, bind: 0.0.0.0, open: true}
    volumes:
      - pgdata:/var/lib/postgresql/data
      - ./conf/pg:/etc/pg:ro
      - /scratch
      - {type: volume, source: cache, target: /cache, read_only: true}
      - {type: tmpfs, target: /run/pg, size: 64MB}
    tmpfs: /tmp
    user: 1000:1000
    networks: {back: {aliases: [sql]}, default: {}}
    aliases: [database]
    hostname: db.local
    workdir: /srv
    init: true
    read_only: true
    shm_size: 256MiB
    cap_add: [cap_net_admin]
    cap_drop: [ALL]
    extra_hosts: ["host.docker.internal:host-gateway"]
    sysctls: {net.core.somaxconn: 1024}
    labels: {team: shop, on: true}
    platform: linux/amd64
    pull: never
    env: {POSTGRES_USER: shop}
    ready: {exec: [pg_isready, -U, shop], inside: true}
    limits: {memory: 512MB, cpus: 1.5, pids: 100}
    exports:
      DATABASE_URL: postgres://shop@${host}:${ports.sql}/shop
  plain: {image: nginx}
  seed: {kind: task, image: nginx, command: ls}
"""
)


@proves("TMPL-017")
def test_every_key_of_a_container_reaches_its_spec(desk: Desk) -> None:
    spec = desk.spec(EVERYTHING)

    assert spec.services[0] == ServiceSpec(
        name="db",
        kind=ServiceKind.CONTAINER,
        restart=RestartPolicy(),
        command=("postgres", "-c", "max_connections=20", "-c", "port=${ports.sql}"),
        env={"POSTGRES_USER": "shop"},
        ports=(PortSpec(name="sql", container=5432, protocol="udp", bind="0.0.0.0", open=True),),
        ready=Readiness(probe=ExecProbe(command=("pg_isready", "-U", "shop"), inside=True), deadline_s=120.0),
        limits=ProcessLimits(memory_bytes=512_000_000, cpus=1.5, pids=100),
        exports={"DATABASE_URL": "postgres://shop@${services.db.host}:${ports.sql}/shop"},
        container=ContainerSpec(
            image="postgres:16-alpine",
            build=BuildSpec(
                context="./docker", dockerfile="pg.Dockerfile", target="dev", args={"DEBUG": "true", "V": "1"}
            ),
            entrypoint=("docker-entrypoint.sh",),
            mounts=(
                MountSpec(kind=MountKind.VOLUME, source="pgdata", target="/var/lib/postgresql/data"),
                MountSpec(kind=MountKind.BIND, source="conf/pg", target="/etc/pg", read_only=True),
                MountSpec(kind=MountKind.VOLUME, target="/scratch"),
                MountSpec(kind=MountKind.VOLUME, source="cache", target="/cache", read_only=True),
                MountSpec(kind=MountKind.TMPFS, target="/run/pg", size_bytes=64_000_000),
                MountSpec(kind=MountKind.TMPFS, target="/tmp"),
            ),
            user="1000:1000",
            networks=("back", "default"),
            aliases=("database", "sql"),
            hostname="db.local",
            workdir="/srv",
            platform="linux/amd64",
            pull=PullPolicy.NEVER,
            init=True,
            read_only=True,
            shm_bytes=256 * 2**20,
            cap_add=("NET_ADMIN",),
            cap_drop=("ALL",),
            extra_hosts={"host.docker.internal": "host-gateway"},
            sysctls={"net.core.somaxconn": "1024"},
            labels={"team": "shop", "on": "true"},
        ),
    )
    assert spec.volumes == (
        VolumeSpec(name="pgdata", scope=Scope.SHARED),
        VolumeSpec(
            name="cache",
            seed=Seed(script="cp -r /worktree/seed/. . && echo blue-otter", image="busybox", timeout_s=30.0),
        ),
    )
    assert spec.hooks.on_start == (TaskCommand(command="psql -c 'select 1'", inside="db", timeout_s=5.0),)


@proves("TMPL-017")
def test_an_image_makes_a_container_and_a_task_may_have_one(desk: Desk) -> None:
    _, plain, seed = desk.spec(EVERYTHING).services

    assert plain == ServiceSpec(
        name="plain",
        kind=ServiceKind.CONTAINER,
        command=(),
        container=ContainerSpec(image="nginx"),
        restart=RestartPolicy(),
    )
    assert (seed.kind, seed.command, seed.container) == (
        ServiceKind.TASK,
        ("ls",),
        ContainerSpec(image="nginx"),
    )


def test_a_bare_text_is_the_folder_of_the_build(desk: Desk) -> None:
    spec = desk.spec(HEAD + "agent: {}\nservices: {a: {build: ./app, entrypoint: []}}\n")

    assert spec.services[0].container == ContainerSpec(build=BuildSpec(context="./app"), entrypoint=())


def test_a_volume_nobody_declares_is_the_agents_own(desk: Desk) -> None:
    spec = desk.spec(HEAD + "agent: {}\nservices: {a: {image: x, volumes: ['data:/d', '/anonymous']}}\n")

    assert spec.volumes == (VolumeSpec(name="data"),)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run 'a b' c", ("run", "a b", "c")),
        ("run ${params.p}", ("run", "x; 'y' ${ports.http} $z")),
        ("run 'is ${params.p}'", ("run", "is x; 'y' ${ports.http} $z")),
        ("run --port=${ports.http} $HOME", ("run", "--port=8080", "$HOME")),
    ],
)
@proves("TMPL-018")
def test_a_line_for_a_container_is_split_and_a_value_stays_one_word(
    desk: Desk, line: str, words: tuple[str, ...]
) -> None:
    text = (
        HEAD
        + f'params: {{p: {{}}}}\nagent: {{}}\nservices: {{a: {{image: x, command: "{line}", ports: {{http: {{container: 80}}}}}}}}\n'
    )

    command = desk.spec(text, params={"p": "x; 'y' ${ports.http} $z"}).services[0].command

    assert tuple(render(word, {"ports.http": "8080"}, shell=False) for word in command) == words


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        ("{health: true}", ImageHealth()),
        (
            "{any: [{health: true}, {exec: ls, inside: true}]}",
            AnyOf(probes=(ImageHealth(), ExecProbe(command="ls", inside=True))),
        ),
        ("{http: /up}", HttpProbe(port="http", path="/up")),
    ],
)
def test_a_container_has_probes_of_its_own(desk: Desk, ready: str, probe: object) -> None:
    text = f"services: {{a: {{image: x, ports: {{http: {{container: 80}}}}, ready: {ready}}}}}\n"

    spec = desk.spec(HEAD + "agent: {depends_on: [a]}\n" + text)

    assert spec.services[0].ready == Readiness(probe=probe, deadline_s=120.0)  # type: ignore[arg-type]  # the case's
    assert spec.assistant.depends_on == (Dependency(service="a", condition=Condition.READY),)


def test_a_process_can_tell_by_itself_that_it_is_ready(desk: Desk) -> None:
    spec = desk.spec(HEAD + "agent: {}\nservices: {a: {command: x, ready: {notify: true}}}\n")

    assert spec.services[0].ready == Readiness(probe=NotifyProbe())


def test_another_kind_of_probe_does_not_inherit_the_place_of_the_first(desk: Desk) -> None:
    desk.write(HEAD + "services: {a: {image: x, ready: {exec: ls, inside: true, period: 3s}}}\n", "base.yaml")

    spec = desk.spec(HEAD + "extends: base\nagent: {}\nservices: {a: {ready: {log: up}}}\n")

    assert spec.services[0].ready is not None
    assert spec.services[0].ready.period_s == 3.0


def case(keys: str) -> str:
    return HEAD + f"agent: {{}}\nservices:\n  a:\n    image: x\n{keys}"


CASES = {
    "container without image": (
        HEAD + "agent: {}\nservices:\n  a: {kind: container}\n",
        "4:3: services.a is a container: it needs 'image' or 'build'",
    ),
    "process with image": (
        case("    kind: process\n"),
        "5:5: services.a is of kind process, so it has no 'image'",
    ),
    "key of a container": (
        HEAD + "agent: {}\nservices:\n  a: {command: x, user: me}\n",
        "4:19: services.a is no container, so it has no 'user'",
    ),
    "key of a process": (case("    cwd: src\n"), "6:5: services.a is a container: 'cwd' is for processes"),
    "limit of a process": (
        case("    limits: {nice: 5}\n"),
        "6:14: services.a is a container: 'nice' is for processes",
    ),
    "port without inside": (
        case("    ports: {http: 80}\n"),
        "6:13: services.a.ports.http needs 'container': the port inside",
    ),
    "port inside twice": (
        case("    ports: {b: {container: 80}, c: {container: 80}}\n"),
        "6:48: services.a.ports.c: port 80 inside is 'b' already",
    ),
    "inside of a process": (
        HEAD + "agent: {}\nservices:\n  a: {command: x, ports: {p: {container: 80}}}\n",
        "4:31: services.a is no container, so its port has no inside",
    ),
    "protocol of a process": (
        HEAD + "agent: {}\nservices:\n  a: {command: x, ports: {p: {protocol: udp}}}\n",
        "4:31: services.a.ports.p: 'protocol' is for containers",
    ),
    "bind outside": (
        case("    volumes: ['../data:/d']\n"),
        "6:15: services.a.volumes[0]: '../data' leads out of the worktree; mount what is in it, or name",
    ),
    "bind inside out": (
        case("    volumes: ['./a/../../b:/d']\n"),
        "6:15: services.a.volumes[0]: './a/../../b' leads out of the worktree",
    ),
    "bind at home": (
        case("    volumes: ['~/d:/d']\n"),
        "6:15: services.a.volumes[0]: '~/d': write the folder",
    ),
    "mount without target": (
        case("    volumes: ['a:b:c:d']\n"),
        "6:15: services.a.volumes[0]: 'a:b:c:d' is not SOURCE:/TARGET",
    ),
    "relative target": (
        case("    volumes: ['data:d']\n"),
        "6:15: services.a.volumes[0].target: 'd' is not an absolute path inside",
    ),
    "two mounts on one": (
        case("    volumes: ['b:/d', 'c:/d']\n"),
        "6:23: services.a: /d is mounted twice",
    ),
    "size of a volume": (
        case("    volumes: [{source: b, target: /d, size: 1MB}]\n"),
        "6:15: services.a.volumes[0]: 'size' is for tmpfs",
    ),
    "build outside": (case("    build: ../x\n"), "6:12: services.a.build.context: '../x' leads out"),
    "capability": (
        case("    cap_add: ['no way']\n"),
        "6:15: services.a.cap_add[0]: 'no way' is not a capability",
    ),
    "our label": (
        case("    labels: {envmgr.agent: x}\n"),
        "6:13: services.a.labels: labels that begin with 'envmgr.'",
    ),
    "pull": (case("    pull: maybe\n"), "6:11: services.a.pull: 'maybe' is not one of"),
    "image with space": (
        HEAD + "agent: {}\nservices: {a: {image: 'x y'}}\n",
        "3:23: services.a.image: 'x y' does not match",
    ),
    "image like an option": (
        HEAD + "agent: {}\nservices: {a: {image: '-v'}}\n",
        "3:23: services.a.image: '-v' does not match",
    ),
    "open quote": (case("    command: run 'a\n"), "6:14: services.a.command: a quote is not closed"),
    "inside without exec": (
        case("    ready: {log: x, inside: true}\n"),
        "6:12: services.a.ready: 'inside' goes with 'exec'",
    ),
    "inside a process": (
        HEAD + "agent: {}\nservices:\n  a: {command: x, ready: {exec: x, inside: true}}\n",
        "4:36: services.a is no container: nothing can run inside",
    ),
    "health of a process": (
        HEAD + "agent: {}\nservices:\n  a: {command: x, ready: {health: true}}\n",
        "4:27: services.a is no container, so it has no image that tells",
    ),
    "notify in a container": (
        case("    ready: {notify: true}\n"),
        "6:13: services.a: 'notify' is for processes",
    ),
    "seed with both": (
        case("    volumes: ['b:/d']\n") + "volumes: {b: {seed: {snapshot: a, script: b}}}\n",
        "7:21: volumes.b.seed: needs exactly one of snapshot, script",
    ),
    "hook inside nothing": (
        case("") + "hooks: {on_start: {command: x, inside: b}}\n",
        "6:40: inside unknown service 'b'",
    ),
    "set-up inside": (
        case("") + "workspace: {setup: [{command: x, inside: a}]}\n",
        "6:42: workspace.setup runs before services start",
    ),
    "bind of this machine": (
        case("    volumes: ['/etc:/d']\n"),
        "6:15: warning: services.a mounts /etc of this machine, which all agents share",
    ),
    "volume nobody mounts": (
        case("    volumes: ['pgdata:/d']\n") + "volumes: {pg-data: {scope: shared}}\n",
        "7:11: warning: volumes.pg-data is not mounted by any service",
    ),
    "instances that write to one volume": (
        case("    volumes: ['b:/d']\n    replicas: 2\n"),
        "7:5: warning: all 2 instances of services.a write to the same volume b",
    ),
    "shell without shell": (
        case("    command: a && b\n"),
        "6:14: warning: services.a.command: in a container a line is split into words, no shell reads it",
    ),
}


@pytest.mark.parametrize("name", CASES)
@proves("TMPL-019")
def test_a_mistake_about_containers_is_told_with_its_place(desk: Desk, name: str) -> None:
    text, start = CASES[name]

    findings = desk.findings(text)

    assert [finding[: len(start)] for finding in findings] == [start]


def test_limits_by_default_do_not_disturb_containers(desk: Desk) -> None:
    assert desk.findings(case("") + "defaults: {limits: {nice: 5}}\n") == []
