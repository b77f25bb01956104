"""Compose files: what each thing they say becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envmgr.config.nodes import plain
from envmgr.errors import ConfigError
from envmgr.model.service import Condition, RestartWhen, ServiceKind
from tests.support.imports import bring, compose, said, service, spec
from tests.support.requirements import proves

# Any throughout: templates as plain maps.


def services(repo: Path, text: str, **files: str) -> Any:
    """The services of an imported compose file, as plain maps."""
    tree: Any = plain(compose(repo, text, **files).tree)
    return tree["services"]


def one(repo: Path, *lines: str, **files: str) -> Any:
    """The only service of a file that says these lines of it, with an image nobody knows."""
    body = "".join(f"    {line}\n" for line in ("image: thing", *lines))
    return services(repo, f"services:\n  a:\n{body}", **files)["a"]


# --- ports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "becomes"),
    [
        ('"8080:80"', {"http": {"container": 80}}),
        ('"127.0.0.1:9999:5432"', {"sql": {"container": 5432}}),
        ('"127.0.0.1::5432"', {"sql": {"container": 5432}}),
        ('"[::1]:6000:6379/tcp"', {"redis": {"container": 6379}}),
        ("8765", {"p8765": {"container": 8765}}),
        ('"53:53/udp"', {"dns": {"container": 53, "protocol": "udp"}}),
        ('"9000-9002:80"', {"http": {"container": 80}}),
        ('"7001-7002:7001-7002"', {"p7001": {"container": 7001}, "p7002": {"container": 7002}}),
        ("{target: 7777, published: 1234, name: Admin UI}", {"admin-ui": {"container": 7777}}),
        ("{target: 7777, app_protocol: grpc}", {"grpc": {"container": 7777}}),
        ('"${PORT:-8080}:${PORT:-8080}"', {"http": {"container": 8080}}),
    ],
)
@proves("IMP-004")
def test_a_host_port_becomes_a_named_leased_port(tmp_path: Path, port: str, becomes: Any) -> None:
    assert one(tmp_path, f"ports: [{port}]")["ports"] == becomes


def test_ports_of_one_service_keep_different_names(tmp_path: Path) -> None:
    found = one(tmp_path, 'ports: ["80:80", "8080:8080", "80:80/udp", "8080:8080"]')["ports"]

    assert found == {
        "http": {"container": 80},
        "p8080": {"container": 8080},
        "http-udp": {"container": 80, "protocol": "udp"},
    }


@proves("IMP-004")
def test_the_block_grows_with_the_ports_of_the_project(tmp_path: Path) -> None:
    imported = compose(tmp_path, 'services: {a: {image: thing, ports: ["3000-3039:3000-3039"]}}\n')

    assert len(service(spec(tmp_path, imported), "a").ports) == 40
    assert spec(tmp_path, imported).ports.block >= 40


# --- names -------------------------------------------------------------------------------------------------------


@proves("IMP-005")
def test_names_that_would_collide_stay_apart_and_are_still_found(tmp_path: Path) -> None:
    found = services(
        tmp_path,
        "services:\n  my_app: {image: a}\n  my-app: {image: b, depends_on: [my_app, My.App]}\n  My.App: {image: c}\n",
    )

    assert {name: entry["image"] for name, entry in found.items()} == {
        "my_app": "a",
        "my-app-2": "b",
        "my-app-3": "c",
    }
    assert found["my-app-2"]["aliases"] == ["my-app"]
    assert found["my-app-3"]["aliases"] == ["My.App"]
    assert list(found["my-app-2"]["depends_on"]) == ["my_app", "my-app-3"]


def test_a_long_name_is_cut_and_stays_unique(tmp_path: Path) -> None:
    long = "a" * 60
    found = services(tmp_path, f"services:\n  {long}1: {{image: a}}\n  {long}2: {{image: b}}\n")

    assert len(found) == 2
    assert all(len(name) <= 40 for name in found)


@proves("IMP-005")
def test_a_container_name_is_an_alias_and_host_networking_is_dropped(tmp_path: Path) -> None:
    imported = compose(tmp_path, "services: {a: {image: x, container_name: the_one, network_mode: host}}\n")

    found = service(spec(tmp_path, imported), "a").container
    assert found is not None
    assert found.aliases == ("the_one",)
    assert [line for line in said(imported, "dropped") if "network_mode" in line]


# --- dependencies ------------------------------------------------------------------------------------------------


@proves("IMP-006")
def test_a_list_of_dependencies_means_started(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: y, healthcheck: {test: 'true'}}\n"
    edges = service(spec(tmp_path, compose(tmp_path, text)), "a").depends_on

    assert [(edge.service, edge.condition) for edge in edges] == [("b", Condition.STARTED)]


@proves("IMP-006")
def test_conditions_keep_their_meaning_and_one_shots_become_tasks(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: x
    depends_on:
      b: {condition: service_healthy, restart: true}
      c: {condition: service_completed_successfully, required: true}
      d: {condition: service_started, required: false}
      gone: {condition: service_started, required: false}
  b: {image: y}
  c: {image: z, restart: always, scale: 3}
  d: {image: w}
"""
    found = spec(tmp_path, compose(tmp_path, text))
    edges = {edge.service: edge for edge in service(found, "a").depends_on}

    assert [(e.condition, e.required, e.restart) for e in edges.values()] == [
        (Condition.READY, True, True),
        (Condition.SUCCEEDED, True, False),
        (Condition.STARTED, False, False),
    ]
    assert service(found, "c").kind is ServiceKind.TASK
    assert service(found, "b").ready is not None  # by the image's own health check


