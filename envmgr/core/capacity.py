"""How many more agents fit on this host, and what runs out first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from envmgr.core.trend import percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """One thing that agents share.

    Attributes:
        name: `memory`, `disk`, `ports`, ...
        unit: `bytes`, or what is counted, in the plural.
        total: All there is, for people; None where there is no such number.
        free: What is left now.
        keep: What must remain.
        reserved: What agents that are still starting will take.
        each: What one more agent takes; 0: none of it.
        basis: Where `each` comes from, for people.
        median: Of what was measured of `each`; None when nothing was.
        remedy: What to do when it runs out.
        is_advice: It slows agents down but does not break them: it never refuses one.
    """

    name: str
    unit: str
    free: float
    each: float
    basis: str
    remedy: str
    total: float | None = None
    median: float | None = None
    keep: float = 0.0
    reserved: float = 0.0
    is_advice: bool = False

    @property
    def left(self) -> float:
        """What new agents may take; negative when there is too little already."""
        return self.free - self.keep - self.reserved

    @property
    def fits(self) -> int | None:
        """Agents for which it is enough; None when they need none of it and enough remains."""
        if self.left < 0:
            return 0
        return math.floor(self.left / self.each) if self.each > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The answer. `fits` is None when nothing that was looked at limits it."""

    fits: int | None
    first: Supply | None
    supplies: tuple[Supply, ...]


def answer(supplies: Sequence[Supply]) -> Capacity:
    """The least of all supplies that can refuse an agent; of equals the one that is nearest to its end."""
    counted = [
        (one.fits, one.left / one.each if one.each else 0.0, one) for one in supplies if not one.is_advice
    ]
    bounds = [(fits, ratio, one) for fits, ratio, one in counted if fits is not None]
    if not bounds:
        return Capacity(fits=None, first=None, supplies=tuple(supplies))
    fits, _, first = min(bounds, key=lambda bound: bound[:2])
    return Capacity(fits=fits, first=first, supplies=tuple(supplies))


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one more agent takes of something, and how that is known.

    Attributes:
        median: Of what was measured; None when nothing was.
    """

    each: float
    basis: str
    median: float | None = None


def need(
    measured: Sequence[float], *, whose: str, usual: float, usual_basis: str, stated: float | None = None
) -> Need:
    """What is measured or stated, whichever is more; else what is usual.

    Agents that have just begun tell too little, and one greedy one too much: the ninth of ten counts.

    Args:
        measured: The most that each running agent of this sort has taken.
        whose: Which agents were measured, for people.
        stated: By the template.
    """
    p90, middle = percentile(measured, 0.9), percentile(measured, 0.5)
    if measured and p90 >= (stated or 0.0):
        return Need(each=p90, basis=f"p90 of {len(measured)} {whose}", median=middle)
    if stated is not None:
        return Need(each=stated, basis="limits of the template", median=middle if measured else None)
    return Need(each=usual, basis=usual_basis)
