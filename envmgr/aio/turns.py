"""One at a time per name, for work that must not meet itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """Locks by name; those that nobody wants are forgotten."""

    def __init__(self) -> None:
        self._locks: dict[str, anyio.Lock] = {}
        self._wanted: dict[str, int] = {}

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn, in the order of asking. Not to be nested for one name."""
        lock = self._locks.setdefault(name, anyio.Lock())
        self._wanted[name] = self._wanted.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._locks[name]
