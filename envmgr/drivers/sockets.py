"""TCP ports of this host: whether one is free, and who listens on it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from envmgr.drivers import proc, sock_diag
from envmgr.model.observe import Absent, Present, ProcessIdentity, Seen, Unknown

_ADDRESSES = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, "0.0.0.0"),  # noqa: S104  bound to look, never served
    (socket.AF_INET6, "::1"),
    (socket.AF_INET6, "::"),
)
# A host without IPv6, or without an address of it, has nothing to collide with there.
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_REMEMBERED = 1000
_ESTABLISHED, _CLOSE_WAIT, _LISTEN = "01", "08", "0A"  # tcp_states.h


class HostSockets:
    """Ports as bind(2) and /proc/net show them. Who was found behind a socket is remembered: looking through all processes is dear."""

    def __init__(self) -> None:
        self._known: dict[str, ProcessIdentity] = {}

    def is_free(self, port: int) -> bool:
        """See `Sockets.is_free`.

        Bound without SO_REUSEADDR, so that a socket which is bound and does not listen yet counts too. Connections that
        an ended server left in TIME_WAIT do not make a port taken: they last a minute, and servers bind over them.
        """
        return _can_bind_all(port, reuse=False) or (_has_remains(port) and _can_bind_all(port, reuse=True))

    def connections(self, ports: Collection[int]) -> int:
        """See `Sockets.connections`. One whose client has said its last word still waits for the answer."""
        return sum(at in ports and state in (_ESTABLISHED, _CLOSE_WAIT) for at, state, _ in _rows())

    def listener(self, port: int) -> Seen[ProcessIdentity]:
        """See `Sockets.listener`."""
        return self.listeners((port,))[port]

    def listeners(self, ports: Sequence[int]) -> Mapping[int, Seen[ProcessIdentity]]:
        """Who listens on each of these ports, at most one pass over the processes of this user.

        Of several processes that share a listening socket the one with the lowest pid is named.
        """
        try:
            inodes = _listening(frozenset(ports))
            owners = self._owners(set(inodes))
        except OSError as error:
            return dict.fromkeys(ports, Unknown(f"cannot read /proc: {error.strerror}"))
        return {
            port: _seen([owners.get(inode) for inode, at in inodes.items() if at == port]) for port in ports
        }

    def _owners(self, inodes: set[str]) -> dict[str, ProcessIdentity]:
        """Only those who hold the very socket still are taken for its owners without a pass."""
        known = self._known
        found = {inode: known[inode] for inode in inodes & known.keys() if _holds(known[inode], inode)}
        if missing := inodes - found.keys():
            found |= _owners(missing)
        self._known = found if len(known) > _REMEMBERED else {**known, **found}
        return found


def _holds(owner: ProcessIdentity, inode: str) -> bool:
    row = proc.row(owner.pid)
    is_same = row is not None and row.start_ticks == owner.start_ticks
    return is_same and f"socket:[{inode}]" in set(_links(owner.pid))


def _can_bind_all(port: int, *, reuse: bool) -> bool:
    return all(_can_bind(family, address, port, reuse=reuse) for family, address in _ADDRESSES)


def _can_bind(family: socket.AddressFamily, address: str, port: int, *, reuse: bool) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno in _NO_SUCH_FAMILY
    return True


def _has_remains(port: int) -> bool:
    """Whether the kernel still knows connections of a server on this port, and nobody listens any more."""
    states = {state for at, state, _ in _rows() if at == port}
    return bool(states) and _LISTEN not in states


def _seen(owners: list[ProcessIdentity | None]) -> Seen[ProcessIdentity]:
    if not owners:
        return Absent()
    known = [owner for owner in owners if owner is not None]
    return (
        Present(known[0])
        if known
        else Unknown("the listener belongs to a process that cannot be looked into")
    )


def _listening(ports: frozenset[int]) -> dict[str, int]:
    """Inode of each listening socket on these ports, to its port."""
    try:
        found = list(sock_diag.listening())
    except OSError:  # some sandboxes have /proc only
        found = [(port, inode) for port, state, inode in _rows() if state == _LISTEN]
    return {inode: port for port, inode in found if port in ports}


def _rows() -> Iterator[tuple[int, str, str]]:
    """Local port, state and inode of every TCP socket that is not merely bound (proc_net_tcp.txt)."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a host without IPv6
            for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                yield int(fields[1].rpartition(":")[2], 16), fields[3], fields[9]


def _owners(inodes: set[str]) -> dict[str, ProcessIdentity]:
    """The process behind each of these sockets, as far as this user may see."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, ProcessIdentity] = {}
    boot_id = proc.boot_id()
    for pid in sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()):
        for inode in {wanted[link] for link in _links(pid) if link in wanted} - found.keys():
            if (row := proc.row(pid)) is not None:
                found[inode] = ProcessIdentity(pid=pid, start_ticks=row.start_ticks, boot_id=boot_id)
        if len(found) == len(wanted):
            break
    return found


def _links(pid: int) -> Iterable[str]:
    with contextlib.suppress(OSError):  # another user's, or gone
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(entry.path)  # noqa: PTH115  what it names is no path
