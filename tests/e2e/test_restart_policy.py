"""Services that end by themselves and come back, as their restart policies say."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.host import Host, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.survive import kill_daemon, processes_of
from tests.support.wait import eventually

SLEEPS = """
web:
  command: exec sleep 1000
  restart: {policy: on-failure, initial: %s, jitter: 0}
follower:
  command: exec sleep 1000
  depends_on: {web: {condition: started, restart: true}}
other:
  command: exec sleep 1000
  depends_on: [web]
"""
DIES = """
web:
  command: sleep 0.3; exit %d
  restart: {policy: on-failure, initial: 50ms, jitter: 0, budget: 2/10m}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        yield here


def spawn(here: Host, services: str, *, recovery: str = "{}") -> None:
    here.template("tried", f"{template('tried', services)}recovery: {recovery}\n")
    here.ok("spawn", "--template", "tried", "--name", "otter")


def pid(here: Host, name: str) -> int:
    (process,) = processes_of(here, here.agent("otter"), part=f"service:{name}")
    return process.pid


def told(here: Host, kind: str) -> list[Any]:
    return [event["data"] for event in here.events() if event["kind"] == kind]


@proves("RESTART-005")
def test_a_service_that_is_killed_comes_back_with_those_that_follow_it(here: Host) -> None:
    spawn(here, SLEEPS % "100ms")
    before = {name: pid(here, name) for name in ("web", "follower", "other")}
    os.kill(before["web"], signal.SIGKILL)
    eventually(lambda: told(here, "change.finished"))
    after = {name: pid(here, name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["web", "follower"]
    assert here.agent("otter")["conditions"] == []
    assert told(here, "service.restarting") == [
        {"service": "web", "why": "it ended with signal SIGKILL", "after_s": 0.1, "attempt": 1}
    ]


@proves("RESTART-006")
def test_an_empty_budget_is_told_and_a_new_daemon_does_not_refill_it(here: Host) -> None:
    spawn(here, DIES % 3, recovery="{rungs: []}")
    (gave_up,) = eventually(lambda: told(here, "service.gave_up"))
    assert gave_up == {
        "service": "web",
        "reason": "it ended with status 3, and was restarted 2 times in 10 min already",
    }
    assert [one["attempt"] for one in told(here, "service.restarting")] == [1, 2]
    down = eventually(
        lambda: here.agent("otter")["lifecycle"] == "error" and here.agent("otter")["conditions"]
    )
    assert {(c["type"], c["subject"]) for c in down} == {("ServiceDown", "web"), ("NeedsAttention", "")}
    kill_daemon(here)
    eventually(lambda: service(here, "otter", "web")["state"] == "failed")
    assert len(told(here, "service.restarting")) == 2
    assert told(here, "service.gave_up") == [gave_up]  # the same end is judged once


@proves("RESTART-005")
def test_an_exit_code_that_no_restart_can_mend_is_given_up_at_once(here: Host) -> None:
    spawn(here, DIES % 78)
    (gave_up,) = eventually(lambda: told(here, "service.gave_up"))
    assert gave_up["reason"] == "it ended with status 78, which a restart cannot mend"
    assert told(here, "service.restarting") == []


@proves("RESTART-007")
def test_a_stop_wins_over_a_restart_that_waits(here: Host) -> None:
    spawn(here, SLEEPS % "30s")
    os.kill(pid(here, "web"), signal.SIGKILL)
    eventually(lambda: told(here, "service.restarting"))
    began = time.monotonic()
    here.ok("stop", "otter")
    assert time.monotonic() - began < 15
    assert here.agent("otter")["lifecycle"] == "stopped"
    assert processes_of(here, here.agent("otter")) == []


@proves("RESTART-007")
def test_a_persons_restart_takes_the_place_of_one_that_waits_and_begins_the_count_anew(here: Host) -> None:
    spawn(here, SLEEPS % "30s")
    os.kill(pid(here, "web"), signal.SIGKILL)
    eventually(lambda: told(here, "service.restarting"))
    here.ok("restart", "otter", "web")
    assert here.agent("otter")["conditions"] == []
    os.kill(pid(here, "web"), signal.SIGKILL)
    eventually(lambda: len(told(here, "service.restarting")) == 2)
    assert [one["attempt"] for one in told(here, "service.restarting")] == [1, 1]


@proves("RESTART-005")
def test_a_service_that_never_restarts_stays_down(here: Host) -> None:
    spawn(here, "web: {command: exec sleep 1000, restart: never}\n")
    os.kill(pid(here, "web"), signal.SIGKILL)
    eventually(lambda: service(here, "otter", "web")["state"] == "failed")
    assert told(here, "service.restarting") == []
    here.ok("restart", "otter")
    assert "ServiceDown" not in [condition["type"] for condition in here.agent("otter")["conditions"]]


@proves("RESTART-017")
def test_a_service_of_which_nothing_is_said_comes_back_from_a_failure(here: Host) -> None:
    spawn(here, "web: {command: exec sleep 1000}\n")
    before = pid(here, "web")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: service(here, "otter", "web")["state"] == "ready" and pid(here, "web") != before)
    assert [one["attempt"] for one in told(here, "service.restarting")] == [1]


@proves("RESTART-016")
def test_twenty_clients_that_restart_a_service_at_once_leave_one_process(here: Host) -> None:
    spawn(here, "web: {command: exec sleep 1000}\n")
    before = pid(here, "web")
    clients = [here.start("restart", "otter", "web") for _ in range(20)]
    assert [client.wait(60) for client in clients] == [0] * 20
    for client in clients:
        client.communicate()
    assert pid(here, "web") != before  # which also says that there is exactly one
    assert len(told(here, "change.started")) <= 20
