"""What probes have seen of one launch of a unit; kept over the changes of other units, forgotten with the launch."""

from __future__ import annotations

from dataclasses import dataclass, field

from envmgr.core.hysteresis import Streak
from envmgr.protocols.keepers import Held

LaunchKey = tuple[int, int, float]
"""Another keeper counts launches from one again, hence the time."""


def launch_key(held: Held | None) -> LaunchKey:
    """Tells one launch from all others; what nobody here launches has one only."""
    return (held.generation, held.launch, held.started_at) if held else (0, 0, 0.0)


@dataclass(slots=True, kw_only=True)
class Vigil:
    """Of one launch.

    Attributes:
        ready: Answers about readiness.
        live: Answers about liveness.
        ready_at: Monotonic time at which it was first seen ready; None until then.
    """

    launch: LaunchKey
    ready: Streak = field(default_factory=Streak)
    live: Streak = field(default_factory=Streak)
    ready_at: float | None = None


class Vigils:
    """Of the units of one agent."""

    def __init__(self) -> None:
        self._by_unit: dict[str, Vigil] = {}

    def over(self, unit: str, held: Held | None) -> Vigil:
        """The one of this launch; a new launch begins a new one."""
        known, launch = self._by_unit.get(unit), launch_key(held)
        if known is None or known.launch != launch:
            known = self._by_unit[unit] = Vigil(launch=launch)
        return known
