"""Agents with containers, as people see them: spawned, looked at, entered, adopted, stopped and removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import existing
from tests.support.engine_proxy import Door, door
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon
from tests.support.wait import eventually

STACK = """
envmgr: 1
services:
  db:
    image: envmgr-test/redis
    ports: {tcp: {container: 6379}}
    volumes: ["data:/data"]
    ready: {exec: [redis-cli, ping], inside: true}
    exports: {REDIS_URL: "redis://${host}:${ports.tcp}/0"}
  web:
    image: envmgr-test/web
    ports: {http: {container: 80}}
    depends_on: {db: {condition: ready}}
    ready: {http: http}
  api:
    command: echo api uses $REDIS_URL; exec sleep 1000
    depends_on: {db: {condition: ready}}
volumes: {data: {}}
agent: {kind: command, command: [sleep, '1000']}
"""
WEB = """
envmgr: 1
services:
  web:
    image: envmgr-test/base
    command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; busybox usleep 5000; done"]
    init: true
    restart: never
    ready: {log: line 5}
agent: {kind: command, command: [sleep, '1000']}
"""

REPLICATED = """
envmgr: 1
services:
  worker:
    image: envmgr-test/base
    command: [sleep, '1000']
    init: true
    replicas: 2
    ready: {exec: ["true"], inside: true, period: 100ms, down: 1}
  db:
    image: envmgr-test/redis
    ports: {tcp: {container: 6379}}
    replicas: 1
    ready: {exec: [redis-cli, ping], inside: true, period: 100ms, down: 1}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.template("stack", STACK)
        made.template("web", WEB)
        yield made


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Door]:
    with door(tmp_path / "d") as made:
        yield made


@pytest.fixture
def far(entrance: Door) -> Iterator[Host]:
    """A host whose engine is behind a door."""
    with host(DOCKER_HOST=entrance.url) as made:
        made.template("web", WEB)
        yield made
        entrance.clear()
        if not entrance.path.exists():
            entrance.open()


def services(here: Host, name: str) -> dict[str, Any]:
    return {service["name"]: service for service in here.agent(name)["services"]}


def ours(here: Host, name: str) -> list[str]:
    return existing({"envmgr.agent": here.agent(name)["id"]})


