"""The daemon is killed, stopped, started twice: agents go on, and the next command knows all about them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.host import Host, host, new_repo
from tests.support.requirements import proves
from tests.support.survive import answers, is_alive, keeper_pid, kill_daemon, processes_of
from tests.support.wait import eventually

WEB = """
envmgr: 1
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {tcp: {port: http}, period: 500ms}
    restart: never
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("web", WEB)
        here.sleeper()
        yield here


def pids(here: Host, agent: Any) -> set[int]:
    return {p.pid for p in processes_of(here, agent)} | {keeper_pid(here, agent)}


def port(agent: Any) -> int:
    return int(agent["services"][0]["ports"]["http"])


@proves("DAEMON-001", "R-29")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_agents_go_on_without_the_daemon_and_the_next_command_adopts_them(here: Host, how: str) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    here.ok("spawn", "-t", "sleeper", "--name", "b")
    here.ok("stop", "b")
    before = here.agent("a")
    running = pids(here, before)

    daemon = kill_daemon(here) if how == "kill" else here.daemon_pid()
    if how == "stop":
        here.ok("daemon", "stop")

    assert {pid for pid in running if is_alive(pid)} == running
    assert answers(port(before))
    after = here.agent("a")
    assert here.daemon_pid() not in (None, daemon)
    assert (after["lifecycle"], after["generation"]) == ("running", 1)
    assert after["services"][0]["ports"] == before["services"][0]["ports"]
    eventually(lambda: here.agent("a")["services"][0]["state"] == "ready", within_s=3)
    assert pids(here, after) == running
    assert here.agent("b")["lifecycle"] == "stopped", "what a person stopped stays stopped"


@proves("DAEMON-002", "R-14")
def test_ends_that_nobody_saw_are_noticed_by_the_next_daemon(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "served")
    here.ok("spawn", "-t", "sleeper", "--name", "gone")
    served, gone = here.agent("served"), here.agent("gone")
    kill_daemon(here)

    (web,) = processes_of(here, served, part="service:web")
    web.kill()
    (assistant,) = processes_of(here, gone, part="assistant")
    assistant.kill()

    def noticed() -> bool:
        conditions = {c["type"]: c["reason"] for c in here.agent("served")["conditions"]}
        return "signal" in conditions.get("ServiceDown", "")

    eventually(noticed, within_s=10)
    assert here.agent("served")["lifecycle"] == "running"
    (said,) = eventually(lambda: [e["data"] for e in here.events() if e["kind"] == "assistant.exited"])
    assert "the assistant exited with signal" in said["reason"]


@proves("DAEMON-003", "R-38")
def test_thirty_first_commands_at_once_start_exactly_one_daemon(here: Host) -> None:
    commands = [here.start("ls", "--json") for _ in range(30)]
    said = [command.communicate(timeout=60) for command in commands]

    assert [command.returncode for command in commands] == [0] * 30, said
    assert [json.loads(out)["agents"] for out, _ in said] == [[]] * 30
    assert len(daemons(here)) == 1


def daemons(here: Host) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "envmgr.interfaces.http.daemon" in (process.info["cmdline"] or [])
        and process.environ().get("ENVMGR_STATE_DIR") == str(here.state)
    ]


@proves("DAEMON-003")
def test_every_command_says_that_a_stopped_daemon_does_not_answer(here: Host) -> None:
    here.ok("ls")
    pid = here.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        for words in (("ls",), ("events", "--json")):
            begun = time.monotonic()
            ran = here.run(*words)

            assert ran.code == 7
            assert f"the daemon (pid {pid}) does not answer" in ran.out + ran.err
            assert f"kill -CONT {pid}" in ran.out + ran.err
            assert time.monotonic() - begun < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    here.ok("ls")


@proves("DAEMON-003")
def test_a_second_daemon_gives_way(here: Host) -> None:
    here.ok("daemon", "start")
    first = here.daemon_pid()

    argv = [sys.executable, "-m", "envmgr.interfaces.http.daemon"]
    second = subprocess.run(argv, env=here.environment(), capture_output=True, timeout=30, check=False)

    assert second.returncode == 0
    assert here.daemon_pid() == first


@proves("DAEMON-004")
def test_a_stale_socket_and_lock_do_not_hinder(here: Host) -> None:
    here.state.mkdir(mode=0o700)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(here.state / "daemon.sock"))
    (here.state / "daemon.lock").write_text(str(os.getpid()), encoding="utf-8")

    assert here.agents() == {}

    assert here.daemon_pid() not in (None, os.getpid())


