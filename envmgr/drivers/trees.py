"""`FolderWatcher` on watchfiles: everything below some folders, save what is passed by.

Each folder is watched by itself, so that those that are passed by cost nothing. When folders come or go the watch is opened
anew, and what changed in between is found by its time of change.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from pathlib import Path

import anyio
import anyio.to_thread

# `watchfiles.watch` does not tell when it has begun to watch; what it is made of does.
from watchfiles._rust_notify import RustNotify

log = logging.getLogger(__name__)

MOST_FOLDERS = 8192
"""Watching more may use up what the kernel allows a user, and leave nothing for editors; then they are polled."""

_POLL_MS = 2000
_MOST_WAITING_MS = 2000
_LOOK_FOR_STOP_MS = 10_000
_COARSE_S = 0.02  # times of change are as exact as the kernel's clock tick


def _never(_: str) -> bool:
    return False


def _nobody() -> None:
    """Nobody wants to know."""


class FolderWatcher:
    """See `protocols.watching.FolderWatcher`.

    Args:
        polls: Look at the files every 2 s instead of asking the kernel; for network file systems.
        most_folders: With more of them they are polled.
        most_in_all: The same for all that is watched at once.
        open_: Opens a watch; injectable because limits of the kernel cannot be reached in a test.
    """

    def __init__(
        self,
        *,
        polls: bool = False,
        most_folders: int = MOST_FOLDERS,
        most_in_all: int = 2**31,
        open_: Callable[..., RustNotify] = RustNotify,
    ) -> None:
        self._polls = polls
        self._most_folders = most_folders
        self._most_in_all = most_in_all
        self._watched = 0
        self._open_one = open_
        # Each watch keeps a thread for as long as it lasts: those of other work are not for it.
        self._threads = anyio.CapacityLimiter(512)

    async def below(
        self,
        roots: Collection[Path],
        *,
        ignored: Callable[[str], bool],
        left_out: Callable[[str], bool] = _never,
        quiet_s: float = 0.3,
        begun: Callable[[], None] = _nobody,
    ) -> AsyncGenerator[frozenset[Path], None]:
        """See `protocols.watching.FolderWatcher.below`."""
        since, watched = 0.0, None
        while roots:
            trees = await anyio.to_thread.run_sync(Trees, roots, ignored, left_out)
            watch = await anyio.to_thread.run_sync(self._open, trees)
            if watch is None:
                continue
            self._watched += watch.cost
            try:
                if await anyio.to_thread.run_sync(trees.are_others):
                    continue  # a folder came before its parent was watched
                if watched is not None:  # else it is the beginning: what was before counts for nothing
                    missed = await anyio.to_thread.run_sync(trees.newer, since - _COARSE_S, watched)
                    if missed:
                        yield missed
                watched = trees.folders
                begun()
                while True:
                    touched, since = await self._next(watch, quiet_s)
                    has_moved = await anyio.to_thread.run_sync(trees.have_moved, touched)
                    if hit := trees.hit(touched):
                        yield hit
                    if has_moved:
                        break
            finally:
                self._watched -= watch.cost
                watch.end()
        await anyio.sleep_forever()

    def _open(self, trees: Trees) -> _Watch | None:
        """Blocking; when it returns, changes are seen. None when a folder has just gone."""
        count = len(trees.folders)
        is_too_much = count > self._most_folders or self._watched + count > self._most_in_all
        if is_too_much and not self._polls:
            log.warning("files are polled, the folders are too many", extra={"folders": len(trees.folders)})
        folders = sorted(trees.folders)
        try:
            is_polled = self._polls or is_too_much
            return _Watch(self._notify(folders, polls=is_polled), trees, cost=0 if is_polled else count)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:  # such as: no inotify watches left for this user
            if self._polls or is_too_much:
                raise
            self._polls = True
            log.warning("files are polled, the kernel refuses to watch them", extra={"why": str(error)})
            return _Watch(self._notify(folders, polls=True), trees, cost=0)

    def _notify(self, folders: list[str], *, polls: bool) -> RustNotify:
        return self._open_one(
            watch_paths=folders,
            debug=False,
            force_polling=polls,
            poll_delay_ms=_POLL_MS,
            recursive=False,
            ignore_permission_denied=True,
        )

    async def _next(self, watch: _Watch, quiet_s: float) -> tuple[frozenset[str], float]:
        """Abandoned when cancelled: the thread sees the end within one step."""
        return await anyio.to_thread.run_sync(
            watch.next, int(quiet_s * 1000), abandon_on_cancel=True, limiter=self._threads
        )


class _Watch:
    """One opened watch, used by one thread at a time. `cost` is the number of folders the kernel watches for it."""

    def __init__(self, notify: RustNotify, trees: Trees, *, cost: int) -> None:
        self.cost = cost
        self._notify = notify
        self._trees = trees
        self._stop = threading.Event()
        self._in_use = threading.Lock()

    def next(self, quiet_ms: int) -> tuple[frozenset[str], float]:
        """The next bunch that concerns, and until when it is whole; empty once it was ended. Blocking."""
        with self._in_use:
            while not self._stop.is_set():
                said = self._notify.watch(
                    max(quiet_ms, _MOST_WAITING_MS), quiet_ms, _LOOK_FOR_STOP_MS, self._stop
                )
                until = time.time()
                if isinstance(said, set) and (
                    found := frozenset(path for _, path in said if self._trees.concerns(path))
                ):
                    return found, until
        self._notify.close()
        return frozenset(), 0.0

    def end(self) -> None:
        """Whoever waits in `next` closes it; else it is closed here."""
        self._stop.set()
        if self._in_use.acquire(blocking=False):
            self._in_use.release()
            self._notify.close()


class Trees:
    """Roots are files or folders, and need not exist. Blocking."""

    def __init__(
        self, roots: Collection[Path], ignored: Callable[[str], bool], left_out: Callable[[str], bool]
    ) -> None:
        """`ignored` is asked with single names, below the roots; `left_out` with paths of folders."""
        self._ignored = ignored
        self._left_out = left_out
        # Of a link both ends count: the one that is replaced, and the one that is edited.
        self._roots = {str(end): root for root in roots for end in _ends(root)}
        self.folders = self._existing()

    def _existing(self) -> frozenset[str]:
        return frozenset(folder for root in self._roots for folder in self._folders(root))

    def _folders(self, root: str) -> Iterator[str]:
        yield str(_nearest(Path(root).parent))
        if not Path(root).is_dir():
            return
        for folder, names, _ in os.walk(root):
            names[:] = [
                name for name in names if not self._ignored(name) and not self._left_out(f"{folder}/{name}")
            ]
            yield folder

    def concerns(self, path: str) -> bool:
        """Whether it is below a root and not passed by, or a folder on the way to a root."""
        return any(self._is_in(path, root) or root.startswith(f"{path}/") for root in self._roots)

    def _is_in(self, path: str, root: str) -> bool:
        if path == root:
            return True
        return path.startswith(f"{root}/") and not any(map(self._ignored, path[len(root) + 1 :].split("/")))

    def hit(self, touched: Collection[str]) -> frozenset[Path]:
        """What was touched, below the roots as they were given; the root itself when a folder above it came or went."""
        return frozenset(
            given / path[len(root) + 1 :] if path.startswith(f"{root}/") else given
            for root, given in self._roots.items()
            for path in touched
            if self._is_in(path, root) or root.startswith(f"{path}/")
        )

    def newer(self, than: float, watched: frozenset[str]) -> frozenset[Path]:
        """What was changed after this moment (Unix time), and all in folders that were not watched before."""
        return self.hit([path for path in self._newer(than, watched) if self.concerns(path)])

    def _newer(self, than: float, watched: frozenset[str]) -> Iterator[str]:
        for folder in self.folders:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if folder not in watched or _changed_at(entry.path) >= than:
                        yield entry.path

    def have_moved(self, touched: Collection[str]) -> bool:
        """Whether other folders are to be watched now; looked at only when a folder was touched."""
        return any(path in self.folders or Path(path).is_dir() for path in touched) and self.are_others()

    def are_others(self) -> bool:
        """Whether the folders are not those of the beginning any more."""
        return self._existing() != self.folders


def _ends(root: Path) -> set[Path]:
    return {root.parent.resolve() / root.name, root.resolve()}


def _changed_at(path: str) -> float:
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return 0.0


def _nearest(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
