"""The loop that measures: one pass over the process table serves history, forecasts, admission and the guard.

The pace follows what happens: a host on which nothing moves is looked at six times less often.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from envmgr.core.ports import free_blocks
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.spec import PortsPolicy
from envmgr.protocols.gauges import Gauges, PartKey
from envmgr.protocols.processes import Marks, Usage
from envmgr.runtime import owning
from envmgr.runtime.actor import Actor
from envmgr.runtime.guard import Guard, Ward
from envmgr.runtime.measures import Measures, PartUse
from envmgr.runtime.prevention import recording
from envmgr.runtime.prevention.thinning import Thinning
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_ENGINE = Path("/var/lib/docker")
"""Where engines keep images and volumes, unless they were told otherwise."""
_ALIVE = (Lifecycle.SPAWNING, Lifecycle.RUNNING, Lifecycle.STOPPING)
_SLOWEST = 6
_CALM = 6
"""Looks that cost more are taken with every sixth usual period."""
_TOGETHER = 0.2
"""Part of a period by which a look may come early, so that two of them become one."""
_REST = 12
_WEIGHED_BYTES = 32 << 20
_REWEIGH = 0.1
_WEIGHED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When what is done.

    Attributes:
        period_s: Between looks while something moves.
        ports: The pool that capacity is about.
    """

    period_s: float = 5.0
    ports: PortsPolicy = PortsPolicy()


After = Callable[[], Awaitable[None]]
"""Called after each look, with the measures fresh: forecasts and the like."""


class Sampling:
    """Belongs to the daemon; one `run` at a time.

    Args:
        after: What goes on from there; each has its own boundary.
    """

    def __init__(
        self, supervisor: Supervisor, gauges: Gauges, measures: Measures, guard: Guard, *, pace: Pace
    ) -> None:
        self.after: Sequence[After] = ()
        self._supervisor = supervisor
        self._gauges = gauges
        self._measures = measures
        self._guard = guard
        self._pace = pace
        self._slower = 1
        self._guard_at = self._look_at = self._calm_at = 0.0
        self._thinning = Thinning(rest_s=_REST * pace.period_s)
        self._series_trouble = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except EnvmgrError as error:  # looked at again soon
                log.warning("not measured", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("not measured")
            now = time.monotonic()
            await anyio.sleep(max(min(self._guard_at, self._look_at) - now, 0.1 * self._pace.period_s))

    async def look(self) -> None:
        """Whatever is due now."""
        now = time.monotonic()
        wards: Mapping[str, Ward] = {}
        if now >= self._guard_at - _TOGETHER * self._guard.period_s:
            self._guard_at = now + self._guard.period_s
            wards = await self._guard.wards()
        if now >= self._look_at - _TOGETHER * self._pace.period_s:
            # First, so that a look that fails is not tried again at once.
            self._look_at = now + self._pace.period_s * self._slower
            await self._look_at_all(wards)
        elif wards:
            census = await self._gauges.census(self._supervisor.instance, inside={}, sets=_marks(wards))
            await self._guard.judge(wards, census.sets)

    async def _look_at_all(self, wards: Mapping[str, Ward]) -> None:
        actors = [actor for actor in self._supervisor.actors() if actor.state.lifecycle in _ALIVE]
        self._measures.host = await self._gauges.host(self._folders(actors))
        parts: Mapping[PartKey, Usage] = {}
        if actors:
            census = await self._gauges.census(
                self._supervisor.instance, inside=self._inside(actors), sets=_marks(wards)
            )
            await self._guard.judge(wards, census.sets)
            parts = census.parts
        is_stirred = self._measures.take({actor.state.id: actor.state.generation for actor in actors}, parts)
        self._slower = 1 if is_stirred else min(self._slower * 2, _SLOWEST)
        await self._weigh()
        if time.monotonic() >= self._calm_at:
            self._calm_at = time.monotonic() + _CALM * self._pace.period_s
            await self._look_closer()
        self._measures.settle()
        await self._record()
        for go_on in self.after:
            await go_on()

    def _folders(self, actors: Sequence[Actor]) -> Mapping[str, Path]:
        layout = self._supervisor.layout
        folders = {"worktrees": layout.worktree_root, "state": layout.state_dir}
        uses_engine = any(service.container for actor in actors for service in actor.spec.services)
        return {**folders, "engine": _ENGINE} if uses_engine else folders

    def _inside(self, actors: Sequence[Actor]) -> Mapping[int, PartKey]:
        """First processes of containers, where the engine runs on this machine."""
        watch = self._supervisor.systems.watch
        return {
            container.pid: (actor.state.id, f"service:{owning.unit_of(actor.incarnation, container)}")
            for actor in actors
            if watch is not None and actor.incarnation is not None
            for container in watch.of(actor.state.id)
            if container.pid
        }

    async def _weigh(self) -> None:
        """What processes share counts once: measured anew where the cheap sum has moved, a few processes at a time."""
        budget = _WEIGHED_AT_ONCE
        for _, _, part in self._measures.each():
            resident = part.usage.resident_bytes
            is_light = resident < _WEIGHED_BYTES
            if is_light or abs(resident - part.weighed_bytes) < _REWEIGH * resident or budget <= 0:
                continue
            budget -= len(part.usage.pids)
            part.shared = min(1.0, await self._gauges.memory(part.usage.pids) / resident)
            part.weighed_bytes = resident

    async def _look_closer(self) -> None:
        parts: dict[str, PartUse] = {f"{agent}/{name}": part for agent, name, part in self._measures.each()}
        held = await self._gauges.handles({key: part.usage.pids for key, part in parts.items()})
        for key, part in parts.items():
            part.handles = held[key]
        leases = await self._supervisor.systems.store.read(lambda tx: tx.leases())
        self._measures.free_blocks, self._measures.blocks = free_blocks(self._pace.ports, leases)

    async def _record(self) -> None:
        series = self._supervisor.systems.series
        now = self._supervisor.systems.now()
        series.add(*self._thinning.worth(recording.samples(self._measures, now)))
        self._thinning.forget_others(["", *self._measures.agents])
        if series.trouble != self._series_trouble:
            self._series_trouble = series.trouble
            told = NewEvent(kind="series.trouble", data={"reason": series.trouble})
            await self._supervisor.record(told)


def _marks(wards: Mapping[str, Ward]) -> Mapping[str, Marks]:
    return {key: ward.marks for key, ward in wards.items()}
