"""When the Python client sends again, and when it must not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from envmgr.clients import Client
from envmgr.clients.client import NobodyListens
from envmgr.errors import BudgetExhausted, EnvmgrError, Unavailable, UsageError
from tests.support.requirements import proves

# Any throughout: JSON documents.


class Daemon(ThreadingHTTPServer):
    """Answers as it is told, one word per request: `ok`, `drop`, `mute`, `last` (and closes), or an error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[str | EnvmgrError] = []
        self.asked: list[Any] = []
        self.over, self.closed = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.set()

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Daemon
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(json.loads(body or b"{}"))
        what = self.server.script.pop(0)
        if what == "drop":
            self.close_connection = True
            return
        if what == "mute":
            self.server.over.wait(30)
            return
        status, said = (what.http, what.problem()) if isinstance(what, EnvmgrError) else (200, {"ok": True})
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = what == "last"  # without having said so, as a daemon that ends

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


AWAY = Unavailable("away")
BUSY = BudgetExhausted("busy", details={"retry_after_s": 0.01})


@proves("HTTP-009")
@pytest.mark.parametrize("trouble", [AWAY, BUSY, "drop"], ids=["503", "429", "lost"])
def test_what_only_reads_is_asked_again(daemon: Daemon, trouble: Any) -> None:
    daemon.script = [trouble, trouble, "ok"]

    with Client(daemon.url, key="k") as client:
        answer: Any = client.agent_list()

    assert answer == {"ok": True}
    assert len(daemon.asked) == 3


@proves("HTTP-009")
@pytest.mark.parametrize("trouble", [AWAY, "drop"], ids=["503", "lost"])
def test_what_changes_something_is_not_sent_twice(daemon: Daemon, trouble: Any) -> None:
    daemon.script = [trouble, "ok"]

    with Client(daemon.url, key="k") as client, pytest.raises(Unavailable):
        client.agent_stop(agents=["a"])

    assert daemon.asked == [{"agents": ["a"]}]


@proves("HTTP-009")
def test_what_was_certainly_not_done_is_sent_again(daemon: Daemon) -> None:
    daemon.script = [BUSY, "ok"]

    with Client(daemon.url, key="k") as client:
        client.agent_stop(agents=["a"])

    assert len(daemon.asked) == 2


@proves("HTTP-009")
def test_a_submission_is_sent_again_under_the_same_key(daemon: Daemon) -> None:
    daemon.script = ["drop", AWAY, "ok"]

    with Client(daemon.url, key="k") as client:
        client.submit_work(description="x")

    assert len(daemon.asked) == 3
    assert len({asked["idempotency_key"] for asked in daemon.asked}) == 1


@proves("HTTP-009")
def test_a_connection_that_the_daemon_has_closed_is_not_used_again(daemon: Daemon) -> None:
    daemon.script = ["ok", "last", "ok"]

    with Client(daemon.url, key="k", retries=0) as client:
        client.agent_stop(agents=["a"])
        client.agent_stop(agents=["a"])
        assert daemon.closed.wait(10)
        client.agent_stop(agents=["a"])

    assert len(daemon.asked) == 3


@proves("HTTP-009")
def test_tries_and_time_have_an_end(daemon: Daemon) -> None:
    daemon.script = [AWAY, AWAY, "mute"]

    with Client(daemon.url, key="k", retries=1) as client, pytest.raises(Unavailable, match="away"):
        client.agent_list()
    begun = time.monotonic()
    with (
        Client(daemon.url, key="k", retries=0, timeout_s=0.2) as client,
        pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"),
    ):
        client.agent_list()

    assert time.monotonic() - begun < 5


@proves("HTTP-009")
def test_where_nobody_listens_and_what_is_no_address_is_told() -> None:
    with Client("unix:/nowhere/daemon.sock", retries=0) as client, pytest.raises(NobodyListens):
        client.agent_list()
    for wrong in ("localhost:8750", "ftp://host", "http://"):
        with pytest.raises(UsageError, match="is no address"):
            Client(wrong)
