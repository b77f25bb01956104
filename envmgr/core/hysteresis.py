"""When a probe asks, and how many answers in a row it takes until its word counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_JITTER = 0.1


def pause_s(period_s: float, *, draw: float) -> float:
    """Seconds until the next look: up to a tenth more or less, so that many services do not keep step.

    Args:
        draw: Uniform from [0, 1].
    """
    return period_s * (1 - _JITTER + 2 * _JITTER * draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """The answers of one launch so far; each launch begins with a new one.

    Attributes:
        is_up: What counts now; None until there were enough answers of one kind.
        good, bad: Answers in a row; one of them is 0.
    """

    is_up: bool | None = None
    good: int = 0
    bad: int = 0

    def after(self, *, is_good: bool, up: int, down: int) -> Streak:
        """With one more answer: `up` good ones in a row make it up, `down` bad ones down."""
        good, bad = (self.good + 1, 0) if is_good else (0, self.bad + 1)
        is_up = True if good >= up else False if bad >= down else self.is_up
        return Streak(is_up=is_up, good=good, bad=bad)
