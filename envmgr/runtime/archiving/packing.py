"""Write the files of an entry: compressed, values of secrets masked, for their owner only. Everything here blocks."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from envmgr.core.masking import masked, masked_stream, stripped
from envmgr.runtime.archiving.manifest import Missing, Recording

_CHUNK_BYTES = 1 << 18
_LEVEL = 6
MOST_BYTES = 32 << 20
"""Of one log; the newest are kept."""

Mark = tuple[int, int]
"""Inode and size of a log's current file: how far it has been kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log to be kept.

    Attributes:
        begin: Where what belongs to this entry begins; None for everything there is.
    """

    subject: str
    path: Path
    kind: str = "log"
    begin: Mark | None = None


class OutOfTime(Exception):
    """There is no time left for this."""


@dataclass(slots=True, kw_only=True)
class Packer:
    """One entry under way.

    Attributes:
        secrets: Values that must not appear in it.
        until: On the monotonic clock; what has not been packed by then is named as missing.
    """

    folder: Path
    secrets: Sequence[str]
    until: float
    recordings: list[Recording] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def lack(self, part: str, why: str) -> None:
        """Say what is not there."""
        self.missing.append(Missing(part=part, why=masked(why, self.secrets)))

    def log(self, log: Log) -> None:
        """All that was written since `begin`, rotated files too, oldest first."""
        name = f"{'logs' if log.kind == 'log' else 'screens'}/{log.subject}.gz"
        try:
            pieces, left_out = _pieces(log)
            if not pieces:
                return
            with self._open(name) as target:
                segments, total = self._pack(pieces, target)
        except (OSError, OutOfTime) as error:
            (self.folder / name).unlink(missing_ok=True)
            self.lack(f"{log.kind} {log.subject}", _why(error))
            return
        recording = Recording(
            kind=log.kind,
            subject=log.subject,
            file=name,
            bytes=total,
            segments=tuple(segments),
            left_out_bytes=left_out,
        )
        self.recordings.append(recording)

    def lines(self, name: str, values: Iterable[object]) -> None:
        """One JSON object per line, compressed."""
        with self._open(name) as target:
            for value in values:
                target.write(json.dumps(stripped(value, self.secrets), default=str).encode() + b"\n")

    def json(self, name: str, value: object) -> None:
        """Readable JSON."""
        self._write(name, json.dumps(stripped(value, self.secrets), indent=1, default=str) + "\n")

    def text(self, name: str, text: str) -> None:
        """As it is, but for secrets."""
        self._write(name, masked(text, self.secrets))

    def _write(self, name: str, text: str) -> None:
        path = self._place(name)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))

    def _pack(
        self, pieces: Sequence[tuple[Path, int]], target: gzip.GzipFile
    ) -> tuple[list[dict[str, object]], int]:
        segments, total = [], 0
        for path, start in pieces:
            begun = total
            for data in masked_stream(_chunks(path, start), self.secrets):
                if time.monotonic() > self.until:
                    raise OutOfTime
                target.write(data)
                total += len(data)
            segments.append({"offset": begun, "bytes": total - begun, "source": path.name})
        return segments, total

    def _place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @contextmanager
    def _open(self, name: str) -> Iterator[gzip.GzipFile]:
        fd = os.open(self._place(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed:
            yield packed


def mark(log: Path) -> Mark:
    """How far a log goes now; blocking."""
    found = log.stat()
    return found.st_ino, found.st_size


def finish(folder: Path, target: Path) -> None:
    """Make everything durable, then give the entry its name: it is there as a whole or not at all."""
    for place, _, names in os.walk(folder):
        for name in names:
            _sync(Path(place, name))
        _sync(Path(place))
    folder.rename(target)
    _sync(target.parent)


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(Path(place, name).stat().st_size for place, _, names in os.walk(folder) for name in names)


def _pieces(log: Log) -> tuple[list[tuple[Path, int]], int]:
    """Files, oldest first, each with where to begin in it; and how many bytes are left out at the front."""
    files: list[tuple[Path, os.stat_result]] = []
    for number in count():
        path = log.path.with_name(f"{log.path.name}.{number}") if number else log.path
        if not path.is_file():
            break
        files.insert(0, (path, path.stat()))
    inodes = [found.st_ino for _, found in files]
    starts = [0] * len(files)
    if log.begin is not None and log.begin[0] in inodes:
        first = inodes.index(log.begin[0])
        files, starts = files[first:], starts[first:]
        if log.begin[1] <= files[0][1].st_size:  # else it was emptied by hand
            starts[0] = log.begin[1]
    sizes = [found.st_size - start for (_, found), start in zip(files, starts, strict=True)]
    too_many = left_out = max(0, sum(sizes) - MOST_BYTES)
    pieces = []
    for (path, _), start, size in zip(files, starts, sizes, strict=True):
        skipped = min(size, too_many)
        too_many -= skipped
        if size > skipped:
            pieces.append((path, start + skipped))
    return pieces, left_out


def _chunks(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(_CHUNK_BYTES):
            yield data


def _why(error: Exception) -> str:
    return "there was no time left" if isinstance(error, OutOfTime) else str(error)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
