"""A daemon that starts takes over what is there, concludes nothing from what it cannot see, and ends what is of another time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.docker import BASE, engine, existing
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import agent_when, frozen, kill_daemon, processes_of, tmux_server
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_TMUX__DEADLINE_S="1") as here:
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "a")
        yield here


def conditions(agent: Any) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in agent["conditions"]}


@proves("ADOPT-005", "R-15")
def test_beside_a_terminal_server_that_hangs_nothing_is_concluded_and_it_is_adopted_later(here: Host) -> None:
    before = {p.pid for p in processes_of(here, here.agent("a"))}
    kill_daemon(here)

    with frozen(tmux_server(here)):
        blind = agent_when(here, "a", lambda agent: "Unobservable" in conditions(agent), within_s=30)
        assert blind["lifecycle"] == "running"

    seen = agent_when(here, "a", lambda agent: not agent["conditions"], within_s=30)
    assert (seen["lifecycle"], seen["generation"]) == ("running", 1)
    assert {p.pid for p in processes_of(here, seen)} == before


@proves("ADOPT-004", "R-2")
def test_a_worktree_that_lost_its_lock_while_no_daemon_ran_is_locked_again(here: Host) -> None:
    worktree = here.agent("a")["worktree"]
    kill_daemon(here)
    git(here.repo, "worktree", "unlock", worktree)

    here.ok("ls")

    eventually(lambda: "locked envmgr" in git(here.repo, "worktree", "list", "--porcelain"), within_s=30)
    assert "its lock had been taken off" in str([e["data"] for e in here.events() if e["kind"] == "notice"])
    assert here.agent("a")["conditions"] == []


@proves("ADOPT-004", "QUARANTINE-001", "R-2")
def test_a_worktree_that_somebody_else_has_locked_is_in_quarantine_and_left_alone(here: Host) -> None:
    worktree = here.agent("a")["worktree"]
    kill_daemon(here)
    git(here.repo, "worktree", "unlock", worktree)
    git(here.repo, "worktree", "lock", "--reason", "mine", worktree)

    barred = agent_when(here, "a", lambda agent: "Quarantined" in conditions(agent), within_s=30)

    assert "locked by somebody else: mine" in conditions(barred)["Quarantined"]
    assert "Quarantined" in here.ok("show", "a").out
    assert "locked mine" in git(here.repo, "worktree", "list", "--porcelain")
    git(here.repo, "worktree", "unlock", worktree)
    kill_daemon(here)
    agent_when(here, "a", lambda agent: "Quarantined" not in conditions(agent), within_s=30)


BOXED = """
envmgr: 1
services:
  web:
    image: envmgr-test/base
    command: [sleep, '1000']
    init: true
agent: {kind: command, command: [sleep, '1000']}
"""


@proves("ADOPT-005", "R-33")
def test_a_container_of_an_older_generation_is_ended_and_the_present_one_goes_on(here: Host) -> None:
    here.template("boxed", BOXED)
    here.ok("spawn", "-t", "boxed", "--name", "b")
    here.ok("stop", "b")
    here.ok("start", "b")
    agent = here.agent("b")
    present = agent["services"][0]["container"]["id"]
    labels = engine().containers.get(present).labels
    old = engine().containers.run(
        BASE, ["sleep", "1000"], init=True, detach=True, labels={**labels, "envmgr.generation": "1"}
    )
    kill_daemon(here)

    here.ok("ls")

    eventually(lambda: old.name not in str(existing({"envmgr.agent": agent["id"]})), within_s=60)
    assert engine().containers.get(present).status == "running"
