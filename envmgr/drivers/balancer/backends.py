"""The file that tells a balancer where to listen and which instances are ready.

Part of the balancer: standard library only.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Address = tuple[str, str, int]
    """Name of the instance, host, port."""


class Backends:
    """The file, read again when it was replaced; what cannot be read leaves the last word standing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = (0, 0)
        self._turn = 0
        self._known: dict[str, list[Address]] = {}
        self.listen: dict[str, tuple[str, int]] = {}
        self._read()

    def candidates(self, port: str) -> list[Address]:
        """The instances to try for one connection, in the order of trying."""
        if self._stamp() != self._seen:
            try:
                self._read()
            except (OSError, ValueError, KeyError, TypeError) as error:
                say(f"{self._path} not read: {error}")
        here = self._known.get(port, [])
        self._turn += 1
        first = self._turn % len(here) if here else 0
        return here[first:] + here[:first]

    def _stamp(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return self._seen
        return found.st_mtime_ns, found.st_ino

    def _read(self) -> None:
        self._seen = self._stamp()
        with open(self._path, encoding="utf-8") as file:
            said = json.load(file)
        self.listen = {name: (host, port) for name, (host, port) in said["listen"].items()}
        self._known = {
            name: [(who, host, port) for who, host, port in found] for name, found in said["backends"].items()
        }
        names = sorted({who for found in self._known.values() for who, _, _ in found})
        say(f"ready: {', '.join(names) or 'none'}")


def say(text: str) -> None:
    """One line of the log."""
    os.write(1, f"{text}\n".encode())
