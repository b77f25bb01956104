"""What can happen to an agent: requests may be refused, facts never are.

A fact carries the generation it is about; one of another generation changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.model.agent import Activity, Source
from envmgr.model.change import Drift
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceState


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequested:
    """Somebody wants the agent to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Somebody wants the agent stopped. `by` is shown in the reason."""

    by: str = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRequested:
    """Somebody wants agent and worktree gone; what is at risk was settled before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverRequested:
    """Somebody wants this measure taken now, whatever was tried; `rung` is SERVICE to RESPAWN."""

    incident: int
    rung: Rung
    reason: str


Request = SpawnRequested | StopRequested | RemoveRequested | RecoverRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnSucceeded:
    """Every step is done; `holds` names them."""

    generation: int
    holds: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnFailed:
    """A step failed and the started ones were undone, save `leaked` (step names)."""

    generation: int
    step: str
    reason: str
    leaked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSucceeded:
    """Verified: process set empty, ports bindable, session gone."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLeaked:
    """The stop ended with survivors, each a short description."""

    generation: int
    survivors: tuple[str, ...]
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Worktree and files are gone (or were never there)."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalFailed:
    """Removal stopped before anything was lost."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantExited:
    """The assistant's process ended. `code` is None when only its absence was seen."""

    generation: int
    code: int | None
    signal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost:
    """The terminal session is gone (seen absent twice), or its server."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityReported:
    """The assistant, or envmgr's look at it, says what it is doing."""

    generation: int
    activity: Activity
    source: Source
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged:
    """A service became ready, was lost, or ended."""

    generation: int
    service: str
    state: ServiceState
    detail: str = ""
    critical: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationLost:
    """A system did not answer; nothing is concluded from that."""

    generation: int
    subject: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationRegained:
    """It answers again."""

    generation: int
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSeen:
    """What was found when recorded and observed were compared. An empty `reason`: nothing (any more)."""

    generation: int
    drift: Drift
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSeen:
    """Something uses more than it should, and goes on. An empty `reason`: not any more.

    Attributes:
        subject: `memory` of the whole agent, or `SERVICE.cpus`.
        is_forecast: It does not yet, but soon will.
        evidence: Numbers that this follows from.
    """

    generation: int
    subject: str
    reason: str
    is_forecast: bool = False
    evidence: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Something that can be neither adopted nor ended stands in the way of a part. An empty `reason`: not any more.

    Attributes:
        subject: A service; empty: the whole agent.
    """

    generation: int
    subject: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRestarted:
    """The machine was started anew since: nothing of the generation runs any more.

    Attributes:
        restores: Whether it is to run again; else that is for a person to say.
    """

    generation: int
    restores: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RungChosen:
    """The ladder has chosen a measure against an incident; `rung` is SERVICE to PERSON."""

    generation: int
    incident: int
    rung: Rung
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RespawnPrepared:
    """The work is saved: this generation may be stopped, and the next one spawned on the same worktree."""

    generation: int
    incident: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRestored:
    """Terminal session and assistant were made again; whether they last is seen later."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RungHeld:
    """The measure helped: everything critical was well for the stable period. Also: a person has mended it after rung 5."""

    generation: int
    incident: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFailed:
    """The measure did not help, or could not be carried out; another is chosen next."""

    generation: int
    incident: int
    reason: str


Fact = (
    SpawnSucceeded
    | SpawnFailed
    | StopSucceeded
    | StopLeaked
    | Removed
    | RemovalFailed
    | AssistantExited
    | SessionLost
    | ActivityReported
    | ServiceChanged
    | ObservationLost
    | ObservationRegained
    | DriftSeen
    | LimitSeen
    | Quarantined
    | HostRestarted
    | RungChosen
    | RespawnPrepared
    | SessionRestored
    | RungHeld
    | RungFailed
)
Stimulus = Request | Fact
