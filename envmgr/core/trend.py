"""Where a measured value is going: a slope that single spikes do not move, and the time until it meets its limit.

Theil-Sen: the median of the slopes between all pairs of points. Up to 29 % of the points may be wild without moving it
(Rousseeuw and Leroy 1987, 3.7).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

Point = tuple[float, float]
"""(moment in seconds, value)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendRules:
    """When a slope counts as a trend, and when it is told.

    Attributes:
        window_s: Only points of this last while count.
        least_points: With fewer nothing is said.
        agreement: Part of the pairs that must go the same way.
        near_s: A limit that is met within this is told.
        ahead: Nothing is told further ahead than so many times what was seen: programs grow while they start.
        clear_s: It is told that it is over when the limit is further than this, or no trend leads to it.
    """

    window_s: float = 600.0
    least_points: int = 12
    agreement: float = 0.7
    near_s: float = 1800.0
    ahead: float = 3.0
    clear_s: float = 3600.0


_USUAL = TrendRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A value on its way to a limit.

    Attributes:
        slope: Per second; towards the limit.
        left_s: Seconds until it is met if this goes on; 0 when it is met.
        agreement: Part of the pairs that go this way.
        points, span_s: What it was made from.
    """

    slope: float
    left_s: float
    agreement: float
    points: int
    span_s: float
    value: float


def forecast(
    points: Sequence[Point], limit: float, rules: TrendRules = _USUAL, *, is_floor: bool = False
) -> Forecast | None:
    """When the value meets the limit; None when no trend leads there.

    Args:
        points: Oldest first. Some sixty are plenty: the work grows with their square.
        is_floor: The value should stay above the limit, not below it.
    """
    recent = [point for point in points if point[0] >= points[-1][0] - rules.window_s]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(recent, 2) if b[0] > a[0]]
    if len(recent) < rules.least_points or not slopes:
        return None
    slope, sign = median(slopes), -1 if is_floor else 1
    agreement = sum(one * sign > 0 for one in slopes) / len(slopes)
    if slope * sign <= 0 or agreement < rules.agreement:
        return None
    value = median(value - slope * (at - recent[-1][0]) for at, value in recent)
    return Forecast(
        slope=slope,
        left_s=max(0.0, (limit - value) / slope),
        agreement=agreement,
        points=len(recent),
        span_s=recent[-1][0] - recent[0][0],
        value=value,
    )


def is_near(told: Forecast | None, rules: TrendRules = _USUAL) -> bool:
    """Whether the limit is met so soon that it is told."""
    return told is not None and told.left_s < min(rules.near_s, rules.ahead * told.span_s)


def is_far(told: Forecast | None, rules: TrendRules = _USUAL) -> bool:
    """Whether it is over if it was told; between the two nothing changes."""
    return told is None or told.left_s > rules.clear_s


def worth_a_look(
    points: Sequence[Point], limit: float, rules: TrendRules = _USUAL, *, is_floor: bool = False
) -> bool:
    """Whether a forecast could come of it; costs next to nothing, so that most values need no forecast."""
    if len(points) < rules.least_points:
        return False
    middle = len(points) // 2
    before, after = _mean(points[:middle]), _mean(points[middle:])
    slope = (after[1] - before[1]) / max(after[0] - before[0], 1e-9)
    leads_there = slope < 0 if is_floor else slope > 0
    return leads_there and (limit - points[-1][1]) / slope < 2 * rules.clear_s


def _mean(points: Iterable[Point]) -> Point:
    ats, values = zip(*points, strict=True)
    return sum(ats) / len(ats), sum(values) / len(values)


def ewma_rate(moments: Iterable[float], now: float, *, tau_s: float) -> float:
    """How often something happens, per second: each time counts 1/`tau_s` and fades with it.

    Evenly spaced events of rate r give r, whatever `tau_s`, once they have gone on for some `tau_s`.
    """
    return sum(math.exp((at - now) / tau_s) for at in moments if at <= now) / tau_s


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` (0 to 1) of the values do not exceed, nearest rank; 0 of none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * part) - 1)]