def test_a_needed_service_of_a_profile_is_waited_for_only_with_its_profile(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: y, profiles: [extra]}\n"
    imported = compose(tmp_path, text)

    assert [s.name for s in spec(tmp_path, imported).services] == ["a"]
    assert [s.name for s in spec(tmp_path, imported, profiles=["extra"]).services] == ["a", "b"]


def test_links_are_dependencies_and_names(tmp_path: Path) -> None:
    found = services(tmp_path, "services:\n  a: {image: x, links: ['b:store']}\n  b: {image: y}\n")

    assert found["a"]["depends_on"] == {"b": {"condition": "started"}}
    assert found["b"]["aliases"] == ["store"]


# --- health ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "command"),
    [
        ("[CMD, pg_isready, -U, a]", ["pg_isready", "-U", "a"]),
        ("[CMD-SHELL, 'curl -f localhost || exit 1']", "curl -f localhost || exit 1"),
        ("curl -f localhost:$$PORT", "curl -f localhost:$PORT"),
        ("'wget ${HOST_NAME:-here}/$$X'", ["/bin/sh", "-c", "wget ${HOST_NAME:-here}/$$X"]),
    ],
)
@proves("IMP-007")
def test_a_health_check_is_run_inside(tmp_path: Path, test: str, command: Any) -> None:
    ready = one(tmp_path, f"healthcheck: {{test: {test}, interval: 1m30s, timeout: 500ms, retries: 7}}")[
        "ready"
    ]

    assert ready.pop("deadline") == "630.5s"
    assert ready == {"exec": command, "inside": True, "period": "90s", "timeout": "500ms", "down": 7}


@pytest.mark.parametrize("off", ["{disable: true}", "{test: [NONE]}", "{test: 'true', disable: 'yes'}"])
def test_a_health_check_can_be_off(tmp_path: Path, off: str) -> None:
    assert "ready" not in one(tmp_path, f"healthcheck: {off}")


def test_a_known_database_without_health_check_is_ready_when_it_accepts_connections(tmp_path: Path) -> None:
    found = services(tmp_path, "services: {db: {image: 'docker.io/postgis/postgis:16'}}\n")["db"]

    assert found["ready"] == {"tcp": "sql"}
    assert found["ports"] == {"sql": {"container": 5432}}


# --- addresses for the host --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "exports"),
    [
        (
            "image: 'postgres:16', environment: {POSTGRES_USER: a, POSTGRES_PASSWORD: 'p@ss/word'}",
            {"DATABASE_URL": "postgres://a:p%40ss%2Fword@${host}:${ports.sql}/a"},
        ),
        (
            "image: mariadb, environment: [MARIADB_ROOT_PASSWORD=r, MARIADB_DATABASE=shop]",
            {"DATABASE_URL": "mysql://root:r@${host}:${ports.sql}/shop"},
        ),
        (
            "image: redis, command: redis-server --requirepass secret",
            {"REDIS_URL": "redis://:secret@${host}:${ports.redis}/0"},
        ),
        (
            "image: 'mongo:7', environment: {MONGO_INITDB_ROOT_USERNAME: m, MONGO_INITDB_ROOT_PASSWORD: n}",
            {"MONGODB_URL": "mongodb://m:n@${host}:${ports.mongo}/?authSource=admin"},
        ),
        ("image: 'rabbitmq:3-management'", {"AMQP_URL": "amqp://guest:guest@${host}:${ports.amqp}/"}),
        ("image: minio/minio", {"S3_ENDPOINT": "http://${host}:${ports.s3}"}),
        ("image: mine, ports: [3000]", {"DB_URL": "http://${host}:${ports.http}"}),
    ],
)
@proves("IMP-008")
def test_a_known_service_tells_its_address(tmp_path: Path, lines: str, exports: Any) -> None:
    assert services(tmp_path, f"services: {{db: {{{lines}}}}}\n")["db"]["exports"] == exports


