"""What sets of processes use, from /proc: one pass over the table for all of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from envmgr.drivers import proc
from envmgr.drivers.ending import is_still
from envmgr.protocols.processes import Marks, Usage

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(sets: Mapping[str, Marks]) -> dict[str, Usage]:
    """What each set uses: roots, their sessions and descendants, and orphans beside a root that carry its marker. Blocking."""
    return among({pid: row for pid, row in proc.table().items() if row.is_alive}, sets)


def among(rows: Mapping[int, proc.Row], sets: Mapping[str, Marks]) -> dict[str, Usage]:
    """The same in a table that was just read, of the living."""
    known = {root.pid for marks in sets.values() for root in marks.roots}
    return {key: total([rows[pid] for pid in _members(rows, marks, known)]) for key, marks in sets.items()}


def _members(rows: Mapping[int, proc.Row], marks: Marks, known: Collection[int]) -> Iterable[int]:
    roots = {root.pid: "root" for root in marks.roots if is_still(rows.get(root.pid), root)}
    # Whoever lost its parent is adopted by the keeper, and so stands beside the root.
    keepers = {rows[pid].ppid for pid in roots} - {0, 1}
    beside = (row.pid for row in rows.values() if row.ppid in keepers and row.pid not in known)
    strays = {pid: "orphan" for pid in beside if proc.carries(pid, marks.marker)}
    return proc.kin(rows, roots | strays)


def total(rows: Collection[proc.Row]) -> Usage:
    """What these processes use together, as their rows say."""
    # utime, stime, and those of children that were waited for; num_threads; rss (proc(5), fields 14 to 17, 20 and 24).
    return Usage(
        resident_bytes=sum(int(row.fields[20].split(None, 2)[1]) for row in rows) * _PAGE_BYTES,
        cpu_s=sum(int(ticks) for row in rows for ticks in row.fields[11:15]) / _TICKS,
        tasks=sum(int(row.fields[17]) for row in rows),
        pids=tuple(row.pid for row in rows),
    )


def exact(pids: Iterable[int]) -> int:
    """Proportional memory in bytes; of processes that cannot be looked into what is resident. Blocking, some ms per process."""
    return sum(_proportional(pid) for pid in pids)


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except PermissionError:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0  # it has ended


def open_files(pids: Iterable[int]) -> int:
    """The most file descriptors that one of these processes has open. Blocking."""
    return max((_open_files(pid) for pid in pids), default=0)


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  only the number counts
    except OSError:
        return 0  # another user's, or it has ended
