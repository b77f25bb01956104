"""Say when something runs into its limit soon, once, with what makes us think so; and once when it does not any more."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from envmgr.core.trend import Forecast, Point, TrendRules, forecast, is_far, is_near, worth_a_look
from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.stimulus import LimitSeen
from envmgr.runtime.measures import Measures
from envmgr.runtime.prevention import lines
from envmgr.runtime.prevention.lines import Line
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_POINTS = 60
_CLEAR_LOOKS = 3
"""So often in a row the limit must be far, until that is told."""
_EVERY = 6
_APART = 2


@dataclass(slots=True)
class _Known:
    """What is known of one line. `limit` is that of its points: with another one they begin anew."""

    limit: float
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS))
    is_told: bool = False
    clear_looks: int = 0


class Forecasts:
    """Goes on after each look of the sampling loop.

    Args:
        period_s: Usual time between looks; points are kept at twice that, forecasts made at six times.
        keep_memory_bytes: What must remain of the host's memory.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        measures: Measures,
        *,
        period_s: float,
        keep_memory_bytes: int,
        rules: TrendRules = TrendRules(),  # noqa: B008 - frozen
    ) -> None:
        self._supervisor = supervisor
        self._measures = measures
        self._period_s = period_s
        self._keep_memory_bytes = keep_memory_bytes
        self._rules = rules
        self._known: dict[tuple[str, str], _Known] = {}
        self._kept_at = self._judged_at = float("-inf")

    async def go_on(self) -> None:
        """Keep this look's values; judge where they lead, now and then."""
        now = time.monotonic()
        if now - self._kept_at < _APART * self._period_s:
            return
        self._kept_at = now
        current = list(self._lines())
        self._keep(current, now)
        if now - self._judged_at < _EVERY * self._period_s:
            return
        self._judged_at = now
        for line in current:
            try:
                await self._judge(line, self._known[line.agent, line.subject])
            except EnvmgrError as error:  # judged again soon
                log.warning("forecast not told", extra={"subject": line.subject, "why": error.message})

    def _lines(self) -> Iterator[Line]:
        yield from lines.of_host(self._measures, keep_memory_bytes=self._keep_memory_bytes)
        for agent, use in self._measures.agents.items():
            if (actor := self._supervisor.actor(agent)) is not None:
                yield from lines.of_agent(agent, use, actor.spec)

    def _keep(self, current: list[Line], now: float) -> None:
        before, self._known = self._known, {}
        for line in current:
            key = (line.agent, line.subject)
            known = before.get(key)
            if known is None or known.limit != line.limit:
                known = _Known(line.limit, is_told=self._is_told(line))
            known.points.append((now, line.value))
            self._known[key] = known

    def _is_told(self, line: Line) -> bool:
        """Also by an earlier daemon."""
        actor = self._supervisor.actor(AgentId(line.agent)) if line.agent else None
        conditions = actor.state.conditions if actor is not None else ()
        return any((one.type, one.subject) == ("LimitNear", line.subject) for one in conditions)

    async def _judge(self, line: Line, known: _Known) -> None:
        told, points = None, list(known.points)
        if worth_a_look(points, line.limit, self._rules, is_floor=line.is_floor):
            told = forecast(points, line.limit, self._rules, is_floor=line.is_floor)
        known.clear_looks = known.clear_looks + 1 if is_far(told, self._rules) else 0
        if told is not None and is_near(told, self._rules) and not known.is_told:
            known.is_told = True
            await self._say(line, words(line, told), told)
        elif known.is_told and known.clear_looks >= _CLEAR_LOOKS and len(points) >= self._rules.least_points:
            known.is_told = False
            await self._say(line, "", told)

    async def _say(self, line: Line, reason: str, told: Forecast | None) -> None:
        evidence = {} if told is None else _evidence(line, told)
        if line.agent:
            actor = self._supervisor.actor(AgentId(line.agent))
            if actor is not None:
                fact = LimitSeen(
                    generation=actor.state.generation,
                    subject=line.subject,
                    reason=reason,
                    is_forecast=True,
                    evidence=evidence,
                )
                await self._supervisor.apply(actor, fact)
            return
        kind = "trend.limit_near" if reason else "trend.limit_far"
        data = {"subject": line.subject, "reason": reason, **evidence}
        await self._supervisor.record(NewEvent(kind=kind, data=data))


def _evidence(line: Line, told: Forecast) -> dict[str, float | str]:
    return {
        "value": round(told.value, 3),
        "limit": line.limit,
        "unit": line.unit,
        "per_minute": round(told.slope * 60, 3),
        "left_s": round(told.left_s, 1),
        "agreement": round(told.agreement, 2),
        "points": told.points,
        "span_s": round(told.span_s, 1),
    }


def words(line: Line, told: Forecast) -> str:
    """For people: how fast, how soon, how sure, and what to do."""
    verb = "falls" if line.is_floor else "rises"
    when = f"in about {_span(told.left_s)}" if told.left_s else "now"
    return (
        f"{verb} by {amount(abs(told.slope) * 60, line.unit)} a minute, now {amount(told.value, line.unit)}:"
        f" the limit of {amount(line.limit, line.unit)} is met {when}"
        f" ({told.agreement:.0%} of {told.points} points within {_span(told.span_s)} agree). {line.remedy}"
    )


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def amount(value: float, unit: str) -> str:
    """`512 MB`, or `30 files`."""
    if unit != "bytes":
        return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
