"""What one more agent takes, what this host has for it, and what agents that are still starting will take of that.

Admission and `envmgr capacity` ask the same questions here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from envmgr.core.capacity import Need, Supply, need
from envmgr.core.ports import free_blocks
from envmgr.model.agent import Lifecycle
from envmgr.model.lease import PortLease
from envmgr.model.spec import AgentSpec, PortsPolicy
from envmgr.protocols.gauges import HostFigures
from envmgr.runtime.actor import Actor
from envmgr.runtime.measures import Measures
from envmgr.runtime.usual import COMMON, port_blocks, stated_bytes, usual

ACTIVE = (Lifecycle.SPAWNING, Lifecycle.RUNNING, Lifecycle.STOPPING)
_WARM_S = 120.0
"""So long a running agent counts as still starting: assistants grow in their first minutes."""
_FILE_BYTES = 12_000
_POOLS = 31
"""Networks that an engine makes from its usual address pools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What the kernel allows so many of. Without `taken` those of agents are counted."""

    name: str
    metric: str
    unit: str
    sysctl: str
    total: Callable[[HostFigures], int]
    taken: Callable[[HostFigures], int] | None = None


_KERNEL = (
    _Counted(
        name="inotify watches", metric="watches", unit="files", sysctl="fs.inotify.max_user_watches",
        total=lambda host: host.max_watches,
    ),
    _Counted(
        name="inotify instances", metric="watchers", unit="instances", sysctl="fs.inotify.max_user_instances",
        total=lambda host: host.max_watchers,
    ),
    _Counted(
        name="open files", metric="open_files", unit="files", sysctl="fs.file-max",
        total=lambda host: host.max_open_files, taken=lambda host: host.open_files,
    ),
    _Counted(
        name="processes", metric="tasks", unit="processes", sysctl="kernel.pid_max",
        total=lambda host: host.max_processes, taken=lambda host: host.tasks,
    ),
)  # fmt: skip


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
        supplies.append(self._processors(spec, found.host))
        supplies += self._networks(spec, found)
        return supplies

    def _is_starting(self, actor: Actor) -> bool:
        if _is_spawning(actor):
            return True
        # One that began in the future was there before the clock was set back.
        return (
            actor.state.lifecycle is Lifecycle.RUNNING and 0 <= self.now() - actor.state.since < self.warm_s
        )

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
        common = usual(spec)
        kind = spec.assistant.kind if spec else COMMON
        stated = stated_bytes(spec, common.memory_bytes) if spec else None
        return self._need(
            "memory_bytes", spec, usual=common.memory_bytes, basis=f"usual for {kind}", stated=stated
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
            name="ports", unit="blocks", total=total, free=free, reserved=sum(port_blocks(a.spec) for a in waiting),
            each=port_blocks(spec) if spec else 1, basis=f"blocks of {pool.block} of {pool.first}-{pool.last}",
            remedy="Remove agents, or widen `ports.first` and `ports.last` in the settings.",
        )  # fmt: skip

    def _counted(
        self, spec: AgentSpec | None, host: HostFigures, starting: Sequence[Actor]
    ) -> Iterator[Supply]:
        """What the kernel counts."""
        for one in _KERNEL:
            if total := one.total(host):
                taken = one.taken(host) if one.taken else self._taken(one.metric)
                wanted = self._usual_need(one.metric, spec)
                yield Supply(
                    name=one.name, unit=one.unit, total=total, free=total - taken,
                    reserved=self._reserved(one.metric, starting, partial(self._usual_need, one.metric)),
                    each=wanted.each, median=wanted.median, basis=wanted.basis,
                    remedy=f"Raise it: sysctl {one.sysctl}={2 * total}",
                )  # fmt: skip

    def _processors(self, spec: AgentSpec | None, host: HostFigures) -> Supply:
        wanted = self._usual_need("cpus", spec)
        return Supply(
            name="processors", unit="processors", total=host.processors,
            free=max(0.0, 2 * host.processors - host.load), each=wanted.each, median=wanted.median,
            basis=f"{wanted.basis}; up to a load of two for each",
            remedy="Agents get slower; nothing refuses them.", is_advice=True,
        )  # fmt: skip

    def _usual_need(self, metric: str, spec: AgentSpec | None) -> Need:
        kind = spec.assistant.kind if spec else COMMON
        return self._need(metric, spec, usual=getattr(usual(spec), metric), basis=f"usual for {kind}")

    def _taken(self, metric: str) -> float:
        """By all agents: the kernel counts by user, and shows each process its own."""
        return sum(use.totals().get(metric, 0.0) for use in self.measures.agents.values())

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
    if actor.restoring and actor.state.lifecycle is Lifecycle.RUNNING:
        return False  # on paper: the machine was restarted since, and it waits for its turn
    return actor.state.lifecycle in ACTIVE or actor.is_admitted


def _is_spawning(actor: Actor) -> bool:
    return actor.state.lifecycle is Lifecycle.SPAWNING or actor.is_admitted


def _slots(active: int, most: int) -> Supply:
    return Supply(
        name="agents", unit="agents", total=most, free=most - active, each=1, basis="host.max_agents",
        remedy="Stop some (`envmgr ls`), or raise `host.max_agents`.",
    )  # fmt: skip
