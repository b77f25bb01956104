"""What each agent takes, now and at most, and what the host has left: what the sampling loop has seen last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from envmgr.model.ids import AgentId
from envmgr.protocols.gauges import FolderSize, Handles, HostFigures
from envmgr.protocols.processes import Usage

_PREFIX = "service:"
_STIRRED_CPUS = 0.02
_STIRRED_BYTES = 4 << 20


@dataclass(slots=True)
class PartUse:
    """A unit of an agent, or its assistant.

    Attributes:
        cpus: Processors since the look before.
        shared: Proportional memory for each resident byte, as last measured: what processes share counts once.
        weighed_bytes: Resident bytes when that was measured.
    """

    usage: Usage = Usage()
    cpus: float = 0.0
    shared: float = 1.0
    weighed_bytes: int = 0
    handles: Handles = Handles()
    seen_at: float = 0.0

    @property
    def memory_bytes(self) -> int:
        """Proportional memory, as far as it is known."""
        return int(self.usage.resident_bytes * self.shared)

    def take(self, usage: Usage, at: float) -> bool:
        """The next look; whether anything has moved."""
        before, span_s = self.usage, at - self.seen_at
        # Who has ended takes its seconds along.
        used_s = max(0.0, usage.cpu_s - before.cpu_s) if before.pids and span_s > 0 else 0.0
        self.cpus = used_s / span_s if span_s > 0 else 0.0
        self.usage, self.seen_at = usage, at
        moved = abs(usage.resident_bytes - before.resident_bytes) > _STIRRED_BYTES
        return moved or self.cpus > _STIRRED_CPUS or usage.pids != before.pids


@dataclass(slots=True)
class AgentUse:
    """One generation of an agent.

    Attributes:
        parts: By `assistant`, the name of a unit, `person`, or empty.
        peaks: The most of each metric so far.
        cpu_s: Seconds of processors of all parts, as last seen.
    """

    generation: int
    parts: dict[str, PartUse] = field(default_factory=dict)
    size: FolderSize | None = None
    peaks: dict[str, float] = field(default_factory=dict)
    mean_cpus: float = 0.0
    looks: int = 0

    @property
    def memory_bytes(self) -> int:
        """Of all its parts."""
        return sum(part.memory_bytes for part in self.parts.values())

    @property
    def cpu_s(self) -> float:
        """Seconds of processors of all its processes."""
        return sum(part.usage.cpu_s for part in self.parts.values())

    def totals(self) -> Mapping[str, float]:
        """Metric to value, of the whole agent."""
        parts = self.parts.values()
        found = {
            "memory_bytes": float(self.memory_bytes),
            "cpus": sum(part.cpus for part in parts),
            "tasks": float(sum(part.usage.tasks for part in parts)),
            "open_files": float(sum(part.handles.open_files for part in parts)),
            "watchers": float(sum(part.handles.watchers for part in parts)),
            "watches": float(sum(part.handles.watches for part in parts)),
        }
        if self.size is not None:
            found |= {"disk_bytes": float(self.size.bytes), "disk_files": float(self.size.files)}
        return found

    def settle(self) -> None:
        """After a look: remember the most of everything."""
        totals = self.totals()
        for metric, value in totals.items():
            self.peaks[metric] = max(value, self.peaks.get(metric, 0.0))
        self.looks += 1
        self.mean_cpus += (totals["cpus"] - self.mean_cpus) / self.looks


class Measures:
    """Filled by the sampling loop; read by admission, `envmgr capacity` and forecasts.

    Attributes:
        host: None until the first look.
        free_blocks, blocks: Port blocks of the pool that nobody holds, and all.
        short: What the host is short of just now (`memory`, `disk`, `inodes`, `io`), and why.
    """

    def __init__(self) -> None:
        self.host: HostFigures | None = None
        self.agents: dict[AgentId, AgentUse] = {}
        self.free_blocks: int | None = None
        self.blocks = 0
        self.short: Mapping[str, str] = {}

    def take(self, generations: Mapping[AgentId, int], parts: Mapping[tuple[str, str], Usage]) -> bool:
        """The census of these agents; whether anything has moved. Others are forgotten."""
        now = time.monotonic()
        stirred = self.agents.keys() != generations.keys()
        seen: dict[str, dict[str, Usage]] = {agent: {} for agent in generations}
        for (owner, part), usage in parts.items():
            if owner in seen:
                seen[owner][part.removeprefix(_PREFIX)] = usage
        agents = {}
        for agent, generation in generations.items():
            use = self.agents.get(agent)
            if use is None or use.generation != generation:
                use = AgentUse(generation)
            use.parts = {name: use.parts.get(name, PartUse()) for name in seen[agent]}
            for name, usage in seen[agent].items():
                stirred |= use.parts[name].take(usage, now)
            agents[agent] = use
        self.agents = agents
        return stirred

    def settle(self) -> None:
        """After a look."""
        for use in self.agents.values():
            use.settle()

    def each(self) -> Iterator[tuple[AgentId, str, PartUse]]:
        """Agent, unit (or `assistant`), and what it uses."""
        for agent, use in self.agents.items():
            for name, part in use.parts.items():
                yield agent, name, part
