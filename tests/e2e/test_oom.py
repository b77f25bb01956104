"""When the machine's memory runs out: services go first, then assistants, then what people started; who supervises stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import keeper_pid, kill_daemon, processes_of, tmux, tmux_processes, tmux_server
from tests.support.wait import eventually

_TEMPLATE = """\
envmgr: 1
name: t
workspace: {setup: ['cat /proc/self/oom_score_adj > setup.score']}
hooks: {on_start: ['cat /proc/self/oom_score_adj > hook.score']}
secrets: {TOKEN: {from: command, command: 'cat /proc/self/oom_score_adj'}}
services:
  api: {command: [sleep, '601'], env: {TOKEN: '${secrets.TOKEN}'}}
agent: {kind: command, command: [sleep, '1000']}
"""
_TRY = (
    "import pathlib; f = pathlib.Path('/proc/self/oom_score_adj'); f.write_text('-900'); print(f.read_text())"
)


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.template("t", _TEMPLATE)
        git(made.repo, "add", "-A")
        made.ok("spawn", "-t", "t", "--name", "otter")
        yield made


def _shielded() -> int:
    """The score that this user may give to who supervises."""
    tried = subprocess.run([sys.executable, "-c", _TRY], capture_output=True, text=True, check=False)
    return -900 if tried.returncode == 0 else 0


def _score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@proves("PREVENT-008", "R-36")
def test_daemon_keeper_and_terminal_server_stay_as_far_as_allowed(here: Host) -> None:
    daemon, keeper = here.daemon_pid(), keeper_pid(here, here.agent("otter"))
    assert daemon is not None

    assert {_score(daemon), _score(keeper)} == {_shielded()}
    eventually(lambda: _score(tmux_server(here).pid) == _shielded())


@proves("PREVENT-008")
def test_nothing_that_they_start_inherits_it(here: Host) -> None:
    agent = here.agent("otter")
    worktree = Path(agent["worktree"])
    by_command = {" ".join(process.cmdline()): _score(process.pid) for process in processes_of(here, agent)}

    assert by_command["sleep 601"] == 300
    assert by_command["sleep 1000"] == 200
    assert (worktree / "setup.score").read_text() == "0\n"
    assert (worktree / "hook.score").read_text() == "0\n"
    (api,) = (p for p in processes_of(here, agent) if p.cmdline() == ["sleep", "601"])
    assert api.environ()["TOKEN"] == "0"


@proves("PREVENT-008")
def test_windows_of_people_and_viewers_are_as_usual(here: Host) -> None:
    session = tmux(here, "list-sessions", "-F", "#{session_name}").splitlines()[-1]
    tmux(here, "new-window", "-t", f"{session}:")

    def programs() -> list[psutil.Process]:
        pids = [int(pid) for pid in tmux(here, "list-panes", "-a", "-F", "#{pane_pid}").split()]
        return [psutil.Process(pid) for pid in pids if pid]

    def are_usual() -> bool:
        # What a pane holds that has nothing to show is the server's own.
        shown = [p for p in programs() if p.cmdline()[:2] != ["sleep", "2147483647"]]
        return len(shown) >= 4 and all(_score(p.pid) >= 0 for p in shown)

    eventually(are_usual)


@proves("PREVENT-008")
def test_the_next_daemon_stays_too_and_so_does_the_server_it_finds(here: Host) -> None:
    server = tmux_server(here).pid
    kill_daemon(here)

    here.ok("ls")

    daemon = here.daemon_pid()
    assert daemon is not None
    assert _score(daemon) == _shielded()
    eventually(lambda: _score(server) == _shielded())
    assert all(_score(p.pid) in (0, _shielded()) for p in tmux_processes(here))


@proves("PREVENT-008")
def test_doctor_tells_whether_it_is_allowed(here: Host) -> None:
    (check,) = (c for c in here.run("doctor", "--json").json["checks"] if c["check"] == "out of memory")

    assert check["ok"] is True
    words = "the supervisor stays (score -900)" if _shielded() else "the supervisor is not shielded"
    assert words in check["found"]
