"""How much a folder or a file takes on disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from envmgr.aio import blocking
from envmgr.errors import Unobservable

_DEADLINE_S = 5.0


async def size_of(path: Path) -> int | None:
    """Bytes of its blocks, each hard link once; None when counting takes too long."""
    try:
        return await blocking.look("file", _DEADLINE_S, taken, path)
    except Unobservable:
        return None


def taken(path: Path) -> int:
    """Blocking."""
    total, seen = 0, set()
    waiting = [str(path)]
    while waiting:
        here = waiting.pop()
        try:
            found = os.lstat(here)
            if stat.S_ISDIR(found.st_mode):
                waiting += [entry.path for entry in os.scandir(here)]
        except OSError:
            continue  # it went meanwhile
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total
