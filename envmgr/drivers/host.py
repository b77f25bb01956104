"""Figures of this machine, from /proc and statvfs(3)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from envmgr.drivers import proc
from envmgr.protocols.gauges import FileSystem, HostFigures

_PRESSURES = ("cpu", "memory", "io")
# A file system that makes inodes as needed tells none, or (btrfs) none at all.
_NO_FILES = (0, 2**32 - 1)


def figures(folders: Mapping[str, Path]) -> HostFigures:
    """See `Gauges.host`. Blocking, shortly."""
    memory, load = _table("/proc/meminfo"), _words("/proc/loadavg")
    swap, opened = _table("/proc/vmstat"), _words("/proc/sys/fs/file-nr")
    return HostFigures(
        processors=len(os.sched_getaffinity(0)),
        load=float(load[0]) if load else 0.0,
        tasks=int(load[3].split("/")[1]) if load else 0,
        memory_bytes=memory.get("MemTotal", 0) * 1024,
        available_bytes=memory.get("MemAvailable", 0) * 1024,
        swapped_in=swap.get("pswpin", 0),
        swapped_out=swap.get("pswpout", 0),
        pressure=_pressure(),
        open_files=int(opened[0]) if opened else 0,
        max_open_files=int(opened[2]) if opened else 0,
        max_processes=min(_number("kernel/pid_max"), _number("kernel/threads-max")),
        max_watchers=_number("fs/inotify/max_user_instances"),
        max_watches=_number("fs/inotify/max_user_watches"),
        systems=_file_systems(folders),
    )


def _pressure() -> dict[str, float]:
    """Empty where the kernel does not count it, or was told not to."""
    found = {}
    for name in _PRESSURES:
        for line in _lines(f"/proc/pressure/{name}"):
            kind, average, *_ = line.split()
            found[f"{name}.{kind}"] = float(average.removeprefix("avg10="))
    return found


def _file_systems(folders: Mapping[str, Path]) -> dict[str, FileSystem]:
    """Each file system once, by the first label that leads to it."""
    by_device: dict[int, tuple[str, Path]] = {}
    for label, folder in folders.items():
        place = _existing(folder)
        by_device.setdefault(place.stat().st_dev, (label, place))
    return {label: _file_system(place) for label, place in by_device.values()}


def _file_system(folder: Path) -> FileSystem:
    stat = os.statvfs(folder)
    has_files = stat.f_files not in _NO_FILES
    return FileSystem(
        total_bytes=stat.f_blocks * stat.f_frsize,
        free_bytes=stat.f_bavail * stat.f_frsize,
        total_files=stat.f_files if has_files else 0,
        free_files=stat.f_favail if has_files else 0,
    )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _number(name: str) -> int:
    words = _words(f"/proc/sys/{name}")
    return int(words[0]) if words else 0


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _table(path: str) -> dict[str, int]:
    """`Name: 12 kB` or `name 12` in each line."""
    rows = (line.split() for line in _lines(path))
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _lines(path: str) -> list[str]:
    try:
        return proc.read(path).decode().splitlines()
    except OSError:
        return []