@proves("DAEMON-004")
@pytest.mark.parametrize("words", [["down"], ["daemon", "stop"]])
def test_a_command_right_after_the_end_finds_a_new_daemon(here: Host, words: list[str]) -> None:
    here.ok("daemon", "start")
    old = here.daemon_pid()

    here.ok(*words)
    assert here.agents() == {}

    assert here.daemon_pid() not in (None, old)


@proves("DAEMON-005")
def test_the_socket_and_its_folder_are_for_this_user_only(here: Host) -> None:
    here.ok("daemon", "start")

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (here.state, *here.state.iterdir())}

    assert modes["s"] == "0o700"
    assert modes["daemon.sock"] == "0o600"
    assert modes["envmgr.db"] == "0o600"


@proves("DAEMON-006")
def test_a_daemon_that_cannot_start_says_why(here: Host) -> None:
    ran = here.run("ls", env={"ENVMGR_HOST__MAX_AGENTS": "many"})

    assert ran.code != 0
    assert "max_agents" in ran.err
    assert "the daemon did not start" in ran.err


# --- events ---------------------------------------------------------------------------------------------------


@proves("DAEMON-007")
def test_events_go_on_by_number_over_a_restart_of_the_daemon(here: Host) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "a")
    before = here.events()
    kill_daemon(here)
    here.ok("stop", "a")

    fresh = here.events("--after", str(before[-1]["seq"]))

    numbers = [event["seq"] for event in (*before, *fresh)]
    assert numbers == list(range(1, numbers[-1] + 1))
    assert "agent.stopped" in [event["kind"] for event in fresh]


@proves("DAEMON-007")
def test_a_follower_catches_up_with_everything_before_it_waits(here: Host) -> None:
    here.ok("ls")
    here.ok("daemon", "stop")
    write_events(here, 1000)
    here.ok("ls")

    stream = Stream(here, after=1)
    got = [stream.next()["seq"] for _ in range(999)]
    here.ok("spawn", "-t", "sleeper", "--name", "a")
    got += [stream.next()["seq"] for _ in range(5)]
    stream.close()

    assert got == list(range(2, 1006))


@proves("DAEMON-007")
def test_a_browser_reconnects_with_its_last_event_id(here: Host) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "a")
    stream = Stream(here, after=0)
    first = [stream.next()["seq"] for _ in range(4)]
    kill_daemon(here)
    stream.drain()
    stream.close()
    here.ok("stop", "a")

    again = Stream(here, last_event_id=first[-1])
    fresh = [again.next() for _ in range(8)]
    again.close()

    assert [event["seq"] for event in fresh] == list(range(first[-1] + 1, first[-1] + 9))
    assert {stream.kind, again.kind} == {"text/event-stream; charset=utf-8"}


def write_events(here: Host, count: int) -> None:
    """As a busy past would have."""
    with closing(sqlite3.connect(here.state / "envmgr.db")) as db, db:
        rows = [(1.0, "notice", "", 0, "", "{}")] * count
        db.executemany(
            "INSERT INTO event (at, kind, agent, generation, cause, data) VALUES (?,?,?,?,?,?)", rows
        )


class Stream:
    """Server-sent events, read without any code of envmgr."""

    def __init__(self, here: Host, *, after: int | None = None, last_event_id: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(here.state / "daemon.sock"))
        where = f"/api/v1/events?follow=true{f'&after={after}' if after is not None else ''}"
        head = [f"GET {where} HTTP/1.1", "Host: envmgr", "Accept: text/event-stream"]
        head += [f"Last-Event-ID: {last_event_id}"] if last_event_id is not None else []
        self._socket.sendall("\r\n".join([*head, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        headers = iter(self._file.readline, b"\r\n")
        self.kind = next(
            line.split(b": ")[1].strip().decode() for line in headers if line.startswith(b"content-type")
        )

    def next(self) -> Any:
        number = ""
        while line := self._file.readline():
            if line.startswith(b"id: "):
                number = line[4:].strip().decode()
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert number == str(event["seq"])
                return event
        raise AssertionError("the stream is over")

    def drain(self) -> None:
        """To its end, which comes with the daemon's."""
        self._file.read()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@proves("DAEMON-008")
def test_a_daemon_whose_state_folder_is_deleted_ends_by_itself() -> None:
    folder = Path(tempfile.mkdtemp(prefix="eg-"))
    gone = Host(state=folder / "s", repo=new_repo(folder / "repo"))
    gone.ok("daemon", "start")
    pid = gone.daemon_pid()
    assert pid is not None

    shutil.rmtree(folder)

    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", within_s=20)
