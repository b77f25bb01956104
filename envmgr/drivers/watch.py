"""`Watcher` on watchfiles.

Folders are watched, not files: an editor that saves by renaming replaces the file, and a watch on it would follow the old one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import watchfiles

_log = logging.getLogger(__name__)

_POLL_S = 2.0
_MOST_WAITING_S = 2.0
_LOOK_FOR_STOP_MS = 10_000

Changes = set[tuple[watchfiles.Change, str]]


class FileWatcher:
    """See `protocols.watching.Watcher`.

    Args:
        polls: Look at the files every 2 s instead of asking the kernel; for network file systems.
        watch: Source of changes; injectable because limits of the kernel cannot be reached in a test.
    """

    def __init__(self, *, polls: bool = False, watch: Callable[..., Any] = watchfiles.watch) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each change
        self._polls = polls
        self._watch = watch
        # Each watch keeps a thread for as long as it lasts: those of other work are not for it.
        self._threads = anyio.CapacityLimiter(64)

    async def changes(
        self, files: Collection[Path], *, quiet_s: float = 0.3
    ) -> AsyncGenerator[frozenset[Path], None]:
        """See `Watcher.changes`."""
        while files:
            places = await anyio.to_thread.run_sync(_Places, files)
            async with aclosing(self._events(places, quiet_s)) as events:
                async for touched in events:
                    if hit := places.hit(touched):
                        yield hit
                    if await anyio.to_thread.run_sync(places.have_moved):
                        break
        await anyio.sleep_forever()

    async def _events(self, places: _Places, quiet_s: float) -> AsyncGenerator[frozenset[str], None]:
        stop = threading.Event()
        try:
            while True:
                source = self._open(places, quiet_s, stop)
                try:
                    while (found := await self._next(source)) is not None:
                        yield frozenset(path for _, path in found)
                    return
                except (OSError, RuntimeError) as error:  # such as: no inotify watches left for this user
                    if self._polls:
                        raise
                    self._polls = True
                    _log.warning(
                        "files are polled, the kernel refuses to watch them", extra={"why": str(error)}
                    )
        finally:
            stop.set()

    def _open(self, places: _Places, quiet_s: float, stop: threading.Event) -> Iterator[Changes]:
        quiet_ms = int(quiet_s * 1000)
        source: Iterator[Changes] = self._watch(
            *places.folders,
            watch_filter=places.concerns,
            step=quiet_ms,
            debounce=max(quiet_ms, int(_MOST_WAITING_S * 1000)),
            rust_timeout=_LOOK_FOR_STOP_MS,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,
            force_polling=self._polls,
            poll_delay_ms=int(_POLL_S * 1000),
            ignore_permission_denied=True,
        )
        return source

    async def _next(self, source: Iterator[Changes]) -> Changes | None:
        """Abandoned when cancelled: the thread sees the stop within one step and ends."""
        return await anyio.to_thread.run_sync(
            lambda: next(source, None), abandon_on_cancel=True, limiter=self._threads
        )


class _Places:
    """The folders in which files are, or will be: of a missing folder the nearest one that exists. Blocking."""

    def __init__(self, files: Collection[Path]) -> None:
        self._files: dict[str, Path] = {}
        for file in files:
            # Of a link both ends count: the one that is replaced, and the one that is edited.
            for end in (file.parent.resolve() / file.name, file.resolve()):
                self._files[str(end)] = file
        self.folders = self._existing()

    def _existing(self) -> frozenset[str]:
        return frozenset(str(_nearest(Path(end).parent)) for end in self._files)

    def concerns(self, _: watchfiles.Change, path: str) -> bool:
        """Whether it is one of the files, or a folder on the way to one."""
        return path in self._files or any(file.startswith(f"{path}/") for file in self._files)

    def hit(self, touched: Collection[str]) -> frozenset[Path]:
        """The files that were touched; all below a folder that came or went."""
        return frozenset(
            file
            for end, file in self._files.items()
            if any(end == path or end.startswith(f"{path}/") for path in touched)
        )

    def have_moved(self) -> bool:
        """Whether other folders are to be watched now."""
        return self._existing() != self.folders


def _nearest(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
