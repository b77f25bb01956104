"""The balancer in front of a replicated service: takes connections on its stable ports and joins them to ready instances.

Run as `python -I -S program.py FILE`. FILE is JSON and is replaced as a whole when instances come and go:

    {"listen": {"http": ["127.0.0.1", 20000]}, "backends": {"http": [["api-0", "127.0.0.1", 20001]]}}

It is looked at for each new connection, so a change counts from the next one on; connections that exist stay where they
are. Instances take turns; one that refuses is passed over. While none can be reached a connection is held for a second,
then closed. One per replicated service, so memory counts: standard library only, one thread.
"""

from __future__ import annotations

import errno
import functools
import os
import resource
import selectors
import socket
import struct
import sys
import time

if __name__ == "__main__":
    # Isolated mode knows no site-packages. Appended, so that nothing here can shadow the standard library.
    sys.path.append(os.path.abspath(f"{__file__}/../../../.."))

from envmgr.drivers.balancer.backends import Backends, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from envmgr.drivers.balancer.backends import Address

HOLD_S = 1.0
_RETRY_S = 0.05
_CONNECT_S = 2.0
_CHUNK_BYTES = 1 << 16
_BACKLOG = 512
_MOST_CONNECTIONS = 4000
_SPARE_DESCRIPTORS = 64


