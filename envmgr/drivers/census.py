"""Whose every process of this host is, and what each agent's processes use: one pass over /proc.

A process says whose it is by the marker in its environment. That is read once in its life, and again when it was not there
yet: between fork and exec it is still its parent's. Who carries none belongs where its parent belongs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.drivers import proc, usage
from envmgr.protocols.gauges import Census, PartKey
from envmgr.protocols.processes import Marks

_MARKS = (b"ENVMGR_INSTANCE=", b"ENVMGR_AGENT=", b"ENVMGR_PART=")
_LOOKS = 2


@dataclass(slots=True)
class _Known:
    """What one process said. `looks` counts how often it has said nothing."""

    start_ticks: int
    said: tuple[str, ...] | None = None
    looks: int = 0


@dataclass(slots=True)
class Registrar:
    """Remembers what processes have said. Belongs to one thread at a time."""

    _known: dict[int, _Known] = field(default_factory=dict)

    def take(self, instance: str, *, inside: Mapping[int, PartKey], sets: Mapping[str, Marks]) -> Census:
        """See `Gauges.census`. Blocking, some 20 us for each process of the host."""
        rows = {pid: row for pid, row in proc.table().items() if row.is_alive}
        self._known = {pid: known for pid, known in self._known.items() if pid in rows}
        owners: dict[int, PartKey | None] = dict(inside)
        for row in rows.values():
            self._settle(row, rows, owners, instance)
        parts: dict[PartKey, list[proc.Row]] = {}
        for pid, owner in owners.items():
            if owner is not None and pid in rows:
                parts.setdefault(owner, []).append(rows[pid])
        return Census(
            parts={owner: usage.total(members) for owner, members in parts.items()},
            sets=usage.among(rows, sets) if sets else {},
        )

    def _settle(
        self, row: proc.Row, rows: Mapping[int, proc.Row], owners: dict[int, PartKey | None], instance: str
    ) -> None:
        """Find out about one process, and about those of its ancestors that decide."""
        line = []
        at: proc.Row | None = row
        while at is not None and at.pid not in owners:
            line.append(at)
            owners[at.pid] = None  # a table read while it changes may hold a circle
            said = self._said(at)
            if said is not None:
                owners[at.pid] = (said[1], said[2]) if said[0] == instance else None
                break
            at = rows.get(at.ppid)
        owner = owners.get(at.pid) if at is not None else None
        for one in line:
            owners[one.pid] = owner

    def _said(self, row: proc.Row) -> tuple[str, ...] | None:
        known = self._known.get(row.pid)
        if known is None or known.start_ticks != row.start_ticks:
            known = self._known[row.pid] = _Known(row.start_ticks)
        if known.said is None and known.looks < _LOOKS:
            known.said = _marker(row.pid)
            known.looks += 1
        return known.said


def _marker(pid: int) -> tuple[str, ...] | None:
    """(instance, agent, part) as the environment says; None without the first two."""
    try:
        data = proc.read(f"/proc/{pid}/environ")
    except OSError:
        return None
    if b"ENVMGR_AGENT=" not in data:
        return None
    found = dict.fromkeys(_MARKS, "")
    for entry in data.split(b"\0"):
        for mark in _MARKS:
            if entry.startswith(mark):
                found[mark] = os.fsdecode(entry[len(mark) :])
    said = tuple(found[mark] for mark in _MARKS)
    return said if said[0] and said[1] else None
