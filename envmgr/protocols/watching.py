"""Files that change."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from typing import Protocol


class Watcher(Protocol):
    """Tell when files change; events are hints, so a caller looks for itself, and again from time to time."""

    def changes(
        self, files: Collection[Path], *, quiet_s: float = 0.3
    ) -> AsyncGenerator[frozenset[Path], None]:
        """Those of the files that were made, changed, replaced or deleted, in bunches, until cancelled.

        A file need not exist, nor its folder; replacing it (how editors save) counts. A bunch ends when nothing has
        changed for `quiet_s` seconds.
        """
