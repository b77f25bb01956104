"""Ask the kernel for listening TCP sockets only (sock_diag(7)).

/proc/net/tcp walks the table of all connections, which takes milliseconds however few there are; this takes microseconds, and
the owner check stands between a service's first listen() and its being ready.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_LISTEN = 1 << 10  # TCP_LISTEN as a bit of idiag_states

_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_ASK = struct.Struct("=BBBxI48x")  # inet_diag_req_v2 with an empty socket id
_ANSWER = struct.Struct("=4x2s46x16xI")  # inet_diag_msg: source port and inode
_DEADLINE_S = 1.0


def listening() -> Iterator[tuple[int, str]]:
    """Port and inode of every listening TCP socket.

    Raises:
        OSError: This kernel, or this sandbox, has no such interface.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_DEADLINE_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            ask = _ASK.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
            kernel.send(
                _HEADER.pack(_HEADER.size + len(ask), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + ask
            )
            yield from _answers(kernel)


def _answers(kernel: socket.socket) -> Iterator[tuple[int, str]]:
    while True:
        data = kernel.recv(1 << 16)
        at = 0
        while at < len(data):
            size, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", data, at + _HEADER.size)[0], "sock_diag refused")
            port, inode = _ANSWER.unpack_from(data, at + _HEADER.size)
            yield int.from_bytes(port, "big"), str(inode)
            at += (size + 3) & ~3
