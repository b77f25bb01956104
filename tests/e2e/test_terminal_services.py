"""Services at a terminal, services that find their socket open, and services that are quiet, on real agents."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.host import Host, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.survive import kill_daemon, processes_of
from tests.support.wait import eventually

# Serves on the socket that it was given, and slowly comes up: whoever connects meanwhile waits.
_SERVER = """\
import http.server, os, signal, socket, threading, time
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDNAMES"] == "http"
time.sleep(0.4)
class Pid(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Pid, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.02)
"""
_WEB = """
web:
  command: exec %s %s
  ports: {http: {listen: true}}
  ready: {http: {port: http}}
  restart: {policy: on-failure, initial: 100ms, jitter: 0}
"""
_AT_A_TERMINAL = """
dev:
  command: "stty size; test -t 0 && echo at-a-terminal; trap 'echo taken; exit 0' INT; while :; do sleep 0.1; done"
  tty: true
  stop: {keys: C-c, grace: 20s}
noise:
  command: "echo nobody-asked; exec sleep 1000"
  logs: {quiet: true}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        yield here


def _answer(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
        return str(response.read().decode())


@proves("KEEP-019")
def test_no_visitor_is_turned_away_while_a_service_that_listens_restarts(here: Host, tmp_path: Path) -> None:
    program = tmp_path / "serve.py"
    program.write_text(_SERVER)
    here.template("tried", template("tried", _WEB % (sys.executable, program)))
    here.ok("spawn", "--template", "tried", "--name", "otter")
    port = service(here, "otter", "web")["ports"]["http"]
    first = _answer(port)

    with ThreadPoolExecutor() as visitors:
        restarting = visitors.submit(here.ok, "restart", "otter", "web")
        seen = [_answer(port)]
        while not restarting.done() or seen[-1] == first:
            seen.append(_answer(port))
    assert len(set(seen)) <= 2
    assert seen[-1] != first

    os.kill(int(seen[-1]), signal.SIGKILL)
    third = _answer(port)  # nobody runs: the connection waits
    assert third not in (first, seen[-1])
    eventually(lambda: service(here, "otter", "web")["state"] == "ready")

    kill_daemon(here)
    assert _answer(port) == third
    here.ok("ls")
    here.ok("stop", "otter")


@proves("KEEP-017", "KEEP-018")
def test_a_service_at_a_terminal_takes_keys_and_a_quiet_one_is_shown_by_name_only(here: Host) -> None:
    here.template("tried", template("tried", _AT_A_TERMINAL))
    here.ok("spawn", "--template", "tried", "--name", "otter")
    eventually(lambda: "at-a-terminal" in here.ok("logs", "otter", "dev").out)

    assert here.ok("logs", "otter").out == "40 120\nat-a-terminal\n"
    assert "nobody-asked" in here.ok("logs", "otter", "noise").out
    here.ok("stop", "otter")

    assert here.ok("logs", "otter", "dev").out.endswith("taken\n")
    assert not processes_of(here, here.agent("otter"))
