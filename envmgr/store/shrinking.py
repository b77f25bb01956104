"""Give free pages of the file back to the disk, in steps short enough for those who wait to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from envmgr.protocols.store import Room

INCREMENTAL = 2
"""What `PRAGMA auto_vacuum` tells of a file that can give back pages without being written anew."""

_WORTH_BYTES = 64 * 1024**2


class Shrinking:
    """See `Transaction`."""

    _execute: Callable[..., sqlite3.Cursor]

    def room(self) -> Room:
        return Room(
            pages=self._pragma("page_count"),
            free_pages=self._pragma("freelist_count"),
            page_bytes=self._pragma("page_size"),
            can_shrink=self._pragma("auto_vacuum") == INCREMENTAL,
        )

    def shrink(self, *, pages: int) -> int:
        # SQLite gives back one page with each step of this statement, and Python's module takes one step.
        for _ in range(min(pages, self._pragma("freelist_count"))):
            self._execute("PRAGMA incremental_vacuum(1)")
        return self._pragma("freelist_count")

    def _pragma(self, name: str) -> int:
        return int(self._execute(f"PRAGMA {name}").fetchone()[0])


def prepare(connection: sqlite3.Connection) -> None:
    """Make a file of an older envmgr one that can shrink; a large one is left as it is, for that would keep a start waiting."""

    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("auto_vacuum") != INCREMENTAL and pragma("page_count") * pragma("page_size") <= _WORTH_BYTES:
        connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        connection.execute("VACUUM")
