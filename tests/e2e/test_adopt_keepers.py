"""A keeper is killed or stuck, while the daemon runs and while none does: nothing is left, nothing runs twice, services come back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import answers, is_alive, keeper_pid, kill_daemon, processes_of
from tests.support.wait import eventually

# The grandchild has a session of its own, no parent, another folder, and no port.
FLEEING = """
envmgr: 1
services:
  db:
    command: "(cd /; setsid sleep 1000 &); exec python3 -S -m http.server $PORT --bind 127.0.0.1"
    ports: [sql]
    env: {PORT: "${ports.sql}"}
    ready: {tcp: {port: sql}, period: 300ms}
    restart: {policy: on-failure, initial: 100ms}
  web:
    command: exec python3 -S -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    env: {PORT: "${ports.http}"}
    ready: {tcp: {port: http}, period: 300ms}
    depends_on: [db]
    restart: {policy: on-failure, initial: 100ms}
agent: {kind: command, command: [sleep, '1000']}
"""
PLAIN = """
envmgr: 1
services:
  plain:
    command: exec sleep 1000
    restart: {policy: never}
agent: {kind: command, command: [sleep, '1000']}
"""
UNITS = ("db", "web")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("fleeing", FLEEING)
        here.ok("spawn", "-t", "fleeing", "--name", "a")
        yield here


def units(here: Host) -> dict[str, set[int]]:
    """Processes by service."""
    agent = here.agent("a")
    return {name: {p.pid for p in processes_of(here, agent, part=f"service:{name}")} for name in UNITS}


def back(here: Host, before: dict[str, set[int]]) -> Any:
    """Each service that may is ready again as another process, and nothing of before is there."""
    agent = here.agent("a")
    states = {s["name"]: s["state"] for s in agent["services"]}
    assert [states[name] for name in UNITS] == ["ready", "ready"], agent
    now = units(here)
    assert all(now[name] for name in UNITS)
    assert not [pid for pids in before.values() for pid in pids if is_alive(pid)]
    return agent


def kill_keeper(here: Host) -> None:
    os.kill(keeper_pid(here, here.agent("a")), signal.SIGKILL)


@proves("KEEPERDOWN-001", "R-13")
@pytest.mark.parametrize("daemon", ["runs", "was killed too"])
def test_a_keeper_killed_leaks_no_child_and_its_services_come_back(here: Host, daemon: str) -> None:
    before, agent = units(here), here.agent("a")
    assert len(before["db"]) == 2
    if daemon == "was killed too":
        kill_daemon(here)
    os.kill(keeper_pid(here, agent), signal.SIGKILL)

    after = eventually(lambda: back(here, before), within_s=60)

    assert (after["lifecycle"], after["generation"]) == ("running", 1)
    assert [s["ports"] for s in after["services"]] == [s["ports"] for s in agent["services"]]
    now = units(here)
    assert (len(now["db"]), len(now["web"])) == (2, 1)
    assert all(answers(p) for s in after["services"] for p in s["ports"].values())


@proves("KEEPERDOWN-001")
def test_what_is_never_restarted_is_ended_and_stays_down(here: Host) -> None:
    here.template("plain", PLAIN)
    here.ok("spawn", "-t", "plain", "--name", "b")
    agent = here.agent("b")
    (process,) = processes_of(here, agent, part="service:plain")

    os.kill(keeper_pid(here, agent), signal.SIGKILL)

    def is_down() -> bool:
        service = here.agent("b")["services"][0]
        return (service["state"], service["detail"]) == ("failed", "its keeper died")

    eventually(is_down, within_s=60)
    assert not is_alive(process.pid)


@proves("KEEPERDOWN-002", "R-29")
def test_a_stop_wins_over_the_restart_after_a_lost_keeper(here: Host) -> None:
    before = units(here)
    kill_keeper(here)

    here.ok("stop", "a")

    assert here.agent("a")["lifecycle"] == "stopped"
    assert not [pid for pids in (*before.values(), *units(here).values()) for pid in pids if is_alive(pid)]


@proves("KEEPERDOWN-003")
def test_a_daemon_killed_while_it_replaces_a_keeper_leaves_it_to_the_next_one(here: Host) -> None:
    before = units(here)
    kill_keeper(here)
    eventually(lambda: any(not is_alive(pid) for pids in before.values() for pid in pids), every_s=0.001)

    kill_daemon(here)

    eventually(lambda: back(here, before), within_s=60)
    now = units(here)
    assert (len(now["db"]), len(now["web"])) == (2, 1)


@proves("KEEPERDOWN-004", "R-31")
def test_another_installation_beside_loses_nothing(here: Host) -> None:
    with host() as other:
        other.template("fleeing", FLEEING)
        other.ok("spawn", "-t", "fleeing", "--name", "a")
        theirs = {p.pid for p in processes_of(other, other.agent("a"))}
        before = units(here)
        kill_keeper(here)

        eventually(lambda: back(here, before), within_s=60)

        assert {pid for pid in theirs if psutil.pid_exists(pid)} == theirs
        assert other.agent("a")["conditions"] == []
