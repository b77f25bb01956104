"""Say when a service restarts too often to be well, or answers much more slowly than it used to; once, and when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio

from envmgr.core.trend import ewma_rate, percentile
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import Event, NewEvent
from envmgr.model.ids import AgentId
from envmgr.protocols.series import Sample
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_RESTARTED = "service.restarting"
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityRules:
    """When is too often, and when too slow.

    Attributes:
        unstable, stable: Restarts an hour, fading with `tau_s`, from which it is told, and under which it is over.
        slower: So many times the baseline's p95 is told; half of that is over.
        least_s: Differences below this are nobody's trouble.
        recent_s, baseline_s: What is compared with what.
        recent_least, baseline_least: Answers needed of each.
    """

    unstable: float = 3.0
    stable: float = 1.0
    tau_s: float = _HOUR_S
    slower: float = 3.0
    least_s: float = 0.05
    recent_s: float = 600.0
    baseline_s: float = 86_400.0
    recent_least: int = 20
    baseline_least: int = 100


class Stability:
    """Two loops: one hears restarts, one compares latencies.

    Args:
        every_s: Between two comparisons.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        every_s: float,
        rules: StabilityRules = StabilityRules(),
    ) -> None:
        self._supervisor = supervisor
        self._series = supervisor.systems.series
        self._every_s = every_s
        self._rules = rules
        self._restarts: dict[tuple[AgentId, str], list[float]] = {}
        self._baselines: dict[tuple[AgentId, str], tuple[float, float | None]] = {}
        self._told: set[tuple[AgentId, str, str]] = set()

    async def hear(self) -> None:
        """Until cancelled, or the bus is closed: restarts as they happen."""
        with self._supervisor.bus.subscribe(_RESTARTED) as subscription:
            while events := await subscription.next():
                for event in events:
                    await self._heard(event)

    async def compare(self) -> None:
        """Until cancelled: restarts that have faded, and latencies."""
        while True:
            await anyio.sleep(self._every_s)
            try:
                await self.look()
            except EnvmgrError as error:  # looked at again soon
                log.warning("stability not judged", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("stability not judged")

    async def look(self) -> None:
        """Judge everybody who runs; forget others."""
        running = {
            actor.state.id
            for actor in self._supervisor.actors()
            if actor.state.lifecycle is Lifecycle.RUNNING
        }
        self._restarts = {key: seen for key, seen in self._restarts.items() if key[0] in running}
        self._baselines = {key: seen for key, seen in self._baselines.items() if key[0] in running}
        self._told = {key for key in self._told if key[0] in running}
        for agent, unit in list(self._restarts):
            await self._judge_restarts(agent, unit)
        for agent in running:
            await self._judge_latency(agent)

    # --- restarts --------------------------------------------------------------------------------------------

    async def _heard(self, event: Event) -> None:
        agent, unit = AgentId(event.agent), str(event.data.get("service", ""))
        key = (agent, unit)
        if key not in self._restarts:
            # What an earlier daemon has heard.
            since = event.at - 3 * self._rules.tau_s
            known = await self._series.read(agent, subject=unit, metric="restarts", since_at=since)
            self._restarts[key] = [sample.at for sample in known]
        self._restarts[key].append(event.at)
        self._series.add(Sample(agent=agent, subject=unit, metric="restarts", at=event.at, value=1.0))
        await self._judge_restarts(agent, unit)

    async def _judge_restarts(self, agent: AgentId, unit: str) -> None:
        now, rules = self._supervisor.systems.now(), self._rules
        moments = [at for at in self._restarts[agent, unit] if at > now - 3 * rules.tau_s]
        self._restarts[agent, unit] = moments
        rate = ewma_rate(moments, now, tau_s=rules.tau_s) * _HOUR_S
        key = (agent, unit, "restarts")
        # Two in a row fade below their number at once.
        if rate > rules.unstable * 0.95 and key not in self._told:
            reason = f"{unit} was restarted {len(moments)} times lately, {rate:.1f} times an hour by trend"
            await self._tell(
                key, "trend.unstable", {"service": unit, "per_hour": round(rate, 2), "reason": reason}
            )
        elif rate < rules.stable and key in self._told:
            await self._tell(key, "trend.stable", {"service": unit, "per_hour": round(rate, 2)})

    # --- latency ---------------------------------------------------------------------------------------------

    async def _judge_latency(self, agent: AgentId) -> None:
        now, rules = self._supervisor.systems.now(), self._rules
        recent = await self._series.read(agent, metric="probe.latency_s", since_at=now - rules.recent_s)
        for unit in {sample.subject for sample in recent}:
            values = [sample.value for sample in recent if sample.subject == unit]
            usual = await self._baseline(agent, unit, now)
            if len(values) >= rules.recent_least and usual is not None:
                await self._judge_unit(agent, unit, percentile(values, 0.95), usual)

    async def _judge_unit(self, agent: AgentId, unit: str, recent_s: float, usual_s: float) -> None:
        key, rules = (agent, unit, "latency"), self._rules
        numbers = {"service": unit, "p95_s": round(recent_s, 4), "usual_p95_s": round(usual_s, 4)}
        is_slow = recent_s > rules.slower * usual_s and recent_s - usual_s > rules.least_s
        if is_slow and key not in self._told:
            reason = f"{unit} answers its probe in {recent_s * 1000:.0f} ms (p95), usually in {usual_s * 1000:.0f} ms"
            await self._tell(key, "trend.slow", {**numbers, "reason": reason})
        elif recent_s < rules.slower / 2 * usual_s + rules.least_s / 2 and key in self._told:
            await self._tell(key, "trend.usual", numbers)

    async def _baseline(self, agent: AgentId, unit: str, now: float) -> float | None:
        """The p95 of a day without its last minutes; read once an hour."""
        known = self._baselines.get((agent, unit))
        if known is None or known[1] is None or time.monotonic() - known[0] > _HOUR_S:
            since = now - self._rules.baseline_s
            day = await self._series.read(agent, subject=unit, metric="probe.latency_s", since_at=since)
            values = _values(day, until=now - self._rules.recent_s)
            usual = percentile(values, 0.95) if len(values) >= self._rules.baseline_least else None
            known = self._baselines[agent, unit] = (time.monotonic(), usual)
        return known[1]

    async def _tell(self, key: tuple[AgentId, str, str], kind: str, data: dict[str, object]) -> None:
        """Toggles what is told."""
        self._told ^= {key}
        actor = self._supervisor.actor(key[0])
        generation = actor.state.generation if actor is not None else 0
        await self._supervisor.record(NewEvent(kind=kind, agent=key[0], generation=generation, data=data))


def _values(samples: Sequence[Sample] | Iterable[Sample], *, until: float) -> list[float]:
    return [sample.value for sample in samples if sample.at < until]
