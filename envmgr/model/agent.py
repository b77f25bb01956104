"""The recorded state of one agent: two axes, conditions, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung


class Lifecycle(StrEnum):
    """Where an agent is in its life."""

    SPAWNING = "spawning"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


class Activity(StrEnum):
    """What the assistant is doing; meaningful only while RUNNING."""

    READY = "ready"
    WORKING = "working"
    AWAITING_INPUT = "awaiting_input"
    VALIDATING = "validating"


class Source(StrEnum):
    """Where a claim about the activity comes from, best evidence first."""

    HOOK = "hook"
    STREAM = "stream"
    PROCESS = "process"
    SCREEN = "screen"
    ENVMGR = "envmgr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why we believe the present activity.

    Attributes:
        at: Unix time of the observation.
        detail: What was seen, such as the hook's name.
    """

    source: Source
    detail: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A reasoned remark on an agent; it explains, and is branched on nowhere but in `core`.

    Attributes:
        type: Such as `ServiceDown`, `Unobservable`, `AssistantExited`, `Leaked`.
        subject: What it is about (a service's name), empty for the whole agent.
        since: Unix time at which it began.
    """

    type: str
    reason: str
    since: float
    subject: str = ""


class Desired(StrEnum):
    """What the person asked for last; survives restarts of the daemon."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """All that `core.lifecycle.decide` knows of an agent.

    Attributes:
        generation: Grows by one with each spawn; 0 before the first.
        holds: Names of spawn steps whose results exist and are not yet given back.
        reason: One sentence on the present lifecycle, shown to people.
        since: Unix time at which the present lifecycle began.
        activity_since: Unix time at which the present activity began.
        rung: The recovery measure under way; None when there is none. 5 means: a person is asked, nothing happens by itself.
        incident: Id of the incident it is about; 0 without a rung.
    """

    id: AgentId
    name: str
    generation: int = 0
    lifecycle: Lifecycle = Lifecycle.STOPPED
    desired: Desired = Desired.STOPPED
    activity: Activity | None = None
    evidence: Evidence | None = None
    activity_since: float = 0.0
    conditions: tuple[Condition, ...] = ()
    holds: frozenset[str] = field(default_factory=frozenset)
    reason: str = ""
    since: float = 0.0
    rung: Rung | None = None
    incident: int = 0

    @property
    def is_alive(self) -> bool:
        """It runs, or all that is left of it does while a person is asked."""
        return self.lifecycle is Lifecycle.RUNNING or self.rung is Rung.PERSON

    def with_condition(self, condition: Condition) -> AgentState:
        """Add it, or refresh its reason; an existing one of same type and subject keeps its `since`."""
        old = next(
            (c for c in self.conditions if (c.type, c.subject) == (condition.type, condition.subject)), None
        )
        kept = replace(condition, since=old.since) if old else condition
        return replace(self, conditions=(*self.without(condition.type, condition.subject).conditions, kept))

    def without(self, type_: str, subject: str = "") -> AgentState:
        """Drop the condition of this type and subject, if there is one."""
        left = tuple(c for c in self.conditions if (c.type, c.subject) != (type_, subject))
        return replace(self, conditions=left)
