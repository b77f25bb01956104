"""`attach`, `send` and `exec`: a person in the agent's place."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_SHELL = """\
envmgr: 1
secrets:
  API_TOKEN: {from: env, name: MY_TOKEN}
services:
  chatter:
    command: "echo chatter-says-hello; exec sleep 1000"
    ports: [tcp]
env: {FLAVOUR: vanilla}
agent:
  kind: command
  command: [sh]
  env: {PS1: "agent> "}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host(MY_TOKEN="very-secret-value") as here:
        here.template("talk", _SHELL)
        here.ok("spawn", "-t", "talk", "--name", "otter")
        yield here


@dataclass(frozen=True)
class Screen:
    """A person's terminal: one pane of a tmux server of its own, in which one command runs."""

    socket: Path

    def tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True, timeout=10, check=True
        ).stdout

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "0")

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "0", *keys)

    def was_left(self) -> bool:
        """Whether the command has ended well and given the terminal back."""
        text = self.text()
        assert "left with 0" in text, text
        return True


@contextmanager
def terminal(here: Host, *args: str) -> Iterator[Screen]:
    folder = Path(tempfile.mkdtemp(prefix="et-"))
    screen = Screen(socket=folder / "s")
    tmux = ["tmux", "-f", "/dev/null", "-S", str(screen.socket), "new-session", "-d", "-x", "100", "-y", "30"]
    envmgr = shlex.join([sys.executable, "-m", "envmgr", *args])
    subprocess.run(
        [*tmux, f"{envmgr}; echo left with $?; exec cat"],
        cwd=here.repo, env=here.environment(TERM="xterm-256color"), check=True, timeout=10,
    )  # fmt: skip
    try:
        yield screen
    finally:
        screen.tmux("kill-server")
        shutil.rmtree(folder)


@proves("CLI-040")
@pytest.mark.parametrize("key", ["C-]", "F10"])
def test_attach_shows_the_agents_screen_takes_keys_and_leaves_it_running(shared: Host, key: str) -> None:
    word = f"typed-{key[-1]}".replace("]", "x")
    with terminal(shared, "attach", "otter") as screen:
        eventually(lambda: "agent>" in screen.text())
        screen.type(f"echo {word}-$((40 + 2))", "Enter")
        eventually(lambda: f"{word}-42" in screen.text())
        screen.type(key)
        eventually(screen.was_left)

    assert shared.agent("otter")["lifecycle"] == "running"
    assert f"{word}-42" in shared.ok("logs", "otter", "agent").out


@proves("CLI-041")
def test_the_services_window_shows_what_services_write(shared: Host) -> None:
    with terminal(shared, "attach", "otter", "--window", "services") as screen:
        eventually(lambda: "chatter-says-hello" in screen.text())
        screen.type("C-]")
        eventually(screen.was_left)


@proves("CLI-048")
def test_the_monitor_window_follows_events_on_demand(shared: Host) -> None:
    with terminal(shared, "attach", "otter", "--window", "monitor") as screen:
        eventually(lambda: "Press Enter to follow the events of otter." in screen.text())
        screen.type("Enter")
        eventually(lambda: "agent.running" in screen.text())
        screen.type("C-]")
        eventually(screen.was_left)


@proves("CLI-042")
def test_attach_without_terminal_or_window_or_session_says_what_to_do(shared: Host) -> None:
    shared.ok("spawn", "-t", "shell", "--name", "gone")
    shared.ok("stop", "gone")

    no_terminal, no_window = shared.run("attach", "otter"), shared.run("attach", "otter", "-w", "kitchen")
    no_session = shared.run("attach", "gone")

    assert (no_terminal.code, no_window.code, no_session.code) == (2, 2, 5)
    assert "attach needs a terminal" in no_terminal.err
    assert "Use agent, services or monitor." in no_window.err
    assert "envmgr start gone" in no_session.err


@proves("CLI-043")
def test_send_types_a_prompt_and_refuses_those_who_cannot_hear(shared: Host) -> None:
    shared.ok("spawn", "-t", "shell", "--name", "deaf")
    shared.ok("stop", "deaf")

    assert shared.ok("send", "otter", "echo heard-$((1 + 1))").out == "otter took the prompt\n"
    shared.ok("send", "otter", "-", stdin="echo piped-$((1 + 2))")
    stopped, empty = shared.run("send", "deaf", "echo x"), shared.run("send", "otter", "-", stdin="  \n")

    eventually(lambda: "heard-2" in shared.ok("logs", "otter", "agent").out)
    eventually(lambda: "piped-3" in shared.ok("logs", "otter", "agent").out)
    assert (stopped.code, empty.code) == (5, 2)
    assert "envmgr start deaf" in stopped.err
    assert "the prompt is empty" in empty.err


