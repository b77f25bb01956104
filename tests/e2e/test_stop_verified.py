"""A stop ends everything an agent started, in order, verified; what survives is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import answers, frozen, is_alive, processes_of, remains, tmux_server
from tests.support.wait import eventually

STUBBORN = """
envmgr: 1
defaults: {stop: {grace: 300ms}}
services:
  deaf: {command: "trap '' TERM; touch one-deaf; while :; do sleep 0.1; done"}
agent:
  kind: command
  command: [sh, -c, "trap '' TERM HUP; touch other-deaf; while :; do sleep 0.1; done"]
  stop: {grace: 300ms}
"""
RUNAWAYS = """
envmgr: 1
services:
  web: {command: "setsid nohup sh -c 'setsid nohup sleep 1000 & sleep 1000' & sleep 1000"}
agent:
  kind: command
  command: [sh, -c, "setsid nohup sh -c 'setsid nohup sleep 1000 & sleep 1000' >/dev/null 2>&1 & sleep 1000"]
"""
CHAIN = """
envmgr: 1
defaults: {stop: {grace: 3s}}
services:
  db: {command: "%s"}
  api: {command: "%s", depends_on: [db]}
  web: {command: "%s", depends_on: [api]}
agent: {kind: command, command: [sh, -c, "trap 'echo assistant >> order; exit' TERM; while :; do sleep 0.02; done"]}
"""
WEB = """
envmgr: 1
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {tcp: {port: http}}
agent: {kind: command, command: [sleep, '1000']}
"""
GATED = """
envmgr: 1
workspace: {setup: ["touch here; until [ -e go ]; do sleep 0.02; done"]}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("web", WEB)
        here.template("gated", GATED)
        yield here


def kept(here: Host) -> list[str]:
    """What is left, worktrees and branches apart: a stop keeps them.

    A program that the daemon is just starting looks like a second daemon, for a moment.
    """
    left = [x for x in remains(here) if not x.startswith(("worktree", "branch"))]
    return [x for x in left if not x.endswith("-m envmgr.interfaces.http.daemon")]


def at_gate(here: Host, name: str) -> None:
    eventually(lambda: any((path / "here").exists() for path in here.state.glob(f"worktrees/*/{name}")))


@proves("ENDING-001", "R-13")
def test_who_ignores_the_signal_is_killed_after_the_grace(here: Host) -> None:
    here.template("stubborn", STUBBORN)
    here.ok("spawn", "-t", "stubborn", "--name", "a")
    worktree = Path(here.agent("a")["worktree"])
    eventually(lambda: (worktree / "one-deaf").exists() and (worktree / "other-deaf").exists())
    living = processes_of(here, here.agent("a"))
    assert len(living) >= 2

    began = time.monotonic()
    here.ok("stop", "a")

    assert 0.6 <= time.monotonic() - began < 10
    assert [p for p in living if is_alive(p.pid)] == []
    assert kept(here) == []


@proves("ENDING-002", "R-13")
def test_processes_that_left_their_session_are_ended_too(here: Host) -> None:
    here.template("runaways", RUNAWAYS)
    here.ok("spawn", "-t", "runaways", "--name", "a")
    agent = here.agent("a")
    eventually(lambda: len([p for p in processes_of(here, agent) if p.name() == "sleep"]) == 6)
    stranger = subprocess.Popen(["sleep", "1000"], cwd=agent["worktree"], start_new_session=True)
    try:
        here.ok("stop", "a")

        assert processes_of(here, agent) == []
        assert is_alive(stranger.pid), (
            "a person's own process in the worktree has no marker and is left alone"
        )
    finally:
        stranger.kill()
        stranger.wait()