def redis(url: str, *words: str) -> str:
    asked = ["redis-cli", "-u", url, *words]
    inside = ["docker", "run", "--rm", "--network", "host", "envmgr-test/redis", *asked]
    return subprocess.run(inside, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@proves("CONT-001", "CONT-017")
def test_two_agents_have_a_database_each_and_nothing_is_left_of_them(here: Host) -> None:
    for name in ("a", "b"):
        here.ok("spawn", "-t", "stack", "--name", name)
    urls = {n: here.ok("env", n, "--json").json["env"]["REDIS_URL"] for n in ("a", "b")}
    for name, url in urls.items():
        redis(url, "set", "who", name)
    answers = {name: redis(url, "get", "who") for name, url in urls.items()}
    inside = here.ok("exec", "b", "--service", "db", "--", "redis-cli", "get", "who").out
    beside = here.ok("exec", "b", "--service", "api", "--", "sh", "-c", "echo $REDIS_URL").out
    ids = {name: here.agent(name)["id"] for name in ("a", "b")}
    for name in ("a", "b"):
        here.ok("stop", name)
    kept = existing({"envmgr.agent": ids["a"]})
    for name in ("a", "b"):
        here.ok("rm", name, "--yes")

    assert answers == {"a": "a", "b": "b"}
    assert inside.strip() == "b"
    assert beside.strip() == urls["b"]
    assert kept == [f"volume: envmgr-{ids['a']}-data"]
    assert [existing({"envmgr.agent": agent}) for agent in ids.values()] == [[], []]


@proves("CONT-001")
def test_a_volume_keeps_its_content_over_a_stop_and_containers_are_shown(here: Host) -> None:
    here.ok("spawn", "-t", "stack", "--name", "a")
    view = services(here, "a")["db"]["container"]
    port = services(here, "a")["db"]["ports"]["tcp"]
    text = here.ok("show", "a").out
    here.ok("exec", "a", "--service", "db", "--", "redis-cli", "set", "k", "kept")
    here.ok("stop", "a")
    here.ok("start", "a")
    kept = here.ok("exec", "a", "--service", "db", "--", "redis-cli", "get", "k").out
    here.ok("stop", "a")
    here.ok("rm", "a", "--yes")

    assert (view["image"], view["published"]) == ("envmgr-test/redis", {"6379/tcp": port})
    assert f"container {view['id']} of envmgr-test/redis" in text
    assert kept.strip() == "kept"


@proves("CONT-013")
def test_logs_of_containers_are_read_like_those_of_processes(here: Host) -> None:
    here.ok("spawn", "-t", "stack", "--name", "a")
    lines = here.ok("logs", "a").out.splitlines()
    only = here.ok("logs", "a", "web").out
    here.ok("stop", "a")
    here.ok("rm", "a", "--yes")

    assert any(line.startswith("db | ") and "Ready to accept connections" in line for line in lines)
    assert any(line.startswith("api | api uses redis://127.0.0.1:") for line in lines)
    assert only.splitlines()[0] == "web: serving on port 80"


@proves("CONT-015", "R-29")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restarted_daemon_adopts_containers_and_their_logs_go_on(here: Host, how: str) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    here.ok("spawn", "-t", "web", "--name", "b")
    before = {name: (ours(here, name), services(here, name)["web"]["container"]["id"]) for name in ("a", "b")}
    if how == "kill":
        kill_daemon(here)
    else:
        here.ok("daemon", "stop")
    subprocess.run(["docker", "kill", before["b"][1]], capture_output=True, timeout=30, check=True)

    eventually(lambda: services(here, "a")["web"]["state"] == "ready")
    eventually(lambda: services(here, "b")["web"]["state"] == "failed")
    after = {name: (ours(here, name), services(here, name)["web"]["container"]["id"]) for name in ("a", "b")}
    seen = len(here.ok("logs", "a", "-l", "100000").out.splitlines())
    lines = eventually(lambda: _more(here, seen))

    assert after == before
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    here.ok("stop", "a")
    here.ok("stop", "b")
    assert ours(here, "a") + ours(here, "b") == []


def _more(here: Host, than: int) -> list[str]:
    lines = here.ok("logs", "a", "-l", "100000").out.splitlines()
    return lines if len(lines) > than else []


@proves("CONT-015")
@pytest.mark.parametrize("point", ["before-services", "after-services"])
def test_a_spawn_that_a_crash_cut_off_leaves_no_container(point: str) -> None:
    with host() as here:
        here.template("web", WEB)
        here.env["ENVMGR_CRASH_AT"] = point
        here.run("spawn", "-t", "web", "--name", "a")
        del here.env["ENVMGR_CRASH_AT"]
        eventually(lambda: here.agent("a")["lifecycle"] in ("error", "stopped"), within_s=30)

        assert ours(here, "a") == []


@proves("CONT-014")
def test_an_engine_that_goes_away_is_a_condition_and_nothing_else(far: Host, entrance: Door) -> None:
    far.ok("spawn", "-t", "web", "--name", "a")
    entrance.shut()
    lost = eventually(lambda: [c for c in far.agent("a")["conditions"] if c["subject"] == "engine"])
    during = far.agent("a")
    entrance.open()
    eventually(lambda: not far.agent("a")["conditions"], within_s=20)
    after = far.agent("a")
    far.ok("stop", "a")

    assert lost[0]["type"] == "Unobservable"
    assert (during["lifecycle"], services_of(during)) == ("running", {"web": "ready"})
    assert (after["lifecycle"], services_of(after)) == ("running", {"web": "ready"})


@proves("CONT-014")
def test_without_an_engine_nothing_is_told_to_be_down_and_no_front_to_be_ready(
    far: Host, entrance: Door
) -> None:
    far.template("replicated", REPLICATED)
    far.ok("spawn", "-t", "replicated", "--name", "a")
    entrance.shut()
    eventually(lambda: [c for c in far.agent("a")["conditions"] if c["subject"] == "engine"])
    kill_daemon(far)
    eventually(lambda: set(services_of(far.agent("a")).values()) == {"unknown"})
    during = far.agent("a")
    said = far.ok("ls").out
    entrance.open()
    eventually(lambda: set(services_of(far.agent("a")).values()) == {"ready"}, within_s=20)
    down = [event for event in far.events("a") if event["kind"] == "service.failed"]
    far.ok("stop", "a")

    assert {c["type"] for c in during["conditions"]} == {"Unobservable"}
    assert "Down" not in said
    assert down == []


@proves("CONT-014")
def test_doctor_looks_at_the_engine_that_the_daemon_uses(far: Host, entrance: Door) -> None:
    far.ok("daemon", "start")
    entrance.shut()
    there = far.run("doctor", env={"DOCKER_HOST": ""})
    entrance.open()
    mended = far.ok("doctor").out

    assert there.code == 1
    assert f"FIX daemon's engine {entrance.url} (DOCKER_HOST) does not answer: " in there.out
    assert "envmgr daemon stop" in there.out
    assert f", at {entrance.url} (DOCKER_HOST)" in mended


@proves("CONT-017")
def test_a_command_inside_of_a_task_that_has_ended_is_refused_in_plain_words(here: Host) -> None:
    task = "  migrate: {kind: task, image: envmgr-test/base, command: [echo, done]}\nagent:"
    here.template("task", WEB.replace("agent:", task, 1))
    here.ok("spawn", "-t", "task", "--name", "a")

    refused = here.run("exec", "a", "--service", "migrate", "--", "true")

    assert refused.code == 5
    assert refused.err.startswith(
        "error: migrate is a task, and has ended\nhint:  See `envmgr logs a migrate`"
    )


@proves("CONT-017")
def test_a_command_inside_goes_to_the_daemon_s_engine_whatever_the_person_uses(far: Host) -> None:
    far.ok("spawn", "-t", "web", "--name", "a")

    ran = far.run(
        "exec", "a", "--service", "web", "--", "echo", "inside", env={"DOCKER_HOST": "tcp://127.0.0.1:1"}
    )

    assert (ran.code, ran.out) == (0, "inside\n")


@proves("CONT-014")
def test_a_probe_that_the_engine_does_not_carry_out_is_said_and_no_failure(far: Host, entrance: Door) -> None:
    far.template("replicated", REPLICATED)
    far.ok("spawn", "-t", "replicated", "--name", "a")
    entrance.hold(b"/exec ")
    subjects = {"worker-0", "worker-1", "db-0"}
    eventually(lambda: {c["subject"] for c in far.agent("a")["conditions"]} == subjects, within_s=30)
    during = far.agent("a")
    entrance.clear()
    eventually(lambda: far.agent("a")["conditions"] == [], within_s=30)
    down = [event for event in far.events("a") if event["kind"] == "service.failed"]
    far.ok("stop", "a")

    assert {c["type"] for c in during["conditions"]} == {"Unobservable"}
    assert set(services_of(during).values()) == {"ready"}
    assert down == []


@proves("CONT-014")
def test_what_an_engine_s_restart_ended_is_told_when_it_is_back(far: Host, entrance: Door) -> None:
    far.ok("spawn", "-t", "web", "--name", "a")
    container = services(far, "a")["web"]["container"]["id"]
    entrance.shut()
    subprocess.run(["docker", "kill", container], capture_output=True, timeout=30, check=True)
    eventually(lambda: [c for c in far.agent("a")["conditions"] if c["subject"] == "engine"])
    entrance.open()
    down = eventually(
        lambda: [c for c in far.agent("a")["conditions"] if c["type"] == "ServiceDown"], within_s=20
    )
    far.ok("stop", "a")

    assert (down[0]["subject"], down[0]["reason"]) == ("web", "ended with status 137")


def services_of(agent: Any) -> dict[str, str]:
    return {service["name"]: service["state"] for service in agent["services"]}


@proves("CONT-006")
def test_a_spawn_without_an_engine_says_who_needs_it_and_what_to_do(far: Host, entrance: Door) -> None:
    entrance.shut()
    ran = far.run("spawn", "-t", "web", "--name", "a")

    assert ran.code == 8
    assert f"the container engine at {entrance.url} (DOCKER_HOST) does not answer" in ran.err
    assert "web of a needs it" in ran.err
    assert "Start Docker" in ran.err
    assert far.agent("a")["lifecycle"] == "error"


@proves("CONT-012")
def test_a_stop_without_an_engine_forgets_nothing_and_the_next_one_ends_it(far: Host, entrance: Door) -> None:
    far.ok("spawn", "-t", "web", "--name", "a")
    entrance.shut()
    first = far.run("stop", "a")
    held = far.agent("a")
    entrance.open()
    again = far.ok("stop", "a")

    assert first.code == 8
    assert f"the container engine at {entrance.url} (DOCKER_HOST) does not answer" in first.err
    assert held["lifecycle"] == "error"
    assert "STOPPED" in again.out
    assert ours(far, "a") == []


@proves("CONT-017")
def test_hooks_run_inside_of_a_container(here: Host) -> None:
    hooks = "hooks:\n  on_start: [{command: 'hostname > /tmp/who', inside: web}]\n"
    here.template("web", WEB + hooks)
    here.ok("spawn", "-t", "web", "--name", "a")
    who = here.ok("exec", "a", "--service", "web", "--", "cat", "/tmp/who").out.strip()
    container = services(here, "a")["web"]["container"]["id"]
    broken = "hooks:\n  on_start: [{command: 'echo no such table; exit 4', inside: web}]\n"
    here.template("broken", WEB.replace("envmgr: 1", "envmgr: 1\nname: broken") + broken)
    ran = here.run("spawn", "-t", "broken", "--name", "b")
    here.ok("stop", "a")

    assert who == container
    assert ran.code == 8
    assert "on_start command `echo no such table; exit 4` in web exited with 4: no such table" in ran.err
    assert "All it wrote: `envmgr logs b hooks`" in ran.err
    assert "by hand: `envmgr exec b --service web -- ...`" in ran.err
    assert "\nno such table\n# on_start: exited with 4 " in here.ok("logs", "b", "hooks").out
    assert ours(here, "b") == []
