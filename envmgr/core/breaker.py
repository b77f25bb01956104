"""Breakers of systems that many agents need: while one is open nobody tries again and again.

Pure; times are those of a steady clock. Closed, until three failures within half a minute; then open, with a trial by one agent after
a pause that doubles; closed again after two successes, or after one when five minutes pass without a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from envmgr.model.incident import FailureClass

TARGETS: Mapping[FailureClass, str] = {
    FailureClass.ENGINE: "engine",
    FailureClass.NETWORK: "network",
    FailureClass.DISK: "disk",
    FailureClass.SESSION: "tmux",
}
"""The system that a class of failures is about."""

_FAILURES = 3
_WINDOW_S = 30.0
_FIRST_S, _CAP_S = 10.0, 300.0
_SUCCESSES = 2
_CANARY_S = 120.0
_CALM_S = 300.0


class Stand(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Of one system.

    Attributes:
        failures: The latest ones.
        opened_at: None while closed.
        wait_s: From the opening to the first trial.
        successes: Trials that went well since it opened; the last one at `well_at`.
        canary: Who tries just now, and since when.
    """

    failures: tuple[float, ...] = ()
    opened_at: float | None = None
    wait_s: float = _FIRST_S
    successes: int = 0
    well_at: float = 0.0
    canary: str = ""
    canary_at: float = 0.0

    def stand(self, now: float) -> Stand:
        """How it stands."""
        if self.opened_at is None or (self.successes and now >= self.well_at + _CALM_S):
            return Stand.CLOSED  # with a single agent there is no second trial
        return Stand.OPEN if now < self.opened_at + self.wait_s else Stand.HALF_OPEN

    def refuses(self, who: str, now: float) -> str:
        """Why this agent has to wait; empty when it may try. A canary that was never heard of again gives its place up."""
        stand = self.stand(now)
        if stand is Stand.CLOSED or (stand is Stand.HALF_OPEN and self.canary == who):
            return ""
        if stand is Stand.OPEN:
            assert self.opened_at is not None, "it is open"
            return f"tried again in {self.opened_at + self.wait_s - now:.0f} s"
        if self.canary and now < self.canary_at + _CANARY_S:
            return "another agent tries first"
        return ""


def failed(breaker: Breaker, now: float) -> Breaker:
    """One more failure of the system."""
    if breaker.stand(now) is Stand.CLOSED:
        kept = (*(at for at in breaker.failures if at > now - _WINDOW_S), now)
        if len(kept) < _FAILURES:
            return Breaker(failures=kept)
        return Breaker(opened_at=now)
    if breaker.stand(now) is Stand.OPEN:
        return breaker
    return Breaker(opened_at=now, wait_s=min(_CAP_S, breaker.wait_s * 2))


def succeeded(breaker: Breaker, now: float) -> Breaker:
    """It did what it was asked to."""
    if breaker.stand(now) is Stand.CLOSED or breaker.successes + 1 >= _SUCCESSES:
        return Breaker()
    return replace(breaker, successes=breaker.successes + 1, well_at=now, canary="")


def tries(breaker: Breaker, who: str, now: float) -> Breaker:
    """An agent that was not refused goes first."""
    if breaker.stand(now) is not Stand.HALF_OPEN:
        return breaker
    return replace(breaker, canary=who, canary_at=now)
