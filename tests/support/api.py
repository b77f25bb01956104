"""A host whose daemon answers on TCP, too."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.host import Host, host

EVERYTHING = "read,operate,locks,work,handoffs,sessions,memory,audit"
"""Scopes with which a key can do anything but remove things and end the daemon."""


@dataclass(frozen=True)
class Api:
    """Where it answers, and to whom."""

    here: Host
    url: str

    @property
    def socket(self) -> str:
        """The other door."""
        return f"unix:{self.here.state / 'daemon.sock'}"

    def key(self, name: str, scopes: str = EVERYTHING) -> str:
        """A new one."""
        made = self.here.ok("key", "create", name, "--scopes", scopes, "--json").json
        return str(made["key"])


@contextmanager
def api(**env: str) -> Iterator[Api]:
    """A daemon on a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    with host(ENVMGR_HTTP__LISTEN=where, **env) as here:
        here.ok("daemon", "start")
        yield Api(here, f"http://{where}")
