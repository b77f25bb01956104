"""Files of the audit trail outside of the database: signed statements, and rows that have left it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from envmgr.core.audit_chain import row_from, row_plain
from envmgr.errors import Unavailable
from envmgr.model.audit import SEALED, Mark, Row, Statement

_STATEMENTS = "checkpoints.jsonl"
_ROWS = "segments"
_CHUNK = 1 << 16
_SEALED = SEALED.encode()
_LOG_BYTES = 16 << 20
_HINT = "Check the folder `audit` in envmgr's state folder, its permissions and its disk."


class AuditFiles:
    """`envmgr.protocols.audit.Shelf` in a folder.

    Args:
        log: The daemon's log.
    """

    def __init__(self, folder: Path, *, log: Path | None = None) -> None:
        self._log = log
        self._folder = folder
        self._statements = folder / _STATEMENTS

    def add(self, statement: Statement) -> None:
        line = json.dumps(asdict(statement), separators=(",", ":")) + "\n"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._statements, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                end = _whole_end(fd)
                os.ftruncate(fd, end)  # a crash may have left half a line
                os.pwrite(fd, line.encode(), end)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise Unavailable(f"{_STATEMENTS} cannot be written: {error.strerror}", hint=_HINT) from error

    def last(self, mark: Mark | None = None) -> Statement | None:
        try:
            with self._statements.open("rb") as file:
                end = _whole_end(file.fileno())
                begin = max(0, end - _CHUNK)
                file.seek(begin)
                # The first line may be a part of one, unless it is the first of all.
                lines = file.read(end - begin).splitlines()[1 if begin else 0 :]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{_STATEMENTS} cannot be read: {error.strerror}", hint=_HINT) from error
        found = (one for one in map(_statement, reversed(lines)) if mark in (None, one.mark))
        return next(found, None) or (self._last_of_all(mark) if begin else None)

    def _last_of_all(self, mark: Mark | None) -> Statement | None:
        found = None
        for one in self.statements():
            found = one if mark in (None, one.mark) else found
        return found

    def statements(self) -> Iterator[Statement]:
        with contextlib.suppress(FileNotFoundError), self._statements.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _statement(line)

    def logged(self) -> Mapping[int, str]:
        found: dict[int, str] = {}
        if self._log is not None:
            with contextlib.suppress(OSError), self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
                for line in file:
                    if _SEALED in line:
                        found |= _told(line)
        return found

    def save(self, name: str, rows: Sequence[Row]) -> str:
        path = self._folder / _ROWS / name
        half = path.with_name(f"{name}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with half.open("wb") as file:
                # Without name and time in it, so that the same rows make the same file.
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                    for row in rows:
                        packed.write(json.dumps(row_plain(row), separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            half.chmod(0o600)
            half.rename(path)
        except OSError as error:
            raise Unavailable(f"{name} cannot be written: {error.strerror}", hint=_HINT) from error
        return self.digest(name)

    def load(self, name: str) -> Iterator[Row] | None:
        path = self._folder / _ROWS / name
        return _load(path) if path.is_file() else None

    def digest(self, name: str) -> str:
        found = sha256()
        try:
            with (self._folder / _ROWS / name).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
        except OSError:
            return ""
        return found.hexdigest()

    def drop(self, *, before_at: float, is_dry: bool) -> tuple[int, int]:
        count = size = 0
        for path in (self._folder / _ROWS).glob("*.jsonl.gz"):
            found = path.lstat()
            if found.st_mtime < before_at:
                count, size = count + 1, size + found.st_size
                if not is_dry:
                    path.unlink(missing_ok=True)
        return count, size


def _load(path: Path) -> Iterator[Row]:
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                yield row_from(json.loads(line))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{path.name} is damaged", hint="Put it back from a copy.") from error


def _told(line: bytes) -> dict[int, str]:
    """Other programs write to that log, too."""
    try:
        said = json.loads(line)
        return {int(said["number"]): str(said["digest"])} if said["message"] == SEALED else {}
    except (ValueError, TypeError, KeyError):
        return {}


def _whole_end(fd: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, min(size, _CHUNK), max(0, size - _CHUNK))
    return size - len(tail) + tail.rfind(b"\n") + 1


def _statement(line: bytes) -> Statement:
    try:
        found = json.loads(line)
        if not isinstance(found, Mapping):
            raise TypeError("no object")
        return Statement(**{**found, "mark": Mark(found["mark"])})
    except (ValueError, TypeError, KeyError) as error:
        raise Unavailable(
            f"a line of {_STATEMENTS} is damaged", hint="Put the file back from a copy."
        ) from error
