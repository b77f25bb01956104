"""Whether and when a unit that ended is started again.

Pure: the caller says what happened, what time it is and how the dice fell, and keeps the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from envmgr.model.service import Rate, RestartPolicy, RestartWhen


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a policy remembers of one unit.

    Attributes:
        restarts: Steady times of its automatic restarts, oldest first; only those that a window can still see.
        attempt: How many of them there were since it was last well for long enough.
    """

    restarts: tuple[float, ...] = ()
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a unit ended by itself; an end that was asked for is never put before a policy.

    Attributes:
        is_success, is_fatal: What the service says of its exit code.
        ready_s: Seconds of unbroken readiness before it.
        words: The end for people, such as "ended with status 1".
    """

    is_success: bool
    is_fatal: bool
    ready_s: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Start it after so many seconds; `history` already counts that restart."""

    delay_s: float
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class StaysDown:
    """It is not started again by itself.

    Attributes:
        gave_up: The policy would have restarted it, but it ended too often or for good.
    """

    reason: str
    gave_up: bool = False


def after_end(
    policy: RestartPolicy, history: History, end: End, *, now: float, draw: float
) -> Again | StaysDown:
    """What follows from an end.

    Args:
        draw: Uniform from [0, 1]; spreads the restarts of many agents.
    """
    if policy.when is RestartWhen.NEVER:
        return StaysDown(reason="its restart policy is never")
    if policy.when is RestartWhen.ON_FAILURE and end.is_success:
        return StaysDown(reason=f"it {end.words}, which is a success")
    if end.is_fatal:
        return StaysDown(reason=f"it {end.words}, which a restart cannot mend", gave_up=True)
    if end.ready_s >= policy.reset_after_s:
        history = replace(history, attempt=0)
    # A time to come, as after a reboot with another wall clock, counts as now: it may not block for longer than its window.
    history = replace(history, restarts=tuple(min(at, now) for at in history.restarts))
    for rate in (policy.budget, policy.flap):
        if _count(history.restarts, rate, now) >= rate.count:
            reason = f"it {end.words}, and was restarted {rate.count} times in {_minutes(rate)} already"
            return StaysDown(reason=reason, gave_up=True)
    widest_s = max(policy.budget.window_s, policy.flap.window_s)
    kept = tuple(at for at in history.restarts if at > now - widest_s)
    after = History(restarts=(*kept, now), attempt=history.attempt + 1)
    return Again(delay_s=delay(policy, history.attempt, draw=draw), history=after)


def delay(policy: RestartPolicy, attempt: int, *, draw: float) -> float:
    """Seconds before the restart number `attempt`, the first being 0."""
    steps = min(attempt, 64)  # far beyond any cap, and a float holds it
    return min(policy.max_s, policy.initial_s * policy.factor**steps) * (1 + policy.jitter * draw)


def _count(restarts: Sequence[float], rate: Rate, now: float) -> int:
    return sum(at > now - rate.window_s for at in restarts)


def _minutes(rate: Rate) -> str:
    return f"{rate.window_s / 60:g} min" if rate.window_s >= 60 else f"{rate.window_s:g} s"
