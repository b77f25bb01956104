"""A door to the real engine that a test can close or jam: an engine that is down, comes back, or says nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

# The one that the tests use: `scripts/test` may have started it at an address of its own.
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
_PIECE = 65536


class Door:
    """A Unix socket in front of the engine's. `url` is what a driver is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self._flows = threading.Event()
        self._flows.set()
        self._held = self._late = b""
        self._withheld: list[threading.Event] = []
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def open(self) -> None:
        """Serve the address."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Nobody serves the address, and all connections are cut, as when the engine ends."""
        if self._listener is not None:
            _close(self._listener)
            self._listener = None
        self.path.unlink(missing_ok=True)
        cut, self._open = self._open, []
        for each in cut:
            _close(each)

    def jam(self) -> None:
        """Connections are taken, and nothing comes through."""
        self._flows.clear()

    def hold(self, words: bytes) -> None:
        """Requests with these words get no answer, ever: their connections are kept and nothing is sent on."""
        self._held = words

    def withhold(self, words: bytes) -> None:
        """Requests with these words are answered late: by `clear`."""
        self._late = words

    @property
    def is_withholding(self) -> bool:
        """Whether the engine has answered what `withhold` named."""
        return bool(self._withheld)

    def clear(self) -> None:
        """What was jammed or withheld goes on; nothing more is held."""
        self._held = self._late = b""
        self._flows.set()
        withheld, self._withheld = self._withheld, []
        for each in withheld:
            each.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                theirs = socket.socket(socket.AF_UNIX)
                theirs.connect(ENGINE.removeprefix("unix://"))
                self._open += [ours, theirs]
                asked = threading.Event()
                for copy, source, target in ((self._ask, ours, theirs), (self._answer, theirs, ours)):
                    threading.Thread(target=copy, args=(source, target, asked), daemon=True).start()

    def _answer(self, source: socket.socket, target: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                if asked.is_set():
                    asked.clear()
                    goes_on = threading.Event()
                    self._withheld.append(goes_on)
                    goes_on.wait()
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _ask(self, source: socket.socket, target: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                if self._late and self._late in data:
                    asked.set()
                if self._held and self._held in data:
                    return
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def door(path: Path) -> Iterator[Door]:
    """An open door; shut on leaving."""
    made = Door(path)
    made.open()
    try:
        yield made
    finally:
        made.clear()
        made.shut()


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
