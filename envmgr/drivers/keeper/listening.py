"""Sockets that are opened before a service and stay while it is started again (sd_listen_fds(3)).

Part of the keeper: standard library only.
"""

from __future__ import annotations

import errno
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_FIRST = 3  # SD_LISTEN_FDS_START


class Taken(Exception):
    """Somebody else listens on `port`."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port


class Sockets:
    """Listening sockets by service."""

    def __init__(self) -> None:
        self._open: dict[str, dict[tuple[str, int], socket.socket]] = {}

    def take(self, service: str, wanted: Sequence[Mapping[str, Any]]) -> list[int]:
        """Descriptors for a launch, in order; those that were open stay open, others of the service are closed."""
        before = self._open.pop(service, {})
        mine = self._open[service] = {}
        places = [(str(one["host"]), int(one["port"])) for one in wanted]
        for place, held in before.items():
            if place in places:
                mine[place] = held
            else:
                held.close()
        for place in places:
            if place not in mine:
                mine[place] = _listen(*place)
        return [mine[place].fileno() for place in places]

    def drop(self, service: str) -> None:
        """Close those of a service; harmless when it has none."""
        for held in self._open.pop(service, {}).values():
            held.close()

    def close(self) -> None:
        """Close all."""
        for service in list(self._open):
            self.drop(service)


def variables(names: Sequence[str]) -> dict[str, str]:
    """For the process that gets the sockets; only there, and only its own pid counts."""
    if not names:
        return {}
    return {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(names)),
        "LISTEN_FDNAMES": ":".join(names),
    }


def place(fds: Sequence[int]) -> None:
    """In the new process: put them where they are looked for. None of them lies in the way of another, see `above`."""
    for at, fd in enumerate(fds, _FIRST):
        os.dup2(fd, at, inheritable=True)


def above(count: int) -> int:
    """The first descriptor behind `count` sockets."""
    return _FIRST + count


def _listen(host: str, port: int) -> socket.socket:
    fresh = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        fresh.bind((host, port))
        fresh.listen(socket.SOMAXCONN)
    except OSError as error:
        fresh.close()
        if error.errno == errno.EADDRINUSE:
            raise Taken(port) from error
        raise
    return fresh
