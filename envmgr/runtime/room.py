"""What one more agent takes, what this host has for it, and what agents that are still starting will take of that.

Admission and `envmgr capacity` ask the same questions here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from envmgr.core.capacity import Need, Supply, need
from envmgr.core.ports import free_blocks
from envmgr.model.agent import Lifecycle
from envmgr.model.lease import PortLease
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec, PortsPolicy
from envmgr.protocols.gauges import HostFigures
from envmgr.runtime.actor import Actor
from envmgr.runtime.measures import Measures

ACTIVE = (Lifecycle.SPAWNING, Lifecycle.RUNNING, Lifecycle.STOPPING)
_WARM_S = 120.0
"""So long a running agent counts as still starting: assistants grow in their first minutes."""
_FILE_BYTES = 12_000
_POOLS = 31
"""Networks that an engine makes from its usual address pools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What an assistant and what it starts take, until agents of the template have been measured."""

    memory_bytes: float
    cpus: float = 0.2
    tasks: float = 30
    open_files: float = 200
    watchers: float = 2
    watches: float = 500


_USUAL = {
    # A session grows to 1.5-2 GB, idle it has 200 MB.
    "claude_code": Usual(memory_bytes=1.5e9),
    "command": Usual(memory_bytes=32e6, cpus=0.1, tasks=5, open_files=20, watchers=0, watches=0),
}
_OTHERS = Usual(memory_bytes=1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What must remain; 0 keeps nothing back."""

    max_agents: int = 50
    min_free_memory_bytes: int = 512 * 2**20
    min_free_disk_bytes: int = 1 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was looked up for one answer.

    Attributes:
        files: Tracked in the repository; 0: unknown.
        networks: That the engine has; None: nobody asked.
    """

    host: HostFigures = HostFigures()
    leases: Sequence[PortLease] = ()
    files: int = 0
    networks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is known of the host's agents.

    Attributes:
        actors: All agents there are.
        now: Unix time.
        warm_s: So long a running agent counts as still starting.
        pool: Ports, where the question names no template.
    """

    actors: Callable[[], Sequence[Actor]]
    measures: Measures
    limits: HostLimits
    now: Callable[[], float]
    pool: PortsPolicy = PortsPolicy()
    warm_s: float = _WARM_S

    def supplies(self, spec: AgentSpec | None, found: Found, *, without: Actor | None = None) -> list[Supply]:
        """All that agents share, for one more of `spec`; None: of any template, as those that run.

        Args:
            without: The one that is to start: it takes nothing yet.
        """
        others = [a for a in self.actors() if a is not without and _counts(a)]
        starting = [actor for actor in others if self._is_starting(actor)]
        supplies = [_slots(len(others), self.limits.max_agents)]
        supplies += self._memory(spec, found.host, starting)
        # Their worktrees are on the disk, and so in the figures, when they have spawned.
        supplies += self._disk(spec, found, [actor for actor in starting if _is_spawning(actor)])
        supplies += self._ports(spec, found, others)
        supplies += self._counted(spec, found.host, starting)
        supplies += self._networks(spec, found)
        return supplies

    def _is_starting(self, actor: Actor) -> bool:
        if _is_spawning(actor):
            return True
        return actor.state.lifecycle is Lifecycle.RUNNING and self.now() - actor.state.since < self.warm_s

    def _need(
        self, metric: str, spec: AgentSpec | None, *, usual: float, basis: str, stated: float | None = None
    ) -> Need:
        """From running agents of the template that have warmed up, and how it is known."""
        peaks = [
            use.peaks[metric]
            for actor in self.actors()
            if (spec is None or actor.spec.template == spec.template)
            and actor.state.lifecycle is Lifecycle.RUNNING
            and not self._is_starting(actor)
            and (use := self.measures.agents.get(actor.state.id)) is not None
            and metric in use.peaks
        ]
        whose = f"running agents of {spec.template}" if spec else "running agents"
        return need(peaks, whose=whose, usual=usual, usual_basis=basis, stated=stated)

    def _reserved(self, metric: str, starting: Sequence[Actor], each: Callable[[AgentSpec], Need]) -> float:
        """What those who start will take besides what they have taken by now."""
        needs: dict[object, float] = {}
        total = 0.0
        for actor in starting:
            use = self.measures.agents.get(actor.state.id)
            has = use.totals().get(metric, 0.0) if use and use.generation == actor.state.generation else 0.0
            key = (actor.spec.template, actor.spec.assistant.kind, actor.spec.limits.memory_bytes)
            if key not in needs:
                needs[key] = each(actor.spec).each
            total += max(0.0, needs[key] - has)
        return total

    # --- one after the other ---------------------------------------------------------------------------------

    def _memory(
        self, spec: AgentSpec | None, host: HostFigures, starting: Sequence[Actor]
    ) -> Iterator[Supply]:
        if not host.memory_bytes:
            return
        wanted = self._memory_need(spec)
        yield Supply(
            name="memory",
            unit="bytes",
            total=host.memory_bytes,
            free=host.available_bytes,
            keep=self.limits.min_free_memory_bytes,
            reserved=self._reserved("memory_bytes", starting, self._memory_need),
            each=wanted.each,
            median=wanted.median,
            basis=wanted.basis,
            remedy="Stop some agents (`envmgr ls`), say what they need with `limits.memory` in the template,"
            " or lower `host.min_free_memory_bytes`.",
        )

    def _memory_need(self, spec: AgentSpec | None) -> Need:
        usual = _usual(spec)
        kind = spec.assistant.kind if spec else "claude_code"
        stated = _stated_bytes(spec, usual.memory_bytes) if spec else None
        return self._need(
            "memory_bytes", spec, usual=usual.memory_bytes, basis=f"usual for {kind}", stated=stated
        )

    def _disk(self, spec: AgentSpec | None, found: Found, starting: Sequence[Actor]) -> Iterator[Supply]:
        system = found.host.systems.get("worktrees")
        if system is None:
            return
        basis = f"the repository tracks {found.files} files" if found.files else "unknown"

        def each(of: AgentSpec | None) -> Need:
            return self._need("disk_bytes", of, usual=float(found.files * _FILE_BYTES), basis=basis)

        def files(of: AgentSpec | None) -> Need:
            return self._need("disk_files", of, usual=float(found.files), basis=basis)

        wanted = each(spec)
        yield Supply(
            name="disk", unit="bytes", total=system.total_bytes, free=system.free_bytes,
            keep=self.limits.min_free_disk_bytes, reserved=self._reserved("disk_bytes", starting, each),
            each=wanted.each, median=wanted.median, basis=wanted.basis,
            remedy="Remove old agents (`envmgr ls --all`), or lower `host.min_free_disk_bytes`.",
        )  # fmt: skip
        if system.total_files:
            wanted = files(spec)
            yield Supply(
                name="inodes", unit="inodes", total=system.total_files, free=system.free_files,
                reserved=self._reserved("disk_files", starting, files),
                each=wanted.each, median=wanted.median, basis=wanted.basis,
                remedy="Remove old agents: `envmgr ls --all`.",
            )  # fmt: skip

    def _ports(self, spec: AgentSpec | None, found: Found, others: Sequence[Actor]) -> Iterator[Supply]:
        pool = spec.ports if spec else self.pool
        free, total = free_blocks(pool, found.leases)
        leased = {lease.agent for lease in found.leases if lease.held}
        waiting = [a for a in others if a.state.lifecycle is Lifecycle.SPAWNING and a.state.id not in leased]
        yield Supply(
            name="ports", unit="blocks", total=total, free=free, reserved=sum(_blocks(a.spec) for a in waiting),
            each=_blocks(spec) if spec else 1, basis=f"blocks of {pool.block} of {pool.first}-{pool.last}",
            remedy="Remove agents, or widen `ports.first` and `ports.last` in the settings.",
        )  # fmt: skip

    def _counted(
        self, spec: AgentSpec | None, host: HostFigures, starting: Sequence[Actor]
    ) -> Iterator[Supply]:
        """What the kernel counts, and processors, which are only advice."""
        usual, kind = _usual(spec), spec.assistant.kind if spec else "claude_code"
        used = self._used()
        rows: tuple[tuple[str, str, str, float, float, float, str], ...] = (
            ("inotify watches", "watches", "files", host.max_watches, used.get("watches", 0.0), usual.watches, "fs.inotify.max_user_watches"),
            ("inotify instances", "watchers", "instances", host.max_watchers, used.get("watchers", 0.0), usual.watchers, "fs.inotify.max_user_instances"),
            ("open files", "open_files", "files", host.max_open_files, host.open_files, usual.open_files, "fs.file-max"),
            ("processes", "tasks", "processes", host.max_processes, host.tasks, usual.tasks, "kernel.pid_max"),
        )  # fmt: skip
        for name, metric, unit, total, taken, often, sysctl in rows:
            if total:
                wanted = self._need(metric, spec, usual=often, basis=f"usual for {kind}")

                def each(of: AgentSpec, metric: str = metric) -> Need:
                    return self._need(metric, of, usual=getattr(_usual(of), metric), basis="usual")

                yield Supply(
                    name=name, unit=unit, total=total, free=total - taken, each=wanted.each, median=wanted.median,
                    basis=wanted.basis, reserved=self._reserved(metric, starting, each),
                    remedy=f"Raise it: sysctl {sysctl}={int(2 * total)}",
                )  # fmt: skip
        wanted = self._need("cpus", spec, usual=usual.cpus, basis=f"usual for {kind}")
        yield Supply(
            name="processors", unit="processors", total=host.processors, free=max(0.0, 2 * host.processors - host.load),
            each=wanted.each, median=wanted.median, basis=f"{wanted.basis}; up to a load of two for each",
            remedy="Agents get slower; nothing refuses them.", is_advice=True,
        )  # fmt: skip

    def _used(self) -> Mapping[str, float]:
        totals = [use.totals() for use in self.measures.agents.values()]
        return {metric: sum(one.get(metric, 0.0) for one in totals) for metric in ("watches", "watchers")}

    def _networks(self, spec: AgentSpec | None, found: Found) -> Iterator[Supply]:
        if found.networks is None:
            return
        yield Supply(
            name="networks", unit="networks", total=_POOLS, free=max(0, _POOLS - found.networks),
            each=1 if spec is None or any(s.container for s in spec.services) else 0,
            basis="the engine's usual address pools; one for each agent with containers",
            remedy="Remove networks (`docker network prune`), or give the engine more with `default-address-pools`.",
            is_advice=True,
        )  # fmt: skip


