"""A daemon that was started from other code than the command that asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from envmgr.app import client
from envmgr.app.code import fingerprint
from envmgr.errors import Unavailable
from tests.support.requirements import proves


class Server(ThreadingUnixStreamServer):
    """A daemon's socket; `code` is the code it says it runs."""

    code = ""


class Daemon(BaseHTTPRequestHandler):
    """Knows one route."""

    server: Server

    def do_GET(self) -> None:
        known = self.path == "/api/v1/daemon"
        body = json.dumps({"code": self.server.code}).encode() if known else b"Not Found"
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ENVMGR_STATE_DIR", str(tmp_path))
    with Server(str(tmp_path / "daemon.sock"), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@proves("CLI-095")
@pytest.mark.parametrize(
    ("is_same", "said"),
    [(True, "the daemon answered 404"), (False, "the daemon that runs is of other code than this command")],
)
def test_a_route_that_the_daemon_does_not_know_is_told_with_its_cause(
    daemon: Server, *, is_same: bool, said: str
) -> None:
    daemon.code = fingerprint() if is_same else "of yesterday"

    with pytest.raises(Unavailable) as told:
        client.request("GET", "/api/v1/agents/a/new-thing")

    assert told.value.message == said
    assert ("envmgr daemon stop" in told.value.hint) is not is_same
