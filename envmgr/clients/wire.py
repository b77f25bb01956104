"""HTTP/1.1 to one address, over TCP or a Unix socket, with connections that are used again. Standard library only."""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from envmgr.errors import UsageError

_FRESH_S = 4.0  # the daemon closes connections that were idle for 5 s
_MOST_IDLE = 16


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("envmgr", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(slots=True)
class Reply:
    """An answer whose body is not read yet; hand it to `Wire.done`, or close it."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    @property
    def status(self) -> int:
        """Of HTTP."""
        return self.response.status

    def close(self) -> None:
        """Drop the connection: the daemon sees that nobody waits any more."""
        self.response.close()
        self.connection.close()


class Wire:
    """Connections to `http://...`, `https://...` or `unix:PATH`. May be used by several threads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else ""
        self._url = urlsplit(address)
        if not self._path and (self._url.scheme not in ("http", "https") or not self._url.hostname):
            raise UsageError(
                f"{address!r} is no address", hint="Use http://HOST:PORT, https://HOST or unix:PATH."
            )
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    @property
    def prefix(self) -> str:
        """Path below which the daemon is, where a reverse proxy says so."""
        return "" if self._path else self._url.path.rstrip("/")

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        is_patient: bool = False,
    ) -> Reply:
        """Send a request and wait for the head of its answer, if patient for ever. Raises OSError or HTTPException."""
        connection = self._take() or self._new(timeout_s)
        try:
            if connection.sock is None:
                connection.timeout = timeout_s
                connection.connect()
            connection.sock.settimeout(timeout_s)
            connection.request(method, self.prefix + path, body=body, headers=dict(headers))
            if is_patient:
                connection.sock.settimeout(None)
            return Reply(connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def done(self, reply: Reply) -> bytes:
        """Read the rest of the answer and keep the connection for the next request."""
        body = reply.response.read()
        if reply.response.will_close:
            reply.close()
            return body
        with self._lock:
            self._idle.append((time.monotonic(), reply.connection))
            surplus = [connection for _, connection in self._idle[:-_MOST_IDLE]]
            self._idle = self._idle[-_MOST_IDLE:]
        for connection in surplus:
            connection.close()
        return body

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        """An idle connection that still stands."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            # What can be read of an idle connection is its end.
            is_over = connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])
            if not is_over and time.monotonic() - since < _FRESH_S:
                return connection
            connection.close()

    def _new(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._path:
            return _UnixConnection(self._path, timeout_s)
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        return kind(self._url.hostname or "", self._url.port, timeout=timeout_s)
