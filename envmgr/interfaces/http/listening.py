"""Where the daemon listens."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

from envmgr.errors import Unavailable

log = logging.getLogger(__name__)

_BACKLOG = 256
_LONGEST = 100  # bytes; unix(7) has 108, and tmux wants some of them for its lock


def on_socket(path: Path) -> socket.socket:
    """A fresh Unix socket, mode 0600; a stale one is replaced, which is safe because we hold the lock."""
    if len(os.fsencode(path)) > _LONGEST:
        raise Unavailable(
            f"the socket path {path} is too long", hint="Set ENVMGR_STATE_DIR to a shorter folder."
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(_BACKLOG)
    return listener


def on_tcp(where: str) -> socket.socket | None:
    """`HOST:PORT`. None when that cannot be had: agents need the daemon more than programs need this door."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said aloud, because asyncio switches Nagle's algorithm off only then, and with it an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A daemon that starts again takes its port at once; connections of the one before may linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        log.warning("no HTTP on TCP", extra={"listen": where, "why": error.strerror})
        return None
    log.info("HTTP on TCP", extra={"listen": where})
    return listener
