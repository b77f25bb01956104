"""A stand-in for the daemon's side of hooks: an HTTP server on a Unix socket that keeps what it is told."""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One report. `payload` is whatever JSON came."""

    at: float
    path: str
    generation: int
    hook: str
    payload: Any


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    heard: list[Heard]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, _Server)
        self.server.heard.append(Heard(at=time.time(), path=self.path, **body))
        self.send_response(204)
        self.end_headers()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has named it
        """Keep quiet."""


@contextmanager
def listening(socket: Path) -> Iterator[list[Heard]]:
    """Serve `socket` while inside; its path may be as long as it likes."""
    folder = os.open(socket.parent, os.O_RDONLY)
    try:
        with _Server(f"/proc/self/fd/{folder}/{socket.name}", _Handler) as server:
            server.heard = []
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield server.heard
            finally:
                server.shutdown()
                thread.join()
    finally:
        os.close(folder)