def test_two_databases_tell_their_addresses_under_their_own_names(tmp_path: Path) -> None:
    found = services(tmp_path, "services: {one: {image: postgres}, two-b: {image: mysql}}\n")

    assert [list(entry["exports"]) for entry in found.values()] == [["ONE_URL"], ["TWO_B_URL"]]


# --- variables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("${A}", "${A}"),
        ("$A-$$B", "${A}-$$B"),
        ("${A:-x}", "${A:-x}"),
        ("${A-x}", "${A:-x}"),
        ("${A:?set it}", "${A:?set it}"),
        ("${A:-${B:-deep}}", "${A:-deep}"),
        ("${KNOWN}", "${KNOWN:-from file}"),
        ("${KNOWN:-x}", "${KNOWN:-from file}"),
        ("${KNOWN:+yes}${A:+no}", "yes"),
        ("${A:-}", "${A:-}"),
        ("a{b}c", "a{b}c"),
    ],
)
@proves("IMP-009")
def test_variables_mean_the_same_as_in_compose(tmp_path: Path, value: str, becomes: str) -> None:
    found = one(tmp_path, f"environment: {{V: '{value}'}}", env="KNOWN='from file'\n")

    assert found["env"] == {"V": becomes}


@proves("IMP-009")
def test_secrets_of_the_env_file_are_referenced_and_never_copied(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: x
    environment: ["API_KEY", "DB=${DB_URL}", "PW=${MY_PASSWORD:-dev}"]
  db: {image: postgres, environment: {POSTGRES_PASSWORD: "${PG_PASSWORD}"}}
"""
    env = "API_KEY=s3cret1\nDB_URL=db://u:s3cret2@h/x\nPG_PASSWORD=s3cret3\n"
    imported = compose(tmp_path, text, env=env)
    tree: Any = plain(imported.tree)

    assert "s3cret" not in str(tree)
    assert "s3cret" not in str(imported.findings)
    assert tree["secrets"]["API_KEY"] == {"from": "file", "path": ".env#API_KEY"}
    assert tree["services"]["a"]["env"] == {
        "API_KEY": "${secrets.API_KEY}",
        "DB": "${secrets.DB_URL}",
        "PW": "${params.my_password}",
    }
    assert "${secrets.PG_PASSWORD}" in tree["services"]["db"]["exports"]["DATABASE_URL"]
    assert "s3cret" not in str(spec(tmp_path, imported))


def test_a_command_is_split_as_compose_splits_it_and_dollars_stay(tmp_path: Path) -> None:
    found = one(tmp_path, """command: sh -c 'echo "$$HOME" ${A:-two words}' -- "x y\"""")

    assert found["command"] == ["sh", "-c", 'echo "$$HOME" ${A:-two words}', "--", "x y"]


def test_variables_with_dots_in_their_names_reach_the_container(tmp_path: Path) -> None:
    text = "services: {a: {image: x, environment: [discovery.type=single-node]}}\n"

    assert service(spec(tmp_path, compose(tmp_path, text)), "a").env == {"discovery.type": "single-node"}


@pytest.mark.parametrize("empty", ["[]", "''"])
def test_an_empty_entry_point_removes_the_images(tmp_path: Path, empty: str) -> None:
    assert one(tmp_path, f"entrypoint: {empty}")["entrypoint"] == []


# --- several files -----------------------------------------------------------------------------------------------


