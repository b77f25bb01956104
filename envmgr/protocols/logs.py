"""Log files that are rotated by size; the same for what a keeper writes and what the daemon writes for containers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from envmgr.model.service import LogPolicy


class LogWriter(Protocol):
    """One open log. All calls are blocking and short.

    Attributes:
        base: Bytes written over all rotations before the current file's first one.
    """

    base: int

    @property
    def offset(self) -> int:
        """Bytes written over all rotations."""

    @property
    def chunk_bytes(self) -> int:
        """How much to hand over at once, so that no file outgrows the limit."""

    def write(self, data: bytes) -> bool:
        """Append; returns whether the file was rotated before. Never raises and never waits for space."""

    def close(self) -> None:
        """Give the descriptor back; harmless when repeated."""


OpenLog = Callable[[Path, LogPolicy, int], LogWriter]
"""(path, policy, base): open a log to append to it."""
