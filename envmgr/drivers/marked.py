"""Processes that say whose they are: by the marker in their environment, or by the words a keeper was started with."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envmgr.drivers import proc
from envmgr.drivers.ending import identity
from envmgr.protocols.processes import Marked

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_INSTANCE, _AGENT, _PART = "ENVMGR_INSTANCE", "ENVMGR_AGENT", "ENVMGR_PART"
_ASSISTANT = "assistant"
_GENERATION = "ENVMGR_GENERATION"
_KEEPER = b"/keeper/program.py"
_OWNER = re.compile(r"([^/\s]+)/([^/\s]+)/(\d+)")
_GONE = " (deleted)"
_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marker:
    instance: str
    agent: str
    part: str
    generation: int | None = None


def marked() -> list[Marked]:
    """See `Processes.marked`. Blocking; some milliseconds per hundred processes."""
    table = proc.table()
    outside = proc.ancestry(table, os.getpid())
    rows = {pid: row for pid, row in table.items() if pid not in outside and row.is_alive and _is_ours(pid)}
    own = {pid: marker for pid in rows if (marker := _keeper(pid) or _environment(pid)) is not None}
    found = []
    for pid, row in rows.items():
        source = _nearest(pid, table, own)
        if source is not None and (one := _describe(row, own[source])) is not None:
            found.append(one)
    return found


def assistant_behind(pid: int, panes: Mapping[int, str], *, instance: str) -> str:
    """See `Processes.assistant_behind`."""
    seen: set[int] = set()
    at = pid
    while at > 1 and at not in seen:
        if at in panes:
            return panes[at]
        seen.add(at)
        at = _parent(at)
    # What has left its parents behind (setsid, nohup) still has its environment, unless it was at pains to lose that, too.
    marker = _environment(pid) if seen else None
    is_assistants = marker is not None and (marker.instance, marker.part) == (instance, _ASSISTANT)
    return marker.agent if marker is not None and is_assistants else ""


def _parent(pid: int) -> int:
    """0 if there is no such process. Somebody waits for it: one read, and nothing else of the line is looked at."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(fd, 256).rpartition(b")")[2].split(None, 2)[1])
    except (OSError, IndexError, ValueError):
        return 0
    finally:
        os.close(fd)


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()  # noqa: PTH116  a plain string is faster, once per process
    except OSError:
        return False


def _nearest(pid: int, table: Mapping[int, proc.Row], own: Mapping[int, _Marker]) -> int | None:
    """The process itself or the nearest ancestor that carries a marker."""
    seen: set[int] = set()
    while pid in table and pid not in seen:
        if pid in own:
            return pid
        seen.add(pid)
        pid = table[pid].ppid
    return None


def _environment(pid: int) -> _Marker | None:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    said = dict(
        word.decode("utf-8", "replace").split("=", 1)
        for word in words
        if word.startswith(b"ENVMGR_") and b"=" in word
    )
    if not said.get(_INSTANCE) or not said.get(_AGENT):
        return None
    generation = said.get(_GENERATION, "")
    return _Marker(
        instance=said[_INSTANCE],
        agent=said[_AGENT],
        part=said.get(_PART, ""),
        generation=int(generation) if generation.isdigit() else None,
    )


def _keeper(pid: int) -> _Marker | None:
    """A keeper has nobody's environment; its last word names its owner."""
    words = _words(pid)
    if len(words) < 2 or not any(word.endswith(_KEEPER) for word in words):
        return None
    owner = _OWNER.fullmatch(words[-1].decode("utf-8", "replace"))
    if owner is None:
        return None
    return _Marker(instance=owner[1], agent=owner[2], part="keeper", generation=int(owner[3]))


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def _describe(row: proc.Row, marker: _Marker) -> Marked | None:
    try:
        resident = int(Path(f"/proc/{row.pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None  # it has ended
    try:
        cwd = os.readlink(f"/proc/{row.pid}/cwd").removesuffix(_GONE)  # noqa: PTH115  the kernel's remark is no path
    except OSError:
        cwd = ""
    command = b" ".join(_words(row.pid)).decode("utf-8", "replace") or f"[{row.name}]"
    return Marked(
        identity=identity(row),
        command=command[:_SHOWN_CHARS],
        instance=marker.instance,
        agent=marker.agent,
        part=marker.part,
        generation=marker.generation,
        age_s=max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - row.start_ticks / _TICKS),
        cwd=cwd,
        resident_bytes=resident,
        parent=row.ppid,
    )