@proves("IMP-010")
def test_files_merge_by_composes_own_rules(tmp_path: Path) -> None:
    base = """\
services:
  a:
    image: one
    command: [x, y]
    environment: [A=1, B=2, C=3]
    ports: ["1000:1000"]
    volumes: ["./one:/data", "kept:/kept"]
    labels: {x: "1"}
    depends_on: [b]
    env_file: base.env
  b: {image: two}
volumes: {kept: }
"""
    over = """\
services:
  a:
    command: z
    environment: {B: changed, C: !reset null}
    ports: ["2000:2000"]
    volumes: ["./two:/data:ro"]
    labels: !override {y: "2"}
    depends_on: {c: {condition: service_started}}
    env_file: [over.env]
  b: !reset null
  c: {image: three}
"""
    files = {"d/one.yaml": base, "over.yaml": over, "d/base.env": "", "d/over.env": ""}
    imported = bring(tmp_path, files, "d/one.yaml", "over.yaml", services=["c"])
    chosen: Any = plain(imported.tree)
    assert list(chosen["services"]) == ["c"]

    tree: Any = plain(
        bring(tmp_path, {"over.yaml": over.replace("  b: !reset null\n", "")}, "d/one.yaml", "over.yaml").tree
    )
    assert tree["services"]["a"] == {
        "image": "one",
        "command": ["z"],
        "env": {"A": "1", "B": "changed"},
        "env_file": ["d/base.env", "d/over.env"],
        "ports": {"p1000": {"container": 1000}, "p2000": {"container": 2000}},
        "volumes": ["./d/two:/data:ro", "kept:/kept"],
        "labels": {"y": "2"},
        "depends_on": {"b": {"condition": "started"}, "c": {"condition": "started"}},
        "restart": {"policy": "never"},
    }


@proves("IMP-010")
def test_extends_follows_files_and_paths_stay_those_of_their_file(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services: {a: {extends: {file: sub/base.yaml, service: b}, environment: {X: '2'}}}\n",
        "sub/base.yaml": "services: {b: {extends: c, environment: {X: '1'}}, c: {build: ./app, environment: {Y: '1'}}}\n",
    }
    tree: Any = plain(bring(tmp_path, files).tree)

    assert tree["services"]["a"] == {
        "build": {"context": "sub/app"},
        "env": {"Y": "1", "X": "2"},
        "restart": {"policy": "never"},
    }


def test_profiles_that_are_chosen_are_part_for_good(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x, profiles: [one, Two]}\n  b: {image: y, profiles: [three]}\n"
    tree: Any = plain(bring(tmp_path, {"compose.yaml": text}, profiles=["Two"]).tree)

    assert "profiles" not in tree["services"]["a"]
    assert tree["services"]["b"]["profiles"] == ["three"]


def test_only_what_is_asked_for_and_what_it_needs(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: y}\n  c: {image: z}\n"
    tree: Any = plain(bring(tmp_path, {"compose.yaml": text}, services=["a"]).tree)

    assert list(tree["services"]) == ["a", "b"]


# --- everything else ---------------------------------------------------------------------------------------------


def test_what_means_the_same_is_taken_over(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        compose(
            tmp_path,
            """\
services:
  a:
    image: x
    user: "1:2"
    working_dir: /srv
    init: true
    tty: true
    stdin_open: true
    read_only: true
    platform: linux/amd64
    pull_policy: never
    hostname: box
    stop_signal: SIGINT
    stop_grace_period: 1m
    shm_size: 1gb
    cap_add: [NET_ADMIN]
    extra_hosts: ["a:1.2.3.4", "b=host-gateway"]
    labels: [x=1]
    restart: unless-stopped
    deploy: {replicas: 3, resources: {limits: {cpus: 0.5, memory: 64m, pids: 50}}}
""",
        ),
    )
    a = service(found, "a")
    assert a.container is not None
    assert (a.container.user, a.container.workdir, a.container.init, a.container.read_only) == (
        "1:2",
        "/srv",
        True,
        True,
    )
    assert (a.tty, a.stdin) == (True, True)
    assert (a.container.platform, a.container.pull, a.container.hostname) == ("linux/amd64", "never", "box")
    assert (a.container.shm_bytes, a.container.cap_add) == (2**30, ("NET_ADMIN",))
    assert dict(a.container.extra_hosts) == {"a": "1.2.3.4", "b": "host-gateway"}
    assert (a.stop.signal, a.replicas, a.restart and a.restart.when) == ("SIGINT", 3, RestartWhen.ALWAYS)
    assert (a.limits.cpus, a.limits.memory_bytes, a.limits.pids) == (0.5, 64 * 2**20, 50)


def test_watches_become_mounts_and_reactions(tmp_path: Path) -> None:
    watch = "develop: {watch: [{action: sync+restart, path: ./src, target: /app/src, ignore: [tmp/, '*.log']}, {action: rebuild, path: Dockerfile}]}"
    found = one(tmp_path, watch)

    assert found["volumes"] == ["./src:/app/src", "/app/src/tmp"]
    assert found["watch"] == [
        {"paths": ["src"], "action": "restart", "exclude": ["tmp/**", "*.log"]},
        {"paths": ["Dockerfile"], "action": "recreate"},
    ]


