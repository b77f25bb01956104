"""How far recovery goes by itself: what a template says, and what the host allows."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.model.incident import Rung
from envmgr.model.service import Rate

MEASURES = (Rung.SERVICE, Rung.SESSION, Rung.REALLOCATE, Rung.RESPAWN)
"""The rungs that are acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungPolicy:
    """How often a measure may be taken, and after how many seconds it is."""

    budget: Rate
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """What a template says.

    Attributes:
        rungs: The measures that may be taken by themselves.
        service: Restarts per service that the ladder decides; beside it a service's own restart policy counts for itself.
        session, realloc, respawn: Per agent. The delay of a respawn doubles with each one in its window.
        any: How often all of them together.
        stabilize_s: Everything critical must be well for so long without a break, or the measure has not helped.
    """

    rungs: tuple[Rung, ...] = MEASURES
    service: RungPolicy = RungPolicy(budget=Rate(count=5, window_s=600.0))
    session: RungPolicy = RungPolicy(budget=Rate(count=3, window_s=1800.0), delay_s=2.0)
    realloc: RungPolicy = RungPolicy(budget=Rate(count=2, window_s=3600.0), delay_s=5.0)
    respawn: RungPolicy = RungPolicy(budget=Rate(count=2, window_s=21_600.0), delay_s=30.0)
    any: Rate = Rate(count=30, window_s=3600.0)
    stabilize_s: float = 60.0

    def of(self, rung: Rung) -> RungPolicy:
        """Of one of the measures."""
        return (self.service, self.session, self.realloc, self.respawn)[rung - Rung.SERVICE]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLimits:
    """What the host allows.

    Attributes:
        is_on: Whether anything is done by itself.
        per_hour: Measures of all agents together; more lead to safe mode.
        look_s: Seconds between two looks at what is being mended; ten times that for what waits for something else.
        cool_down_s: Seconds between two looks at an agent that waits for a person.
        close_after_s: Seconds of health after which an incident is over.
        patience_s: Seconds within which everything must become well after a measure.
        canary_s: Seconds for which the first of many agents with the same trouble must be well before others are mended.
        safe_mode_s: Seconds after which safe mode ends by itself.
        edits_s: Seconds for which source must be left alone before what it broke is tried again.
    """

    is_on: bool = True
    per_hour: int = 20
    look_s: float = 1.0
    cool_down_s: float = 600.0
    close_after_s: float = 600.0
    patience_s: float = 300.0
    canary_s: float = 10.0
    safe_mode_s: float = 3600.0
    edits_s: float = 3.0
