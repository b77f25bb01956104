"""Read log files from near their end on, across rotations."""

from __future__ import annotations

import codecs
import os
from itertools import count
from pathlib import Path
from typing import BinaryIO

_CHUNK = 65536
_LINE_GUESS_BYTES = 1024


class Tail:
    """The last lines of a log, then what is added. Older lines are taken from `NAME.1`, `NAME.2` and so on."""

    def __init__(self, service: str, path: Path, lines: int) -> None:
        self.service = service
        self._path = path
        self._lines = lines
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def more(self) -> str:
        """What was written since the last call; whole lines are not guaranteed. Blocking."""
        if self._file is None:
            if not self._path.exists():
                return ""
            self._file = self._path.open("rb")
            return self._decoder.decode(self._begin(self._file))
        data = self._file.read(_CHUNK)
        if not data and (newer := self._newer(self._file)):
            data = self._file.read(_CHUNK)  # what came in before the rotation
            if not data and (following := _opened(*newer[-1])):
                self._file.close()
                self._file = following
                data = self._file.read(_CHUNK)
        return self._decoder.decode(data)

    def close(self) -> None:
        """Give the file back; harmless when repeated."""
        if self._file is not None:
            self._file.close()

    def _begin(self, file: BinaryIO) -> bytes:
        lines = _last_lines(file, self._lines)
        for number in count(1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if len(lines) >= self._lines or not older.exists():
                break
            with older.open("rb") as before:
                lines = _joined(_last_lines(before, self._lines + 1), lines)[-self._lines :]
        return b"".join(lines)

    def _newer(self, file: BinaryIO) -> list[tuple[Path, int]]:
        """Path and inode of the files that were begun after this one, youngest first."""
        here, newer = os.fstat(file.fileno()).st_ino, []
        for number in count():
            path = self._path.with_name(f"{self._path.name}.{number}") if number else self._path
            try:
                inode = path.stat().st_ino
            except FileNotFoundError:
                break
            if inode == here:
                break
            newer.append((path, inode))
        return newer


def _opened(path: Path, inode: int) -> BinaryIO | None:
    """None when a rotation has put another file there meanwhile; then the next look finds it elsewhere."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_ino == inode:
        return file
    file.close()
    return None


def _joined(older: list[bytes], newer: list[bytes]) -> list[bytes]:
    """A line that was cut by the rotation is one line."""
    if older and newer and not older[-1].endswith(b"\n"):
        return [*older[:-1], older[-1] + newer[0], *newer[1:]]
    return older + newer


def _last_lines(file: BinaryIO, wanted: int) -> list[bytes]:
    """At most so many; reads no more of a large file than it needs, and leaves the position at the end."""
    end, size = file.seek(0, os.SEEK_END), max(_CHUNK, wanted * _LINE_GUESS_BYTES)
    while True:
        start = file.seek(max(0, end - size))
        lines = file.read(end - start).splitlines(keepends=True)
        # The first one may be cut, unless it is the file's first.
        whole = lines[1:] if start else lines
        if len(whole) >= wanted or not start:
            return whole[-wanted:] if wanted else []
        size *= 4
