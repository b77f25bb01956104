"""All loops of this package, made together and started together."""

from __future__ import annotations

from dataclasses import dataclass

from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.model.spec import PortsPolicy
from envmgr.runtime.guard import Guard
from envmgr.runtime.prevention.forecasts import Forecasts
from envmgr.runtime.prevention.pressure import Pressure
from envmgr.runtime.prevention.sampling import Pace, Sampling
from envmgr.runtime.prevention.stability import Stability
from envmgr.runtime.prevention.walking import Walks
from envmgr.runtime.supervisor import Supervisor

_COMPARES = 60
_WALKS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class PreventionPolicy:
    """What the settings say.

    Attributes:
        period_s: Between looks while something moves; all other paces follow from it.
        guard_period_s: Between looks of the guard.
        ports: The pool that all agents share as a rule.
        keep_memory_bytes, keep_disk_bytes: What must remain of the host.
    """

    period_s: float = 5.0
    guard_period_s: float = 5.0
    ports: PortsPolicy = PortsPolicy()
    keep_memory_bytes: int = 0
    keep_disk_bytes: int = 0


class Prevention:
    """Belongs to the daemon."""

    def __init__(self, supervisor: Supervisor, policy: PreventionPolicy) -> None:
        self._supervisor = supervisor
        measures, gauges, period_s = supervisor.measures, supervisor.systems.gauges, policy.period_s
        guard = Guard(supervisor, period_s=policy.guard_period_s)
        self._sampling = Sampling(
            supervisor, gauges, measures, guard, pace=Pace(period_s=period_s, ports=policy.ports)
        )
        forecasts = Forecasts(
            supervisor, measures, period_s=period_s, keep_memory_bytes=policy.keep_memory_bytes
        )
        pressure = Pressure(
            supervisor,
            measures,
            keep_memory_bytes=policy.keep_memory_bytes,
            keep_disk_bytes=policy.keep_disk_bytes,
        )
        self._sampling.after = (forecasts.go_on, pressure.go_on)
        self._stability = Stability(supervisor, every_s=_COMPARES * period_s)
        self._walks = Walks(supervisor, gauges, measures, period_s=_WALKS * period_s)

    def start(self, group: TaskGroup) -> None:
        """Run until the group is cancelled."""
        tasks.keep(group, "measuring", self._sampling.run)
        tasks.keep(group, "measuring worktrees", self._walks.run)
        tasks.keep(group, "hearing of restarts", self._stability.hear)
        tasks.keep(group, "judging stability", self._stability.compare)