class Side:
    """One of the two ends of a connection. `owed` is what it still has to be sent; nobody reads for it meanwhile."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.owed = b""
        self.has_ended = False
        self.is_shut = False


class Connection:
    """A client, and as soon as one is found the instance that serves it."""

    def __init__(self, sock: socket.socket, port: str, now: float) -> None:
        self.client = Side(sock)
        self.backend: Side | None = None
        self.port = port
        self.give_up_at = now + HOLD_S
        self.next_at = now
        self.left: list[Address] = []
        self.trying: socket.socket | None = None


class Balancer:
    """Runs until it is killed; nothing in here waits for anything but the selector."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._selector = selectors.DefaultSelector()
        self._most = _most_connections()
        self._open: set[Connection] = set()
        self._seeking: set[Connection] = set()
        self._listeners = [(name, _listen(*where)) for name, where in backends.listen.items()]
        self._is_taking = False
        self._mind_room()
        say(f"balancer listens on {', '.join(f'{h}:{p}' for h, p in backends.listen.values())}")

    def run(self) -> NoReturn:
        """Serve."""
        while True:
            for key, mask in self._selector.select(self._pause_s()):
                key.data(mask)
            now = time.monotonic()
            for one in [one for one in self._seeking if one.next_at <= now]:
                if one.trying:
                    self._try_next(one)
                else:
                    self._seek(one)

    def _pause_s(self) -> float | None:
        moments = [one.next_at for one in self._seeking]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    # --- new connections ---------------------------------------------------------------------------------

    def _mind_room(self) -> None:
        """Listen, or leave newcomers in the backlog while there is no room."""
        wanted = len(self._open) < self._most
        if wanted == self._is_taking:
            return
        self._is_taking = wanted
        for name, listener in self._listeners:
            if wanted:
                take = functools.partial(self._accept, name, listener)
                self._selector.register(listener, selectors.EVENT_READ, take)
            else:
                self._selector.unregister(listener)

    def _accept(self, port: str, listener: socket.socket, _: int) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # it went away again
            return
        one = Connection(_tuned(sock), port, time.monotonic())
        self._open.add(one)
        self._seek(one)
        self._mind_room()

    def _seek(self, one: Connection) -> None:
        """Try each instance once."""
        one.left = self._backends.candidates(one.port)
        self._try_next(one)

    def _try_next(self, one: Connection) -> None:
        """Connect to the first that is left; after the last one wait a little, until the time is up."""
        self._abandon(one)
        now = time.monotonic()
        while one.left:
            _, host, port = one.left.pop(0)
            sock = _tuned(socket.socket(_family(host), socket.SOCK_STREAM))
            status = sock.connect_ex((host, port))
            if status == 0:
                self._join(one, sock)
                return
            if status == errno.EINPROGRESS:
                one.trying = sock
                one.next_at = now + _CONNECT_S
                self._seeking.add(one)
                self._selector.register(sock, selectors.EVENT_WRITE, lambda _: self._connected(one))
                return
            sock.close()
        if now >= one.give_up_at:
            self._close(one)
            return
        one.next_at = min(now + _RETRY_S, one.give_up_at)
        self._seeking.add(one)

    def _connected(self, one: Connection) -> None:
        sock = one.trying
        assert sock is not None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._try_next(one)
            return
        self._selector.unregister(sock)
        one.trying = None
        self._join(one, sock)

    def _abandon(self, one: Connection) -> None:
        self._seeking.discard(one)
        if one.trying is not None:
            self._selector.unregister(one.trying)
            one.trying.close()
            one.trying = None

    # --- joined connections ------------------------------------------------------------------------------

    def _join(self, one: Connection, sock: socket.socket) -> None:
        self._seeking.discard(one)
        one.backend = Side(sock)
        self._await(one)

    def _await(self, one: Connection) -> None:
        """Wait for just what can go on: who is owed nothing may be read for, who is owed something can be sent to."""
        assert one.backend is not None
        for side, other in ((one.client, one.backend), (one.backend, one.client)):
            reads = selectors.EVENT_READ if not side.has_ended and not other.owed else 0
            wanted = reads | (selectors.EVENT_WRITE if side.owed else 0)
            self._expect(side.sock, wanted, functools.partial(self._move, one, side, other))

    def _expect(self, sock: socket.socket, wanted: int, call: Callable[[int], None]) -> None:
        known = self._selector.get_map().get(sock)
        if known is None and wanted:
            self._selector.register(sock, wanted, call)
        elif known is not None and not wanted:
            self._selector.unregister(sock)
        elif known is not None and known.events != wanted:
            self._selector.modify(sock, wanted, call)

    def _move(self, one: Connection, side: Side, other: Side, mask: int) -> None:
        """Send what `side` is owed, take what it says; an end of one direction leaves the other open."""
        if one not in self._open:
            return  # ended by the other side's turn of the same round
        try:
            if mask & selectors.EVENT_WRITE:
                _send(side, other)
            if mask & selectors.EVENT_READ and not other.owed:
                other.owed = side.sock.recv(_CHUNK_BYTES)
                side.has_ended = not other.owed
                _send(other, side)
        except BlockingIOError:
            pass
        except OSError:
            self._reset(one)
            return
        if one.client.is_shut and side.is_shut and other.is_shut:
            self._close(one)
        else:
            self._await(one)

    def _reset(self, one: Connection) -> None:
        """What broke on one side must not look like a proper end on the other."""
        for side in (one.client, one.backend):
            if side is not None:
                side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(one)

    def _close(self, one: Connection) -> None:
        self._abandon(one)
        for side in (one.client, one.backend):
            if side is not None:
                self._expect(side.sock, 0, lambda _: None)
                side.sock.close()
        self._open.discard(one)
        self._mind_room()


def _send(side: Side, other: Side) -> None:
    """Send what is owed; once all is sent and the other has ended, say so."""
    if side.owed:
        try:
            side.owed = side.owed[side.sock.send(side.owed) :]
        except BlockingIOError:
            return
    if other.has_ended and not side.owed and not side.is_shut:
        side.is_shut = True
        side.sock.shutdown(socket.SHUT_WR)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(_family(host), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        sys.exit(f"cannot listen on {host}:{port}: {error.strerror}")
    listener.listen(_BACKLOG)
    listener.settimeout(0)
    return listener


def _tuned(sock: socket.socket) -> socket.socket:
    sock.settimeout(0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _most_connections() -> int:
    """As many as descriptors allow, two for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_CONNECTIONS + _SPARE_DESCRIPTORS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(_MOST_CONNECTIONS, (soft - _SPARE_DESCRIPTORS) // 2))


if __name__ == "__main__":
    Balancer(Backends(sys.argv[1])).run()