def _counts(actor: Actor) -> bool:
    return actor.state.lifecycle in ACTIVE or actor.is_admitted


def _is_spawning(actor: Actor) -> bool:
    return actor.state.lifecycle is Lifecycle.SPAWNING or actor.is_admitted


def _slots(active: int, most: int) -> Supply:
    return Supply(
        name="agents", unit="agents", total=most, free=most - active, each=1, basis="host.max_agents",
        remedy="Stop some (`envmgr ls`), or raise `host.max_agents`.",
    )  # fmt: skip


def _usual(spec: AgentSpec | None) -> Usual:
    return _USUAL.get(spec.assistant.kind if spec else "claude_code", _OTHERS)


def _stated_bytes(spec: AgentSpec, assistant_bytes: float) -> float | None:
    """Of the whole agent, or the sum of its services' limits and what its assistant takes."""
    if spec.limits.memory_bytes is not None:
        return float(spec.limits.memory_bytes)
    services = [_limit(service) for service in spec.services if not service.is_shared]
    return sum(services) + assistant_bytes if any(services) else None


def _limit(service: ServiceSpec) -> float:
    return float((service.limits.memory_bytes or 0) * (service.replicas or 1))


def _blocks(spec: AgentSpec) -> int:
    ports = sum(len(s.ports) * (s.replicas or 1) for s in spec.services if not s.is_shared)
    return math.ceil(ports / spec.ports.block)
