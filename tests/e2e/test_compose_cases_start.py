"""What people know from compose and process supervisors, case by case: how services start, wait, and fail to."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.host import Host, Ran, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.survive import processes_of
from tests.support.wait import eventually


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.ok(
            "spawn", "-t", "sleeper", "--name", "neighbour"
        )  # so that the tmux server is there all the time
        yield here


def define(here: Host, name: str, services: str) -> None:
    here.template(name, template(name, textwrap.dedent(services)))


def up(here: Host, name: str, services: str) -> Path:
    """Spawn an agent of this name; returns its worktree."""
    define(here, name, services)
    here.ok("spawn", "-t", name, "--name", name)
    return Path(here.agent(name)["worktree"])


def fails(here: Host, name: str, services: str) -> tuple[Ran, float]:
    """A spawn that is rolled back, and how long that took."""
    define(here, name, services)
    began = time.monotonic()
    ran = here.run("spawn", "-t", name, "--name", name)
    assert ran.code == 8, ran
    return ran, time.monotonic() - began


def begun(here: Host, name: str) -> list[str]:
    """Services that were started, in that order."""
    events = here.events(name)
    return [e["data"]["service"] for e in events if e["kind"] == "service.starting"]


@proves("SVC-CASE-EXIT")
def test_exit_code_of_a_failed_chain(shared: Host) -> None:
    ran, _ = fails(
        shared,
        "chain",
        """\
        one: {kind: task, command: "true"}
        two: {kind: task, command: "echo no luck; exit 7", depends_on: {one: {condition: succeeded}}}
        three: {kind: task, command: "true", depends_on: {two: {condition: succeeded}}}
        four: {command: exec sleep 1000, depends_on: {three: {condition: succeeded}}}
        """,
    )
    assert "two ended with status 7; its last words: no luck" in ran.err
    assert begun(shared, "chain") == ["one", "two"]


@proves("SVC-CASE-CYCLE")
def test_a_cycle_is_named(shared: Host) -> None:
    define(
        shared,
        "round",
        """\
        a: {command: sleep 1, depends_on: [b]}
        b: {command: sleep 1, depends_on: [c]}
        c: {command: sleep 1, depends_on: [a]}
        """,
    )
    ran = shared.run("spawn", "-t", "round", "--name", "round")
    assert ran.code != 0
    assert "a -> b -> c -> a" in ran.err
    assert "round.yaml:" in ran.err


@proves("SVC-CASE-SKIPPED")
def test_skipped_dependants_are_not_stuck(shared: Host) -> None:
    began = time.monotonic()
    up(
        shared,
        "skipped",
        """\
        broken: {kind: task, command: "exit 4", critical: false}
        next: {kind: task, command: "true", critical: false, depends_on: {broken: {condition: succeeded}}}
        last: {command: exec sleep 1000, critical: false, depends_on: {next: {condition: succeeded}}}
        beside: {command: exec sleep 1000}
        """,
    )
    assert time.monotonic() - began < 15
    states = {one["name"]: (one["state"], one["detail"]) for one in shared.agent("skipped")["services"]}
    assert states["beside"] == ("ready", "")
    assert states["next"] == ("failed", "next cannot start: broken is failed, not succeeded")
    assert states["last"] == ("failed", "last cannot start: next is failed, not succeeded")
    assert begun(shared, "skipped").count("next") == begun(shared, "skipped").count("last") == 0


@proves("SVC-CASE-LOG")
def test_ready_by_a_line_of_the_log(shared: Host) -> None:
    place = up(
        shared,
        "lines",
        """\
        db:
          command: "sleep 0.5; date +%s%N > said; echo 'database is ready'; exec sleep 1000"
          ready: {log: "is ready$"}
        api: {command: "date +%s%N > begun; exec sleep 1000", depends_on: {db: {condition: ready}}}
        """,
    )
    assert int((place / "begun").read_text()) > int((place / "said").read_text())


@proves("SVC-CASE-LOGFAIL")
def test_a_line_that_never_comes_fails_by_the_deadline_with_what_was_looked_for(shared: Host) -> None:
    ran, took_s = fails(
        shared,
        "silent",
        """\
        db:
          command: "echo almost ready; exec sleep 1000"
          ready: {log: "^ready", deadline: 1s}
        api: {command: exec sleep 1000, depends_on: {db: {condition: ready}}}
        """,
    )
    assert "db was not ready within 1 s: no log line matches '^ready' yet" in ran.err
    assert took_s < 10
    assert begun(shared, "silent") == ["db"]


@proves("SVC-CASE-UNHEALTHY")
def test_a_dependency_that_is_never_healthy_fails_by_name(shared: Host) -> None:
    ran, took_s = fails(
        shared,
        "sick",
        """\
        db:
          command: exec sleep 1000
          ready: {exec: "echo still sick; exit 1", deadline: 1s}
        api: {command: exec sleep 1000, depends_on: {db: {condition: ready}}}
        """,
    )
    assert "db was not ready within 1 s: probe exited with 1: still sick" in ran.err
    assert took_s < 10
    assert begun(shared, "sick") == ["db"]


@proves("SVC-CASE-EXITS")
def test_a_dependency_that_exits_fails_its_dependant_at_once(shared: Host) -> None:
    ran, took_s = fails(
        shared,
        "exits",
        """\
        db:
          command: "sleep 0.3; exit 9"
          ready: {tcp: sql, deadline: 60s}
          ports: [sql]
        api: {command: exec sleep 1000, depends_on: {db: {condition: ready}}}
        """,
    )
    assert "db ended before it was ready with status 9" in ran.err
    assert took_s < 15
    assert begun(shared, "exits") == ["db"]


@proves("SVC-CASE-TIMEOUT")
def test_a_wait_ends_on_time_and_leaves_evidence(shared: Host) -> None:
    ran, took_s = fails(
        shared,
        "late",
        """\
        slow: {kind: task, command: "echo at work; sleep 30", timeout: 1m}
        api: {command: exec sleep 1000, depends_on: {slow: {condition: succeeded, timeout: 1s}}}
        """,
    )
    assert "api waited 1.0 s for slow to be succeeded" in ran.err
    assert took_s < 10
    assert "at work" in shared.ok("logs", "late", "slow").out
    assert "api waited 1.0 s for slow" in shared.ok("why", "late").out


@proves("SVC-CASE-INTERVAL")
def test_probes_come_quickly_until_the_first_success_and_then_at_their_period(shared: Host) -> None:
    place = up(
        shared,
        "paced",
        """\
        db:
          command: "sleep 1; touch up; exec sleep 1000"
          ready: {exec: "date +%s%N >> looks; test -e up", period: 2s}
        """,
    )

    def looks() -> list[int]:
        return [int(line) for line in (place / "looks").read_text().splitlines()]

    before = looks()
    assert len(before) >= 4
    assert max(later - earlier for earlier, later in pairwise(before)) < 800_000_000
    after = eventually(lambda: looks()[len(before) :][:2] if len(looks()) >= len(before) + 2 else None)
    assert after is not None
    assert 1.5e9 < after[1] - after[0] < 3.5e9


@proves("SVC-CASE-OPTIONAL")
def test_an_optional_dependency_that_fails_holds_nothing_up(shared: Host) -> None:
    up(
        shared,
        "optional",
        """\
        cache: {command: "exit 1", critical: false, restart: never, ready: {log: up}}
        api: {command: exec sleep 1000, depends_on: {cache: {condition: ready, required: false}}}
        """,
    )
    assert service(shared, "optional", "cache")["state"] == "failed"
    assert service(shared, "optional", "api")["state"] == "ready"


@proves("SVC-CASE-ONESHOT")
def test_a_one_shot_beside_a_long_service(shared: Host) -> None:
    up(
        shared,
        "oneshot",
        """\
        once: {kind: task, command: "echo done"}
        long: {command: exec sleep 1000}
        after: {command: exec sleep 1000, depends_on: {once: {condition: succeeded}}}
        """,
    )
    agent = shared.agent("oneshot")
    assert {one["name"]: one["state"] for one in agent["services"]} == {
        "once": "done", "long": "ready", "after": "ready",
    }  # fmt: skip
    assert agent["conditions"] == []
    shared.ok("restart", "oneshot")
    assert begun(shared, "oneshot").count("once") == 1


@proves("SVC-CASE-INIT")
def test_an_init_sequence_with_a_failing_step(shared: Host) -> None:
    ran, _ = fails(
        shared,
        "init",
        """\
        schema: {kind: task, command: "echo schema"}
        seed: {kind: task, command: "echo no such table >&2; exit 2", depends_on: {schema: {condition: succeeded}}}
        index: {kind: task, command: "true", depends_on: {seed: {condition: succeeded}}}
        api: {command: exec sleep 1000, depends_on: {index: {condition: succeeded}, schema: {condition: succeeded}}}
        """,
    )
    assert "seed ended with status 2; its last words: no such table" in ran.err
    assert begun(shared, "init") == ["schema", "seed"]
    assert processes_of(shared, shared.agent("init")) == []


@proves("SVC-CASE-WAITING")
def test_a_service_that_waits_for_its_dependency_can_be_restarted_and_there_is_one_of_it(
    shared: Host,
) -> None:
    place = up(
        shared,
        "waits",
        """\
        db:
          command: "sleep 1.5; date +%s%N > up; exec sleep 1000"
          ready: {exec: test -e up}
          stop: {command: rm -f up}
        api:
          command: "date +%s%N >> begun; exec sleep 1000"
          depends_on: {db: {condition: ready, restart: true}}
        """,
    )
    both = shared.start("restart", "waits", "db")
    eventually(lambda: service(shared, "waits", "api")["state"] == "waiting")
    shared.ok("restart", "waits", "api")
    assert both.wait(30) == 0
    times = [int(line) for line in (place / "begun").read_text().splitlines()]
    assert len(times) == 3  # the spawn, with its dependency, and as asked
    assert times[1] > int((place / "up").read_text())
    assert len(processes_of(shared, shared.agent("waits"), part="service:api")) == 1
    both.communicate()


@proves("SVC-CASE-WAITING")
def test_a_stop_ends_the_wait_for_a_dependency(shared: Host) -> None:
    place = up(
        shared,
        "endless",
        """\
        db:
          command: "[ -e broken ] || touch up; exec sleep 1000"
          ready: {exec: test -e up}
          stop: {command: rm -f up}
        api: {command: exec sleep 1000, depends_on: {db: {condition: ready, restart: true}}}
        """,
    )
    (place / "broken").touch()
    restart = shared.start("restart", "endless", "db")
    eventually(lambda: service(shared, "endless", "api")["state"] == "waiting")
    began = time.monotonic()
    shared.ok("stop", "endless")
    assert time.monotonic() - began < 15
    _, said = restart.communicate(timeout=30)
    assert restart.returncode != 0
    assert "endless is stop" in said
    assert processes_of(shared, shared.agent("endless")) == []
