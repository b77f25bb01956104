"""`envmgr.protocols.gauges.Gauges` on Linux: /proc, statvfs(3), and a walk over folders."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from envmgr.aio import blocking
from envmgr.drivers import usage
from envmgr.drivers.census import Registrar
from envmgr.drivers.host import figures
from envmgr.errors import Unobservable
from envmgr.protocols.gauges import Census, FolderSize, Gauges, Handles, HostFigures, PartKey
from envmgr.protocols.processes import Marks

_LOOK_S = 5.0
_WALK_S = 60.0
_BREATH_S = 0.002
_AT_ONCE = 500


class LinuxGauges(Gauges):
    """See `Gauges`. Looks of one kind must not overlap: they remember what they saw."""

    def __init__(self) -> None:
        self._registrar = Registrar()
        self._watchers: dict[int, tuple[int, tuple[str, ...]]] = {}

    async def census(
        self, instance: str, *, inside: Mapping[int, PartKey], sets: Mapping[str, Marks]
    ) -> Census:
        """See `Gauges.census`."""
        return await blocking.look("proc", _LOOK_S, self._registrar.take, instance, inside=inside, sets=sets)

    async def handles(self, sets: Mapping[str, Sequence[int]]) -> Mapping[str, Handles]:
        """See `Gauges.handles`."""
        return await blocking.look("proc", _LOOK_S, self._handles, sets)

    async def memory(self, pids: Sequence[int]) -> int:
        """See `Gauges.memory`."""
        return await blocking.look("proc", _LOOK_S, usage.exact, pids)

    async def host(self, folders: Mapping[str, Path]) -> HostFigures:
        """See `Gauges.host`."""
        return await blocking.look("file", _LOOK_S, figures, folders)

    async def size(self, folder: Path) -> FolderSize:
        """See `Gauges.size`."""
        return await blocking.look("file", _WALK_S + 1.0, _walk, folder)

    def _handles(self, sets: Mapping[str, Sequence[int]]) -> dict[str, Handles]:
        asked = {pid for pids in sets.values() for pid in pids}
        self._watchers = {pid: known for pid, known in self._watchers.items() if pid in asked}
        return {key: self._held(pids) for key, pids in sets.items()}

    def _held(self, pids: Sequence[int]) -> Handles:
        counts = {pid: count for pid in pids if (count := _open_files(pid)) is not None}
        limits = {pid: _limit(pid) for pid in counts}
        fullest = max(counts, key=lambda pid: counts[pid] / (limits[pid] or float("inf")), default=None)
        watchers = {pid: self._watchers_of(pid, count) for pid, count in counts.items()}
        return Handles(
            open_files=sum(counts.values()),
            fullest=counts[fullest] if fullest is not None else 0,
            fullest_limit=limits[fullest] if fullest is not None else 0,
            watchers=sum(len(fds) for fds in watchers.values()),
            watches=sum(_watches(pid, fd) for pid, fds in watchers.items() for fd in fds),
        )

    def _watchers_of(self, pid: int, count: int) -> tuple[str, ...]:
        """Descriptors that are inotify instances; looked for again only when the number of descriptors has changed."""
        known = self._watchers.get(pid)
        if known is None or known[0] != count:
            known = self._watchers[pid] = (count, _inotify(pid))
        return known[1]


def _open_files(pid: int) -> int | None:
    """None for processes that may not be looked into."""
    folder = f"/proc/{pid}/fd"
    try:
        # Since Linux 6.2 the size is the number; before it is 0 (proc_pid_fd(5)).
        return os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208  ten times as fast
    except OSError:
        return None


def _limit(pid: int) -> int:
    try:
        soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    except OSError:
        return 0
    return 0 if soft == resource.RLIM_INFINITY else soft


def _inotify(pid: int) -> tuple[str, ...]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208
        return tuple(name for name in names if os.readlink(f"{folder}/{name}") == "anon_inode:inotify")  # noqa: PTH115
    except OSError:  # closed or ended meanwhile
        return ()


def _watches(pid: int, fd: str) -> int:
    try:
        return Path(f"/proc/{pid}/fdinfo/{fd}").read_bytes().count(b"inotify wd:")
    except OSError:
        return 0


def _walk(folder: Path) -> FolderSize:
    """Breathes now and then: a walk may take seconds, and somebody else waits for the interpreter."""
    deadline = time.monotonic() + _WALK_S
    try:
        device = folder.stat().st_dev
    except OSError:
        return FolderSize()
    size = files = 0
    linked: set[int] = set()
    ahead = [str(folder)]
    while ahead:
        for entry in _entries(ahead.pop()):
            files += 1
            try:
                stat = entry.stat(follow_symlinks=False)
                if stat.st_dev == device and entry.is_dir(follow_symlinks=False):
                    ahead.append(entry.path)
            except OSError:
                continue
            if stat.st_dev == device and stat.st_ino not in linked:
                size += stat.st_blocks * 512
                if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    linked.add(stat.st_ino)
            if files % _AT_ONCE == 0:
                if time.monotonic() > deadline:
                    raise Unobservable(
                        f"{folder.name} is too large to be measured", hint="Remove what it does not need."
                    )
                time.sleep(_BREATH_S)
    return FolderSize(bytes=size, files=files)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []
