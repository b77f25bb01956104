"""tmux is missing, stuck or killed, the assistant ends in every way: explained, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import (
    agent_when,
    answers,
    frozen,
    processes_of,
    query,
    remains,
    sessions,
    settled,
    tmux_server,
)
from tests.support.wait import eventually

WEB = """
envmgr: 1
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {tcp: {port: http}, period: 300ms}
agent: {kind: command, command: [sleep, '1000']}
"""
# Waits in its set-up until the test lets it go on.
GATED = """
envmgr: 1
workspace: {setup: ["touch here; until [ -e go ]; do sleep 0.02; done; rm here go"]}
agent: {kind: command, command: [sleep, '1000']}
"""
ENDING = """
envmgr: 1
agent: {kind: command, command: [sh, -c, "until [ -e go ]; do sleep 0.02; done; rm go; %s"]}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_TMUX__DEADLINE_S="1") as here:
        here.template("web", WEB)
        here.template("gated", GATED)
        here.sleeper()
        yield here


def kept(here: Host) -> list[str]:
    """What is left, worktrees and branches apart: a stop keeps them."""
    return [x for x in remains(here) if not x.startswith(("worktree", "branch"))]


def conditions(agent: Any) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in agent["conditions"]}


def let_go(here: Host, name: str) -> None:
    (Path(here.agent(name)["worktree"]) / "go").touch()


# --- tmux -----------------------------------------------------------------------------------------------------


@proves("TMUXDOWN-001", "R-37")
def test_without_tmux_a_spawn_says_what_to_install_and_leaves_nothing(here: Host, tmp_path: Path) -> None:
    for folder in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(folder).glob("*"):
            link = tmp_path / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(program)
    (tmp_path / "tmux").unlink()
    here.env["PATH"] = str(tmp_path)

    ran = here.run("spawn", "-t", "web", "--name", "a")

    assert ran.code != 0
    assert "tmux" in ran.err
    assert "install" in ran.err.lower()
    assert here.agents() == {}
    assert remains(here) == []
    here.env["PATH"] = os.environ["PATH"]
    here.ok("daemon", "stop")
    here.ok("spawn", "-t", "web", "--name", "a")


@proves("TMUXDOWN-002", "R-15", "R-16")
def test_a_stuck_tmux_changes_no_state_and_is_remarked_until_it_answers(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    before = here.agent("a")

    with frozen(tmux_server(here)):
        lost = agent_when(here, "a", lambda agent: "Unobservable" in conditions(agent))
        assert lost["lifecycle"] == "running"
        assert "tmux did not answer" in conditions(lost)["Unobservable"]
        assert answers(before["services"][0]["ports"]["http"])

    eventually(lambda: conditions(here.agent("a")) == {}, within_s=8)
    after = here.agent("a")
    assert (after["lifecycle"], after["since"]) == ("running", before["since"])
    assert (after["lifecycle"], after["generation"]) == ("running", 1)


@proves("TMUXDOWN-003", "R-16")
def test_a_spawn_before_a_stuck_tmux_fails_in_time_and_its_late_session_is_closed(here: Host) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "other")

    with frozen(tmux_server(here)):
        ran = here.run("spawn", "-t", "sleeper", "--name", "late")
        assert ran.code != 0
        assert "tmux did not answer" in ran.err
        assert settled(here, "late")["lifecycle"] == "error"
        assert here.worktrees() == [here.agent("other")["worktree"]]

    eventually(lambda: query(here, "SELECT * FROM tombstone") == [], within_s=15)
    assert len(sessions(here)) == 1
    assert here.agent("other")["lifecycle"] == "running"
    here.ok("stop", "late")
    here.ok("start", "late")


@proves("TMUXDOWN-003", "R-16")
def test_a_tmux_that_sticks_in_the_middle_of_a_spawn_leaves_nothing_when_it_answers_again(here: Host) -> None:
    # The prompt needs tmux; an assistant alone would start without it, because its pane is there already.
    command = here.start("spawn", "-t", "gated", "--name", "a", "--prompt", "hello")
    at_gate(here, "a")

    with frozen(tmux_server(here)):
        let_go(here, "a")
        _, said = command.communicate(timeout=50)
        assert command.returncode != 0
        assert "tmux did not answer" in said
        assert settled(here, "a")["lifecycle"] == "error"

    eventually(lambda: query(here, "SELECT * FROM tombstone") == [], within_s=15)
    eventually(lambda: remains(here) == [], within_s=5)


def at_gate(here: Host, name: str) -> None:
    eventually(lambda: any((path / "here").exists() for path in here.state.glob(f"worktrees/*/{name}")))


@proves("TMUXDOWN-004")
def test_a_tmux_killed_in_the_middle_of_a_spawn_takes_it_back(here: Host) -> None:
    command = here.start("spawn", "-t", "gated", "--name", "a")
    at_gate(here, "a")

    tmux_server(here).kill()
    let_go(here, "a")
    _, said = command.communicate(timeout=50)

    assert command.returncode != 0
    assert "step assistant failed" in said
    assert remains(here) == []


