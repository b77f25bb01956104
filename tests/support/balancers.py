"""A balancer on its own, and small servers for it to spread connections over."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from envmgr.core.replicas import LISTENS
from envmgr.drivers.balancer import program

Serve = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Balanced:
    """A running balancer with one stable port."""

    file: Path
    port: int
    pid: int

    def backends(self, ports: Mapping[str, int]) -> None:
        """Replace the file as the daemon does."""
        write(self.file, self.port, ports)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self) -> bytes:
        """Connect and read to the end."""
        with self.connect() as sock:
            return everything(sock)

    def resident_kb(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def write(file: Path, port: int, backends: Mapping[str, int]) -> None:
    said = {
        "listen": {"http": ["127.0.0.1", port]},
        "backends": {"http": [[name, "127.0.0.1", number] for name, number in backends.items()]},
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(said), encoding="utf-8")
    fresh.rename(file)


@contextmanager
def balancer(folder: Path, **backends: int) -> Iterator[Balanced]:
    """Run one until the test is over."""
    file, port = folder / "balancer.json", free_port()
    write(file, port, backends)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", program.__file__, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(LISTENS):
                break
        yield Balanced(file, port, process.pid)
        assert process.poll() is None, "the balancer ended by itself"
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Listen on a free port and serve each connection in a thread."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threads: list[threading.Thread] = []

    def one(sock: socket.socket) -> None:
        with sock, suppress(ConnectionError):
            serve(sock)

    def run() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(sock,)))
                threads[-1].start()

    taking = threading.Thread(target=run)
    taking.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (taking, *threads):
            thread.join(10)


def says(text: bytes) -> Serve:
    """A server that says this and closes."""
    return lambda sock: sock.sendall(text)


def everything(sock: socket.socket) -> bytes:
    """Read until the other side ends."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def free_port() -> int:
    """Free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
