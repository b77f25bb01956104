"""The daemon dies by SIGKILL at every step boundary; the next one brings the agent to an explained end, never in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import processes_of, remains, sessions, settled
from tests.support.wait import eventually

FULL = """
envmgr: 1
workspace: {setup: ["true"]}
hooks: {pre_stop: ["true"], post_stop: ["true"]}
gc: {worktree: %(keep)s}
services:
  prepare: {kind: task, command: "true"}
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    depends_on: [prepare]
    ready: {tcp: {port: http}}
  outside: {kind: external, ready: {exec: "true"}}
agent: %(agent)s
"""
SLEEPS = "{kind: command, command: [sleep, '1000']}"
# A program that is no Claude Code never says that it is ready, so the last step fails when all others are done.
SILENT = "{kind: claude_code, command: [sh, -c, exec sleep 1000], ready: {timeout: 300ms}}"

STEPS = ("ports", "worktree", "setup", "services", "assistant", "readiness")
PARTS = (
    "pre-stop",
    "assistant",
    "people",
    "begun",
    "services",
    "session",
    "verify",
    "release",
    "post-stop",
    "worktree",
)
SPAWN = (
    "spawn-accepted",
    *(f"{when}-{step}" for step in STEPS for when in ("before", "after")),
    "spawn-before-commit",
)
UNDO = tuple(f"undone-{step}" for step in (*STEPS, "session", "environment"))
STOP = (
    "stop-accepted",
    *(f"stop-{when}-{part}" for part in PARTS for when in ("before", "after")),
    "stop-before-commit",
    "stop-committed",
)
SAVE = ("save-noted", "save-paused", "save-copied")
REMOVE = (
    "remove-accepted",
    *SAVE,
    "remove-saved",
    "remove-worktree-gone",
    "remove-before-commit",
    "remove-committed",
)


ARCHIVE = ("archive-noted", "archive-gathered", "archive-packed")
"""Of what goes on in the background when a session has ended; tests/chaos/test_crash_archive.py holds them."""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("full", FULL % {"keep": "keep", "agent": SLEEPS})
        here.template("tidy", FULL % {"keep": "remove-if-clean", "agent": SLEEPS})
        here.template("broken", FULL % {"keep": "keep", "agent": SILENT})
        yield here


def crash(here: Host, point: str, *words: str) -> None:
    """Run a command whose daemon dies at `point`, so the command fails and says so."""
    ran = here.run(*words, env={"ENVMGR_CRASH_AT": point})
    assert ran.code == 7, (ran, here.daemon_log())
    assert "the daemon ended in the middle" in ran.err


def assert_usable(here: Host, name: str) -> None:
    """Started again and removed, as if nothing had happened."""
    here.ok("start", name)
    assert here.agent(name)["lifecycle"] == "running"
    here.ok("rm", name, "--stop", "--yes")
    assert here.agents() == {}
    assert remains(here) == []


@proves("CRASH-001")
@pytest.mark.parametrize("point", SPAWN)
def test_a_spawn_cut_off_anywhere_is_taken_back_and_can_be_started_again(here: Host, point: str) -> None:
    crash(here, point, "spawn", "-t", "full", "--name", "a")

    agent = settled(here, "a")

    assert agent["lifecycle"] == "error"
    assert "the daemon was ended in the middle" in agent["reason"]
    assert "nothing was left behind" in agent["reason"]
    assert remains(here) == []
    assert_usable(here, "a")


@proves("CRASH-001")
def test_a_spawn_cut_off_after_its_last_commit_runs(here: Host) -> None:
    crash(here, "spawn-committed", "spawn", "-t", "full", "--name", "a")

    agent = settled(here, "a")

    assert agent["lifecycle"] == "running"
    assert sessions(here) != []
    eventually(
        lambda: {s["name"]: s["state"] for s in here.agent("a")["services"]}["web"] == "ready", within_s=5
    )
    here.ok("stop", "a")
    assert_usable(here, "a")


@proves("CRASH-001")
@pytest.mark.parametrize("point", UNDO)
def test_an_undo_cut_off_anywhere_is_finished(here: Host, point: str) -> None:
    crash(here, point, "spawn", "-t", "broken", "--name", "a")

    agent = settled(here, "a")

    assert agent["lifecycle"] == "error"
    assert "nothing was left behind" in agent["reason"]
    assert remains(here) == []


@proves("CRASH-002", "R-35")
@pytest.mark.parametrize("point", STOP)
def test_a_stop_cut_off_anywhere_is_finished_and_verified(here: Host, point: str) -> None:
    template = "tidy" if "worktree" in point else "full"
    here.run("spawn", "-t", template, "--name", "a", env={"ENVMGR_CRASH_AT": point})
    crash(here, point, "stop", "a")

    agent = settled(here, "a")

    assert agent["lifecycle"] == "stopped"
    assert "verified" in agent["reason"]
    assert processes_of(here, agent) == []
    # The next daemon may just be writing what the agent leaves to its successor.
    eventually(lambda: [x for x in remains(here) if not x.startswith(("worktree", "branch"))] == [])
    assert_usable(here, "a")


@proves("CRASH-003")
@pytest.mark.parametrize("point", REMOVE)
def test_a_removal_cut_off_anywhere_is_finished_and_can_be_undone(here: Host, point: str) -> None:
    here.run("spawn", "-t", "full", "--name", "a", env={"ENVMGR_CRASH_AT": point})
    (Path(here.agent("a")["worktree"]) / "new.txt").write_text("work\n", encoding="utf-8")
    here.ok("stop", "a")
    crash(here, point, "rm", "a", "--yes", "--discard", "a")

    eventually(lambda: here.agents() == {}, within_s=20)

    assert remains(here) == []
    here.ok("undo", "a")
    assert (Path(here.agent("a")["worktree"]) / "new.txt").read_text(encoding="utf-8") == "work\n"
    here.ok("rm", "a", "--yes", "--discard", "a")


@proves("CRASH-004")
def test_the_matrix_holds_every_point_that_is_reached(here: Host, tmp_path: Path) -> None:
    listing = tmp_path / "points"
    here.env["ENVMGR_CRASH_LOG"] = str(listing)
    here.ok("spawn", "-t", "tidy", "--name", "a")
    here.ok("stop", "a")
    assert here.run("spawn", "-t", "broken", "--name", "b").code != 0
    here.ok("spawn", "-t", "full", "--name", "c")
    here.ok("rm", "c", "--stop", "--yes")
    reached = set(listing.read_text(encoding="utf-8").split())

    assert reached - set(ARCHIVE) == {*SPAWN, "spawn-committed", *UNDO, *STOP, *REMOVE}