@pytest.mark.parametrize(
    ("line", "severity", "what"),
    [
        ("privileged: true", "unsupported", "privileged"),
        ("devices: [/dev/kvm]", "unsupported", "devices"),
        ("pid: host", "unsupported", "pid"),
        ("network_mode: 'service:b'", "unsupported", "network_mode"),
        ("ulimits: {nofile: 1}", "unsupported", "ulimits"),
        ("logging: {driver: none}", "dropped", "logging"),
        ("volumes: [/etc:/host]", "unsupported", "volumes"),
        ("enviroment: {A: b}", "unsupported", "did you mean 'environment'"),
        ("container_name: x", "changed", "container_name"),
        ("environment: {'no name': x}", "unsupported", "no name"),
        ("environment: [some.name]", "unsupported", "some.name"),
        ("build: {context: ., args: [some.name]}", "unsupported", "some.name"),
        ("build: {context: 'https://example.org/x.git'}", "unsupported", "build.context"),
        ("build: {context: ., additional_contexts: {a: b}}", "unsupported", "additional_contexts"),
    ],
)
@proves("IMP-011")
def test_what_is_lost_is_told_with_its_line(tmp_path: Path, line: str, severity: str, what: str) -> None:
    imported = compose(tmp_path, f"services:\n  a:\n    image: thing\n    {line}\n")

    assert [text for text in said(imported, severity) if what in text and text.startswith("4:")]
    assert imported.is_lossless is (severity == "changed")


@proves("IMP-011")
def test_addresses_for_the_browser_are_told_since_their_ports_differ_now(tmp_path: Path) -> None:
    text = """\
services:
  front: {image: x, environment: {API: "http://localhost:${P:-4000}/v1", DB: "db:4000", SELF: "localhost:81"}}
  api: {image: y, ports: ["4000:80"]}
"""
    lost = said(compose(tmp_path, text), "unsupported")

    assert len(lost) == 1
    assert (
        "environment.API: localhost:4000 was api on this machine; that is ${services.api.ports.http} now"
        in lost[0]
    )


def test_what_says_no_is_not_lost(tmp_path: Path) -> None:
    imported = compose(
        tmp_path, "services: {a: {image: x, privileged: false, tty: false, dns: }}\nx-mine: 1\nversion: '3'\n"
    )

    assert imported.findings == ()


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  a: {}\n", "2:3: services.a has neither 'image' nor 'build'"),
        ("services:\n  a: {image: x, depends_on: [b]}\n", "there is no service 'b'"),
        ("services:\n  a: {image: x, volumes: ['data:/d']}\n", "volume 'data' is not declared"),
        ("services:\n  a: {image: x, networks: [n]}\n", "network 'n' is not declared"),
        ("services:\n  a: {image: x, ports: ['80:']}\n", "'80:' is not a port"),
        ("services:\n  a: {image: x, ports: ['99999']}\n", "'99999' is not a port number"),
        ("services:\n  a: {image: x, ports: ['1-65535:1-65535']}\n", "65535 ports at once"),
        ("services:\n  a: {image: x, ports: ['1-2:1-3']}\n", "ranges of different lengths"),
        ("services:\n  a: {image: x, command: 'say \"hi'}\n", "no closing quotation"),
        ("services:\n  a: {image: '${X'}\n", "has no closing brace"),
        ("services:\n  a: {image: '${1X}'}\n", "is not a variable"),
        ("services:\n  a: {image: x, mem_limit: lots}\n", "must be a size such as 512m"),
        ("services:\n  a: {image: x, stop_grace_period: soon}\n", "must be a duration such as 30s"),
        ("services:\n  a: {image: x, restart: maybe}\n", "must be no, always, on-failure or unless-stopped"),
        ("services:\n  a: {extends: a}\n", "extend each other in a ring"),
        ("services:\n  a: {extends: {service: b, file: gone.yaml}}\n", "there is no file gone.yaml"),
        ("services:\n  a: {extends: {service: b, file: ../../x.yaml}}\n", "lies outside of the repository"),
        ("include: [compose.yaml]\nservices: {a: {image: x}}\n", "files include each other"),
        ("include: ['oci://registry/x']\n", "is not a file here"),
        ("services: !mine {}\n", "tag !mine is not known"),
        ("- 1\n", "a compose file is a map of keys, not a list"),
    ],
)
@proves("IMP-012")
def test_what_cannot_be_understood_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"compose\.yaml:\d+:\d+|compose\.yaml: ") as caught:
        compose(tmp_path, text)

    assert message in caught.value.message


@proves("IMP-012")
def test_every_wrong_service_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(tmp_path, "services:\n  a: {image: [x]}\n  b: {image: x, ports: 3}\n  c: {image: x}\n")

    assert caught.value.message.endswith("(and 1 more error)")
