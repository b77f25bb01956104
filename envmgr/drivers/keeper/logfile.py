"""A service's output on disk: raw bytes, rotated by size, never an obstacle to the writer.

Part of the keeper: standard library only. Old files are renamed, not compressed: packing 10 MB would hold up every
service's output, and a reader can follow plain files over a rotation.
"""

from __future__ import annotations

import contextlib
import os
from itertools import pairwise


class LogFile:
    """`path`, and behind it `path.1` (youngest) to `path.<keep>`.

    Attributes:
        base: Bytes written over all rotations before the current file's first one.
        dropped_bytes: What could not be written, such as on a full disk.
    """

    def __init__(self, path: str, *, max_bytes: int, keep: int, base: int) -> None:
        self.path, self.base, self.dropped_bytes = path, base, 0
        self._max_bytes, self._keep = max(1, max_bytes), max(0, keep)
        self._fd = self._open()

    @property
    def offset(self) -> int:
        """Bytes written over all rotations."""
        return self.base + self._size

    @property
    def chunk_bytes(self) -> int:
        """How much to hand over at once, so that no file outgrows the limit."""
        return min(1 << 16, self._max_bytes)

    def write(self, data: bytes) -> bool:
        """Append; returns whether the file was rotated before. Never raises and never waits for space."""
        rotated = bool(self._size) and self._size + len(data) > self._max_bytes
        if rotated:
            self._rotate()
        written = 0
        with contextlib.suppress(OSError):
            while written < len(data):
                written += os.write(self._fd, data[written:])
        self._size += written
        self.dropped_bytes += len(data) - written
        return rotated

    def close(self) -> None:
        """Give the descriptor back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        # Append mode: a person may truncate the file with `> file` and no hole appears.
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(fd).st_size
        return fd

    def _rotate(self) -> None:
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, self._keep + 1))]
        try:
            for old, new in reversed(list(pairwise(names))):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(old, new)
            if not self._keep:
                os.truncate(self.path, 0)
            begun, before = self._fd, self.offset
            self._fd = self._open()
            os.close(begun)
        except OSError:
            return  # no room or no right to rotate: going on in the old file loses nothing
        self.base = before