@proves("CLI-044")
def test_exec_runs_in_the_worktree_with_the_whole_environment(shared: Host) -> None:
    show = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"
    where, env = json.loads(shared.ok("exec", "otter", "--", "python3", "-c", show).out)
    masked = shared.ok("env", "otter", "--json").json["env"]

    assert where == str(Path(shared.agent("otter")["worktree"]).resolve())
    assert env["FLAVOUR"] == "vanilla"
    assert env["API_TOKEN"] == "very-secret-value"
    assert env["CHATTER_TCP_PORT"] == str(shared.agent("otter")["services"][0]["ports"]["tcp"])
    assert set(masked) - set(env) == set()


@proves("CLI-045")
@pytest.mark.parametrize("status", [0, 1, 7, 126])
def test_exec_passes_arguments_input_and_exit_status_on(shared: Host, status: int) -> None:
    script = f'cat; printf "[%s]" "$@"; exit {status}'
    ran = shared.run(
        "exec", "otter", "--", "sh", "-c", script, "sh", "--json", "a b", "-x", stdin="from stdin "
    )

    assert ran.code == status
    assert ran.out == "from stdin [--json][a b][-x]"


@proves("CLI-045")
def test_exec_is_the_command_itself_so_that_signals_reach_it(shared: Host) -> None:
    running = shared.start("exec", "otter", "--", "sleep", "1000")
    eventually(lambda: psutil.Process(running.pid).cmdline() == ["sleep", "1000"])

    os.kill(running.pid, signal.SIGINT)

    running.communicate(timeout=10)
    assert running.returncode == -signal.SIGINT


@proves("CLI-046")
def test_what_people_execute_ends_with_the_agent(shared: Host) -> None:
    shared.ok("spawn", "-t", "shell", "--name", "host")
    running = shared.start("exec", "host", "--", "sleep", "1000")
    eventually(lambda: psutil.Process(running.pid).cmdline() == ["sleep", "1000"])

    shared.ok("stop", "host")

    running.communicate(timeout=10)
    assert running.returncode == -signal.SIGHUP


@proves("CLI-047")
def test_exec_of_a_program_that_is_not_there_says_so(shared: Host) -> None:
    ran = shared.run("exec", "otter", "--", "no-such-program")

    assert ran.code == 7
    assert "cannot execute no-such-program: No such file or directory" in ran.err


_HOOKED = """\
envmgr: 1
hooks:
  on_attach:
    - 'echo "$FLAVOUR" >> tasted'
    - exit 3
    - {command: sleep 60, timeout: 200ms}
env: {FLAVOUR: plum}
agent:
  kind: command
  command: [sh]
  env: {PS1: "agent> "}
"""


@proves("CLI-049")
def test_hooks_run_when_a_person_attaches_and_what_fails_is_told_and_keeps_nobody_out(shared: Host) -> None:
    shared.template("hooked", _HOOKED)
    shared.ok("spawn", "-t", "hooked", "--name", "stoat")
    tasted = Path(shared.agent("stoat")["worktree"]) / "tasted"
    assert not tasted.exists()

    with terminal(shared, "attach", "stoat") as screen:
        eventually(lambda: "on_attach command `exit 3` exited with 3" in screen.text())
        assert tasted.read_text() == "plum\n"
        screen.type("echo still-$((40 + 2))", "Enter")
        eventually(lambda: "still-42" in screen.text())
        screen.type("C-]")
        eventually(screen.was_left)

    notes = [event["data"]["text"] for event in shared.events() if event["kind"] == "notice"]
    assert [note.split("`")[1] for note in notes] == ["exit 3", "sleep 60"]


@proves("ATTACH-001")
def test_a_person_in_an_agent_that_is_stopped_is_told_so(shared: Host) -> None:
    shared.ok("spawn", "-t", "talk", "--name", "brief")
    with terminal(shared, "attach", "brief") as screen:
        eventually(lambda: "agent>" in screen.text())

        shared.ok("stop", "brief")

        eventually(screen.was_left)
        assert "brief is stop" in screen.text()
