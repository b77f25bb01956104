"""Files that change."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
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


class FolderWatcher(Protocol):
    """Tell when something changes below folders; hints, too."""

    def below(
        self,
        roots: Collection[Path],
        *,
        ignored: Callable[[str], bool],
        left_out: Callable[[str], bool] = ...,
        quiet_s: float = 0.3,
        begun: Callable[[], None] = ...,
    ) -> AsyncGenerator[frozenset[Path], None]:
        """What was touched below these folders (or these files), in bunches, until cancelled; folders that came or went, too.

        Args:
            roots: They need not exist.
            ignored: Whether a name below the roots is passed by, with all below it.
            left_out: Whether a folder below the roots is not looked into, by its path; asked again whenever folders come or go.
            quiet_s: Time without a change that ends a bunch.
            begun: Called when changes are seen from now on; may be called again later.
        """
