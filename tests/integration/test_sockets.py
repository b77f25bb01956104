"""Whether a port is free, and who listens on it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from envmgr.drivers.sockets import HostSockets
from envmgr.model.observe import Absent, Present, Unknown
from tests.support.keepers import py
from tests.support.requirements import proves

sockets = HostSockets()


@pytest.fixture
def port() -> int:
    """A port nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    return int(number)


@proves("SOCK-001", "R-32")
def test_a_port_nobody_has_is_free_and_stays_so_after_asking(port: int) -> None:
    assert sockets.is_free(port)
    assert sockets.is_free(port)

    with socket.create_server(("127.0.0.1", port)):
        pass


@proves("SOCK-001", "R-32")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_port_bound_on_any_address_is_taken(port: int, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as other:
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind((address, port))

        assert not sockets.is_free(port)


@proves("SOCK-001")
def test_a_port_bound_with_reuse_that_does_not_listen_yet_is_taken(port: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))

        assert not sockets.is_free(port)


@proves("SOCK-002")
def test_connections_that_an_ended_server_left_behind_do_not_take_its_port(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = server.accept()
            served.close()  # the side that closes first keeps the connection in TIME_WAIT
            assert client.recv(1) == b""
        assert not sockets.is_free(port)

    with socket.socket() as strict, pytest.raises(OSError, match="in use"):
        strict.bind(("127.0.0.1", port))
    assert sockets.is_free(port)


@contextmanager
def server_at(port: int) -> Iterator[int]:
    """Pid of another process that listens there."""
    script = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print(flush=True); input()"
    )
    with subprocess.Popen(py(script, str(port)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        yield server.pid
        server.communicate(b"\n")


@proves("SOCK-003")
def test_the_listener_is_named_by_its_identity(port: int) -> None:
    with server_at(port) as pid:
        seen = sockets.listeners((port, 1))

    listener = seen[port]
    assert isinstance(listener, Present)
    assert listener.value.pid == pid
    assert seen[1] == Absent()


@proves("SOCK-003", "PROBE-004")
def test_who_takes_the_place_of_a_listener_is_not_taken_for_it(port: int) -> None:
    for _ in range(2):
        with server_at(port) as pid:
            first, second = sockets.listener(port), sockets.listener(port)
            assert isinstance(first, Present)
            assert first.value.pid == pid
            assert first == second
    with socket.create_server(("127.0.0.1", port)):
        mine = sockets.listener(port)
    assert isinstance(mine, Present)
    assert mine.value.pid == os.getpid()


@proves("SOCK-003")
def test_nobody_listens_on_a_port_that_is_only_bound_or_connected(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", port))
        assert sockets.listener(port) == Absent()
        client.connect(server.getsockname())
        assert sockets.listener(port) == Absent()


@proves("SOCK-003")
def test_a_listener_whose_owner_cannot_be_seen_is_unknown(port: int) -> None:
    # A socket that is on its way over another socket belongs to no process's descriptor table.
    with socket.create_server(("127.0.0.1", port)) as server:
        ours, theirs = socket.socketpair()
        socket.send_fds(ours, [b"x"], [server.fileno()])
    with ours, theirs:
        assert isinstance(sockets.listener(port), Unknown)
