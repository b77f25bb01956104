"""The end of a log, also when it was rotated a moment ago."""

from __future__ import annotations

import os
from pathlib import Path

from envmgr.protocols.keepers import Held

_BYTES = 1 << 16


def of_launch(held: Held, *, count: int) -> list[str]:
    """What this launch wrote last. Blocking."""
    return _read(held.log, held.log_offset - held.log_base)[-count:]


def of_log(log: Path, *, count: int) -> list[str]:
    """What was written last, whoever wrote it. Blocking."""
    return _read(log, None)[-count:]


def _read(log: Path, begin: int | None) -> list[str]:
    """At most the last 64 KiB, from `begin` on, which counts from the current file's first byte and may lie before it."""
    now, start = _end(log, begin if begin is not None and begin >= 0 else 0)
    if start > 0 or (begin is not None and begin >= 0) or len(now) >= _BYTES:
        return _lines(now, is_cut=start > (begin or 0))
    before = log.with_name(f"{log.name}.1")
    size = before.stat().st_size if before.exists() else 0
    first = max(0, size + begin) if begin is not None else 0
    older, start = _end(before, first) if size else (b"", 0)
    return _lines((older + now)[-_BYTES:], is_cut=start > first)


def _end(path: Path, begin: int) -> tuple[bytes, int]:
    """The last bytes from `begin` on, and where they start."""
    try:
        with path.open("rb") as file:
            start = max(min(begin, size := file.seek(0, os.SEEK_END)), size - _BYTES)
            file.seek(start)
            return file.read(_BYTES), start
    except OSError:  # no log, or rotated away just now
        return b"", 0


def _lines(data: bytes, *, is_cut: bool) -> list[str]:
    lines = data.decode("utf-8", "replace").splitlines()
    return lines[1:] if is_cut else lines
