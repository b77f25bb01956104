"""What an edit of a template means for an agent that runs: fields, effects, units that follow, and what needs a yes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Impact(StrEnum):
    """What a changed field asks for, mildest first.

    `none` holds for what is made later; `live` is taken over at once; `signal` tells the running process; `restart` ends it
    and starts it again; `recreate` makes the container anew; `replan` changes what runs or which ports it has.
    """

    NONE = "none"
    LIVE = "live"
    SIGNAL = "signal"
    RESTART = "restart"
    RECREATE = "recreate"
    REPLAN = "replan"

    @property
    def rank(self) -> int:
        """Grows with the trouble it makes."""
        return list(Impact).index(self)


class Fate(StrEnum):
    """What becomes of a unit."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    FOLLOWS = "follows"


class Drift(StrEnum):
    """In which way what runs is no longer what was launched, or what would be launched now.

    `config`: the template says something else. `runtime`: somebody changed a process or a container behind our back.
    `environment`: what the services stand on has changed: lock files, tool versions, the base branch.
    """

    CONFIG = "config"
    RUNTIME = "runtime"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field. An empty `old` or `new` means that it was not there.

    Attributes:
        path: Dotted, such as `env.LOG_LEVEL` or `container.image`.
        note: What people should know, such as who exported a variable.
    """

    path: str
    old: str
    new: str
    impact: Impact
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitChange:
    """All that changes for one unit.

    Attributes:
        because: For units that follow others: whom and why.
    """

    unit: str
    fate: Fate
    impact: Impact
    fields: tuple[FieldChange, ...] = ()
    because: str = ""

    @property
    def starts_anew(self) -> bool:
        """Whether the process or container that runs now ends."""
        return self.impact.rank >= Impact.RESTART.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between what an agent runs and what its template says now.

    Attributes:
        fields: Changes that are of no unit: the assistant, hooks, limits of the whole agent.
        consents: What needs a yes, each a sentence; data is never deleted without one.
        obstacles: Why it cannot be carried out now, each a sentence.
        fingerprint: Two plans with the same one are the same plan.
    """

    agent: str
    units: tuple[UnitChange, ...] = ()
    fields: tuple[FieldChange, ...] = ()
    consents: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the template says what runs, word for word."""
        return not self.units and not self.fields

    @property
    def impact(self) -> Impact:
        """The highest of all."""
        all_of_them = [*(u.impact for u in self.units), *(f.impact for f in self.fields)]
        return max(all_of_them, key=lambda impact: impact.rank, default=Impact.NONE)

    def names(self, *impacts: Impact) -> tuple[str, ...]:
        """Units with one of these impacts, in the plan's order."""
        return tuple(u.unit for u in self.units if u.impact in impacts)
