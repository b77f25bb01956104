"""Agents that are hurt and mended, with everything real; and what a person is told and may ask for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon, processes_of, tmux_server
from tests.support.wait import eventually

HURT = """envmgr: 1
name: hurt
agent:
  kind: command
  command: [sleep, '1000']
services:
  api: {command: exec sleep 2000}
recovery: {stabilize: 500ms, delays: {session: 0s, respawn: 0s}}
"""
BROKEN = """envmgr: 1
name: broken
agent:
  kind: command
  command: [sleep, '1000']
services:
  api:
    command: 'sleep 0.3; echo "api.py: cannot frobnicate" >&2; exit 1'
    restart: {policy: on-failure, initial: 50ms, jitter: 0, budget: 1/10m}
recovery: {rungs: [session], stabilize: 500ms}
"""


LEFT_DOWN = HURT.replace(
    "recovery:", "  odd: {command: exec sleep 3000, restart: {policy: never}}\nrecovery:"
)


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_RECOVERY__LOOK_S="0.1", ENVMGR_RECOVERY__COOL_DOWN_S="0.5") as here:
        yield here


def spawn(here: Host, template: str, name: str = "otter") -> None:
    here.template("tried", template)
    here.ok("spawn", "--template", "tried", "--name", name)


def assistant(here: Host, name: str = "otter") -> int:
    (process,) = processes_of(here, here.agent(name), part="assistant")
    return process.pid


def conditions(here: Host) -> list[str]:
    return [one["type"] for one in here.agent("otter")["conditions"]]


def incident(here: Host, number: int = 1) -> Any:
    (one,) = here.ok("incidents", "--show", str(number), "--json").json["incidents"]
    return one


def outcomes(here: Host) -> list[str]:
    """Of the last measure of each incident."""
    known = here.ok("incidents", "--json").json["incidents"]
    return [one["climbs"][-1]["outcome"] if one["climbs"] else "" for one in known]


def last_climb(here: Host, number: int = 1) -> tuple[str, str]:
    climb = incident(here, number)["climbs"][-1]
    return climb["rung"], climb["outcome"]


@proves("RECOVER-022")
def test_a_killed_assistant_comes_back_while_its_services_run_on(here: Host) -> None:
    spawn(here, HURT)
    (api,) = processes_of(here, here.agent("otter"), part="service:api")
    before = assistant(here)
    os.kill(before, signal.SIGKILL)

    eventually(lambda: last_climb(here) == ("session", "held"), within_s=30)
    assert assistant(here) != before
    assert [p.pid for p in processes_of(here, here.agent("otter"), part="service:api")] == [api.pid]
    assert (here.agent("otter")["generation"], conditions(here)) == (1, [])
    assert "SIGKILL" in here.ok("incidents").out
    assert "the assistant exited with signal SIGKILL" in here.ok("why", "otter").out


@proves("RECOVER-024")
def test_a_service_that_was_left_down_before_keeps_no_other_measure_from_holding(here: Host) -> None:
    spawn(here, LEFT_DOWN)
    (odd,) = processes_of(here, here.agent("otter"), part="service:odd")
    odd.kill()
    eventually(lambda: "ServiceDown" in conditions(here))
    os.kill(assistant(here), signal.SIGKILL)

    eventually(lambda: outcomes(here) == ["held"], within_s=30)
    assert last_climb(here)[0] == "session"
    assert set(conditions(here)) - {"Drifted"} == {"ServiceDown"}


@proves("RECOVER-022")
def test_a_respawn_by_hand_makes_everything_anew_on_the_same_worktree(here: Host) -> None:
    spawn(here, HURT)
    before, worktree = assistant(here), here.agent("otter")["worktree"]

    foretold = here.ok("recover", "otter", "--from", "respawn", "--dry-run", "--json").json
    assert (foretold["rung"], foretold["dry_run"], foretold["incident"]) == ("respawn", True, 0)
    here.ok("recover", "otter", "--from", "respawn")

    eventually(lambda: last_climb(here) == ("respawn", "held"), within_s=60)
    agent = here.agent("otter")
    assert (agent["generation"], agent["lifecycle"], agent["worktree"]) == (2, "running", worktree)
    assert assistant(here) != before


@proves("RECOVER-002", "RECOVER-022")
def test_a_stop_wins_over_a_recovery(here: Host) -> None:
    spawn(here, HURT.replace("session: 0s", "session: 60s"))
    os.kill(assistant(here), signal.SIGKILL)
    eventually(lambda: "Recovering" in conditions(here))
    here.ok("stop", "otter")

    assert here.agent("otter")["lifecycle"] == "stopped"
    eventually(lambda: incident(here)["closed_at"] is not None)
    assert last_climb(here) == ("session", "given_up")


@proves("RECOVER-017", "RECOVER-022")
def test_a_recovery_that_waits_is_gone_on_with_by_the_next_daemon(here: Host) -> None:
    spawn(here, HURT.replace("session: 0s", "session: 3s"))
    os.kill(assistant(here), signal.SIGKILL)
    eventually(lambda: "Recovering" in conditions(here))
    kill_daemon(here)

    eventually(lambda: last_climb(here) == ("session", "held"), within_s=30)
    assert [climb["rung"] for climb in incident(here)["climbs"]] == ["session"]


@proves("RECOVER-004", "RECOVER-016", "RECOVER-022")
def test_what_cannot_be_mended_asks_a_person_once_and_runs_on_when_it_is(here: Host) -> None:
    spawn(here, BROKEN)
    eventually(lambda: here.agent("otter")["lifecycle"] == "error", within_s=20)
    notices = [
        e["data"]["text"] for e in here.events() if e["kind"] == "notice" and "api" in e["data"]["text"]
    ]

    assert len(notices) == 1
    assert "NeedsAttention" in conditions(here)
    assert len(processes_of(here, here.agent("otter"), part="assistant")) == 1
    assert [climb["rung"] for climb in incident(here)["climbs"]] == ["service", "person"]
    assert "envmgr recover otter" in here.ok("why", "otter").out

    here.template("tried", BROKEN.replace("sleep 0.3; echo", "exec sleep 1000; echo"))
    here.ok("apply", "otter", "--yes")
    eventually(lambda: here.agent("otter")["lifecycle"] == "running", within_s=20)
    assert conditions(here) == []


@proves("RECOVER-020", "RECOVER-022")
def test_a_killed_terminal_server_is_one_trouble_of_all_agents_and_all_come_back(here: Host) -> None:
    here.env["ENVMGR_RECOVERY__CANARY_S"] = "0.1"
    names = ["otter", "badger", "fox"]
    for name in names:
        spawn(here, HURT, name)
    tmux_server(here).kill()

    eventually(lambda: outcomes(here) == ["held"] * 3, within_s=60)
    assert [len(processes_of(here, here.agent(name), part="assistant")) for name in names] == [1, 1, 1]
    assert "fleet.opened" in [event["kind"] for event in here.events()]


@proves("RECOVER-021", "RECOVER-022")
def test_safe_mode_is_switched_by_a_person(here: Host) -> None:
    spawn(here, HURT)
    here.ok("safe-mode", "on")
    refused = here.run("spawn", "--template", "tried", "--name", "badger")
    doctor = {one["check"]: one for one in here.run("doctor", "--json").json["checks"]}
    assert "a person switched it on" in doctor["safe mode"]["found"]

    assert refused.code != 0
    assert "safe mode" in refused.err
    nobody = here.run("incidents", "nosuch")
    assert (nobody.code, nobody.out) == (4, "")
    both = here.run("recover", "otter", "--all")
    assert (both.code, "goes with no agent" in both.err) == (2, True)
    assert here.ok("recover", "--all").out == "Safe mode is off; envmgr mends by itself.\n"
    assert here.ok("safe-mode", "--json").json["on"] is False