@proves("ENDING-003", "R-37")
def test_a_stop_that_cannot_be_verified_names_the_survivors_and_the_next_stop_succeeds(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")

    with frozen(tmux_server(here)):
        ran = here.run("stop", "a")

        assert ran.code != 0
        assert "session unknown" in ran.err
        failed = here.agent("a")
        assert failed["lifecycle"] == "error"
        assert failed["reason"].startswith("stop-failed")
        assert "still holds" in here.run("start", "a").err

    here.ok("stop", "a")
    assert here.agent("a")["lifecycle"] == "stopped"
    assert kept(here) == []


@proves("ENDING-012", "R-31")
def test_a_stranger_who_took_a_freed_port_is_left_alone_and_the_next_start_gets_another(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    agent = here.agent("a")
    port = agent["services"][0]["ports"]["http"]
    (web,) = processes_of(here, agent, part="service:web")
    web.kill()
    with listener(port) as stranger:
        here.ok("stop", "a")
        assert stranger.poll() is None
        here.ok("start", "a")
        assert here.agent("a")["services"][0]["ports"]["http"] != port


@contextmanager
def listener(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program of nobody's that serves this port."""
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        eventually(lambda: answers(port))
        yield process
    finally:
        process.kill()
        process.wait()


@proves("ENDING-004", "R-35")
def test_the_assistant_ends_first_then_services_in_reverse_order(here: Host) -> None:
    script = "trap 'echo {} >> order; exit' TERM; while :; do sleep 0.02; done"
    here.template("chain", CHAIN % tuple(script.format(name) for name in ("db", "api", "web")))
    here.ok("spawn", "-t", "chain", "--name", "a")

    here.ok("stop", "a")

    order = Path(here.agent("a")["worktree"], "order").read_text(encoding="utf-8").split()
    assert order == ["assistant", "web", "api", "db"]
    parts = [e["data"]["step"] for e in here.events("a") if e["kind"] == "stop.finished"]
    assert parts == ["assistant", "people", "begun", "services", "session", "verify", "release"]


@proves("ENDING-005", "R-29")
def test_a_stop_during_a_spawn_takes_it_back(here: Host) -> None:
    command = here.start("spawn", "-t", "gated", "--name", "a")
    at_gate(here, "a")

    here.ok("stop", "a")
    out, said = command.communicate(timeout=20)

    assert here.agent("a")["lifecycle"] == "stopped"
    assert remains(here) == []
    assert command.returncode != 0
    assert "stop" in said
    assert "runs" not in out


@proves("ENDING-006")
def test_stopping_twice_and_at_once_is_harmless(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")

    stops = [here.start("stop", "a") for _ in range(3)]
    said = [stop.communicate(timeout=30) for stop in stops]

    assert [stop.returncode for stop in stops] == [0, 0, 0], said
    here.ok("stop", "a")
    kinds = [e["kind"] for e in here.events("a")]
    assert kinds.count("agent.stopped") == 1


@proves("ENDING-007", "R-13")
def test_what_people_run_in_the_agents_environment_ends_with_it(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    person = here.start("exec", "a", "--", "sleep", "1000")
    eventually(lambda: processes_of(here, here.agent("a"), part="person"))

    here.ok("stop", "a")

    person.communicate(timeout=10)
    assert person.returncode == -signal.SIGHUP


@proves("ENDING-008")
def test_down_with_agents_leaves_nothing_but_worktrees(here: Host) -> None:
    here.ok("spawn", "-t", "web", "-n", "3")

    here.ok("down", "--agents")

    eventually(lambda: not [x for x in here.leftovers() if not x.startswith("worktree")])
    assert len(here.worktrees()) == 3


@proves("ENDING-009")
def test_down_without_agents_lets_them_run(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    port = here.agent("a")["services"][0]["ports"]["http"]

    here.ok("down")

    assert answers(port)
    assert here.agent("a")["lifecycle"] == "running"


@proves("ENDING-010")
def test_a_daemon_that_is_asked_to_end_finishes_the_spawn_under_way(here: Host) -> None:
    command = here.start("spawn", "-t", "gated", "--name", "a")
    at_gate(here, "a")

    stop = here.start("daemon", "stop")
    command.communicate(timeout=30)
    (Path(next(here.state.glob("worktrees/*/a"))) / "go").touch()
    stop.communicate(timeout=30)

    assert (command.returncode, stop.returncode) == (7, 0)
    assert here.agent("a")["lifecycle"] == "running"


# --- Ctrl-C ---------------------------------------------------------------------------------------------------


def interrupt(command: subprocess.Popen[str]) -> tuple[str, str]:
    """As the terminal does it: the whole foreground group gets SIGINT."""
    with suppress(ProcessLookupError):  # it was faster
        os.killpg(command.pid, signal.SIGINT)
    return command.communicate(timeout=40)


@proves("ENDING-011")
def test_ctrl_c_during_a_spawn_takes_everything_back_and_forgets_the_agent(here: Host) -> None:
    command = here.start("spawn", "-t", "gated", "-n", "2")
    at_gate(here, "gated-1")
    at_gate(here, "gated-2")

    _, said = interrupt(command)

    assert command.returncode == 130
    assert "taken back" in said
    assert here.agents() == {}
    assert remains(here) == []


@proves("ENDING-011")
@pytest.mark.parametrize("after_s", [0.08, 0.2, 0.4])
def test_ctrl_c_at_any_moment_of_a_spawn_leaves_all_or_nothing(here: Host, after_s: float) -> None:
    here.ok("ls")
    for step in range(5):
        command = here.start("spawn", "-t", "web", "--name", "a")
        with suppress(subprocess.TimeoutExpired):
            command.wait(after_s + step / 100)

        said, why = interrupt(command)

        if "a runs" in said:
            here.ok("rm", "a", "--stop", "--yes")
        # Interrupted before the first line of ours, Python itself ends with 1: init_import_site.
        assert command.returncode in (0, 130, -signal.SIGINT) or "Fatal Python error" in why
        assert here.agents() == {}
        assert remains(here) == []
