"""How far recovery goes by itself: what a template says, and what the host allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.model.incident import Rung
from envmgr.model.service import Rate

MEASURES = (Rung.SERVICE, Rung.SESSION, Rung.REALLOCATE, Rung.RESPAWN)
"""The rungs that are acts."""


def _budgets() -> Mapping[Rung, Rate]:
    return {
        Rung.SERVICE: Rate(count=5, window_s=600.0),
        Rung.SESSION: Rate(count=3, window_s=1800.0),
        Rung.REALLOCATE: Rate(count=2, window_s=3600.0),
        Rung.RESPAWN: Rate(count=2, window_s=21_600.0),
    }


def _delays() -> Mapping[Rung, float]:
    return {Rung.SERVICE: 0.0, Rung.SESSION: 2.0, Rung.REALLOCATE: 5.0, Rung.RESPAWN: 30.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """What a template says.

    Attributes:
        rungs: The measures that may be taken by themselves.
        budgets: How often each may be, per agent; rung 1 per service. Beside it a service's own restart policy counts for itself.
        any: How often all of them together.
        stabilize_s: Everything critical must be well for so long without a break, or the measure has not helped.
        delays_s: Seconds before each measure; a respawn's doubles with each one in its window.
    """

    rungs: tuple[Rung, ...] = MEASURES
    budgets: Mapping[Rung, Rate] = field(default_factory=_budgets)
    any: Rate = Rate(count=30, window_s=3600.0)
    stabilize_s: float = 60.0
    delays_s: Mapping[Rung, float] = field(default_factory=_delays)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLimits:
    """What the host allows.

    Attributes:
        is_on: Whether anything is done by itself.
        per_hour: Measures of all agents together; more lead to safe mode.
        look_s: Seconds between two looks at what is being mended.
        cool_down_s: Seconds between two looks at an agent that waits for a person.
        close_after_s: Seconds of health after which an incident is over.
        patience_s: Seconds within which everything must become well after a measure.
        canary_s: Seconds for which the first of many agents with the same trouble must be well before others are mended.
        safe_mode_s: Seconds after which safe mode ends by itself.
    """

    is_on: bool = True
    per_hour: int = 20
    look_s: float = 1.0
    cool_down_s: float = 600.0
    close_after_s: float = 600.0
    patience_s: float = 300.0
    canary_s: float = 10.0
    safe_mode_s: float = 3600.0