@proves("TMUXDOWN-004", "R-12")
def test_a_killed_tmux_is_remarked_with_a_reason_and_a_stop_releases_everything(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")

    tmux_server(here).kill()

    dead = agent_when(here, "a", lambda agent: "SessionLost" in conditions(agent))
    assert dead["lifecycle"] == "running"
    assert "session.lost" in here.ok("why", "a").out
    here.ok("stop", "a")
    assert here.agent("a")["lifecycle"] == "stopped"
    assert kept(here) == []
    here.ok("start", "a")
    assert here.agent("a")["lifecycle"] == "running"


@proves("TMUXDOWN-005", "R-18", "R-21")
def test_the_tmux_server_is_nobodys_child_and_its_socket_is_ours(here: Host) -> None:
    here.env |= {"TMUX": "/tmp/other,1,0", "TMUX_PANE": "%7"}
    here.ok("spawn", "-t", "sleeper", "--name", "a")

    server = tmux_server(here)

    assert server.ppid() == 1 or psutil.Process(server.ppid()).ppid() in (0, 1)
    assert os.getsid(server.pid) == server.pid
    assert (here.state / "tmux.sock").is_socket()
    (assistant,) = processes_of(here, here.agent("a"), part="assistant")
    assert {name for name in assistant.environ() if name in ("TMUX", "TMUX_PANE")} == set()
    assert Path(f"/proc/{server.pid}/cgroup").read_text(encoding="utf-8") == Path(
        "/proc/self/cgroup"
    ).read_text(encoding="utf-8"), "no agent has a cgroup of its own that could take the server with it"


# --- the assistant --------------------------------------------------------------------------------------------


@proves("EXIT-001", "R-37")
def test_a_missing_assistant_is_named_and_nothing_is_left(here: Host) -> None:
    here.template("missing", "envmgr: 1\nagent: {kind: command, command: [no-such-agent, x]}\n")

    ran = here.run("spawn", "-t", "missing", "--name", "a")

    assert ran.code != 0
    assert "no-such-agent" in ran.err
    assert remains(here) == []


@proves("EXIT-002", "R-14")
def test_an_assistant_that_ends_well_stops_the_agent_and_gives_everything_back(here: Host) -> None:
    here.template("ending", ENDING % "exit 0")
    here.ok("spawn", "-t", "ending", "--name", "a")

    let_go(here, "a")

    ended = agent_when(here, "a", lambda agent: agent["lifecycle"] == "stopped")
    assert "the assistant exited with status 0" in ended["reason"]
    assert kept(here) == []


@proves("EXIT-003", "R-14")
@pytest.mark.parametrize(("ends", "how"), [("exit 3", "status 3"), ("kill -9 $$$$", "signal SIGKILL")])
def test_an_assistant_that_fails_is_remarked_with_how(here: Host, ends: str, how: str) -> None:
    here.template("ending", ENDING % ends)
    here.ok("spawn", "-t", "ending", "--name", "a")

    let_go(here, "a")

    ended = agent_when(here, "a", lambda agent: "AssistantExited" in conditions(agent))
    assert conditions(ended)["AssistantExited"] == f"the assistant exited with {how}"
    assert ended["lifecycle"] == "running"
    here.ok("stop", "a")
    assert kept(here) == []


# --- the disk -------------------------------------------------------------------------------------------------


@proves("DISK-001")
def test_a_disk_that_fills_up_in_the_middle_of_a_checkout_takes_the_spawn_back(
    here: Host, tmp_path: Path
) -> None:
    (here.repo / "large").write_bytes(os.urandom(4 << 20))
    git(here.repo, "add", "large")
    git(here.repo, "commit", "-q", "-m", "large")
    here.env |= {"ENVMGR_GIT__WORKTREE_ROOT": str(tmp_path), "ENVMGR_HOST__MIN_FREE_DISK_BYTES": "0"}
    with daemon_on_small_disk(here, tmp_path) as disk:
        ran = here.run("spawn", "-t", "sleeper", "--name", "a")

        assert ran.code != 0
        assert "the disk of" in ran.err
        assert "is full" in ran.err
        assert "nothing was left behind" in ran.err
        assert remains(here) == []
        assert list(disk.rglob("large")) == []


@contextmanager
def daemon_on_small_disk(here: Host, folder: Path) -> Iterator[Path]:
    """A daemon that sees 2 MB at `folder`, in a mount namespace of its own, so that the disk goes with it."""
    enter = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    script = (
        f"mount -t tmpfs -o size=2m tmpfs {folder} && exec {sys.executable} -m envmgr.interfaces.http.daemon"
    )
    with subprocess.Popen([*enter, "sh", "-c", script], env=here.environment(), cwd="/") as daemon:
        try:
            eventually(lambda: here.daemon_pid() == daemon.pid)
            yield Path(f"/proc/{daemon.pid}/root{folder}")
        finally:
            daemon.terminate()
    assert daemon.returncode == 0
