"""Attempts to reach a service over the network, and how a blocking attempt is kept in time."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.probe import HttpProbe, TcpProbe
from envmgr.runtime.answers import Answer, Subject

_BODY_BYTES = 65536


async def guarded(call: Callable[[], Answer], timeout_s: float) -> Answer:
    """Run it in a thread; what the network raises is an answer too."""
    try:
        return await blocking.look("probe", timeout_s + 0.5, call)
    except (OSError, http.client.HTTPException, Unobservable) as error:
        return Answer(is_ready=False, why=_words(error))


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens yet"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.message if isinstance(error, EnvmgrError) else f"{type(error).__name__}: {error}"


def tcp(probe: TcpProbe, subject: Subject, timeout_s: float) -> Answer:
    """Connect. Blocking."""
    inside = subject.container
    place = inside.address(probe.port) if inside else (probe.host, subject.number(probe.port))
    socket.create_connection(place, timeout_s).close()
    return Answer(is_ready=True)


def http_get(probe: HttpProbe, subject: Subject, timeout_s: float) -> Answer:
    """GET. Blocking."""
    kind = http.client.HTTPSConnection if probe.scheme == "https" else http.client.HTTPConnection
    # A published port is fine here: an answer is more than a connection.
    is_unpublished = subject.container is not None and probe.port not in subject.ports
    host, port = probe.host, 0
    if subject.container is not None and is_unpublished:
        host, port = subject.container.address(probe.port)
    connection = kind(host, port or subject.number(probe.port), timeout=timeout_s)
    try:
        connection.request("GET", probe.path, headers={**probe.headers, "Connection": "close"})
        response = connection.getresponse()
        body = response.read(_BODY_BYTES) if probe.body is not None else b""
    finally:
        connection.close()
    return _judge(probe, response.status, body.decode("utf-8", "replace"))


def _judge(probe: HttpProbe, status: int, body: str) -> Answer:
    accepted = status in probe.status if probe.status else 200 <= status < 400
    if not accepted:
        return Answer(is_ready=False, why=f"GET {probe.path} answered {status}")
    if probe.body is not None and not re.search(probe.body, body):
        return Answer(is_ready=False, why=f"GET {probe.path}: body does not match {probe.body!r}")
    return Answer(is_ready=True)
