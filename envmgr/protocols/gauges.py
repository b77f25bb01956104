"""What agents and the host use, measured cheaply: one pass over the process table for all agents together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.protocols.processes import Marks, Usage

PartKey = tuple[str, str]
"""(agent id, part): `assistant`, `service:NAME`, `person`, or empty for what says no part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """One pass.

    Attributes:
        parts: By the marker that processes carry or inherit from an ancestor; keepers are not among them.
        sets: What was asked for by marks, as `Processes.usage` tells it.
    """

    parts: Mapping[PartKey, Usage] = field(default_factory=dict)
    sets: Mapping[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handles:
    """What a set of processes holds open, as far as it may be looked into.

    Attributes:
        open_files: Of all of them.
        fullest: Open files of the process that is nearest to its own limit.
        fullest_limit: That limit; 0 when there is none or nobody could be looked into.
        watchers, watches: inotify instances, and files they watch; both are limited per user.
    """

    open_files: int = 0
    fullest: int = 0
    fullest_limit: int = 0
    watchers: int = 0
    watches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One file system. `files` counts inodes; 0 in all where it makes them as needed."""

    total_bytes: int
    free_bytes: int
    total_files: int
    free_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """The machine. What it does not tell is 0, or missing.

    Attributes:
        swapped_in, swapped_out: Pages since its start.
        pressure: `memory.some`, `cpu.some`, `io.full`, ...: per cent of the last ten seconds in which work waited for it (PSI).
        open_files, max_open_files: Of the kernel.
        max_processes: Processes and threads.
        max_watchers, max_watches: inotify instances and watched files of one user.
        systems: Each file system once, by the first label that it was asked for with.
    """

    processors: int = 1
    load: float = 0.0
    memory_bytes: int = 0
    available_bytes: int = 0
    swapped_in: int = 0
    swapped_out: int = 0
    pressure: Mapping[str, float] = field(default_factory=dict)
    open_files: int = 0
    max_open_files: int = 0
    max_processes: int = 0
    tasks: int = 0
    max_watchers: int = 0
    max_watches: int = 0
    systems: Mapping[str, FileSystem] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSize:
    """What a folder takes on its disk; hard links count once, other file systems in it do not."""

    bytes: int = 0
    files: int = 0


class Gauges:
    """Knows nothing; `drivers.gauges` looks. Nothing here changes anything. Looks that fail raise Unobservable."""

    async def census(
        self, instance: str, *, inside: Mapping[int, PartKey], sets: Mapping[str, Marks]
    ) -> Census:
        """One pass over the process table.

        Args:
            instance: Whose marker counts.
            inside: First processes of containers, which carry no marker.
        """
        return Census(sets={key: Usage() for key in sets})

    async def handles(self, sets: Mapping[str, Sequence[int]]) -> Mapping[str, Handles]:
        """What these sets of processes hold open. Some 10 us for each process, more for those that watch files."""
        return {key: Handles() for key in sets}

    async def memory(self, pids: Sequence[int]) -> int:
        """Bytes they hold, what they share counted once. Some ms for each process."""
        return 0

    async def host(self, folders: Mapping[str, Path]) -> HostFigures:
        """The machine, and the file systems that these folders are on; folders may not exist yet."""
        return HostFigures()

    async def size(self, folder: Path) -> FolderSize:
        """Walks all of it: some 5 us for each file."""
        return FolderSize()
