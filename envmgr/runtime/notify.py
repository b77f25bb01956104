"""The socket to which a process says that it is ready (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

from envmgr.model.probe import AllOf, AnyOf, NotifyProbe, Probe
from envmgr.model.service import ServiceSpec
from envmgr.runtime.incarnation import Incarnation

VARIABLE = "NOTIFY_SOCKET"

_MESSAGE_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")


def is_awaited(service: ServiceSpec) -> bool:
    """Whether a process service says itself when it is ready."""
    looks = [look.probe for look in (service.startup, service.ready) if look is not None]
    return service.container is None and any(_listens(look) for look in looks)


def _listens(probe: Probe) -> bool:
    match probe:
        case NotifyProbe():
            return True
        case AnyOf(probes=parts) | AllOf(probes=parts):
            return any(_listens(part) for part in parts)
    return False


def address(inc: Incarnation, unit: str) -> str:
    """As the service is told: an abstract socket, for a path may be too long for one, and leaves a file behind."""
    return f"@envmgr/{inc.tag}/{unit}"


class Notified:
    """Hears of one launch. Only words of the same user, or of root, count: anybody can send to an abstract socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket = listener
        self._is_ready = False

    def is_ready(self) -> bool:
        """Whether READY=1 was among what has come."""
        with contextlib.suppress(BlockingIOError):
            while not self._is_ready:
                self._is_ready = b"READY=1" in self._receive().splitlines()
        return self._is_ready

    def _receive(self) -> bytes:
        size = socket.CMSG_SPACE(_CREDENTIALS.size)
        data, extra, _, _ = self._socket.recvmsg(_MESSAGE_BYTES, size)
        for level, kind, content in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                _, uid, _ = _CREDENTIALS.unpack(content)
                return data if uid in (0, os.getuid()) else b""
        return b""


@contextlib.contextmanager
def listening(inc: Incarnation, service: ServiceSpec) -> Iterator[Notified | None]:
    """Listen while a service starts; None for one that is not awaited."""
    if not is_awaited(service):
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.settimeout(0)
        listener.bind("\0" + address(inc, service.name)[1:])
        yield Notified(listener)
