"""A measure as it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.model.incident import FailureClass, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One climb of the ladder.

    Attributes:
        key: The same when it is driven again after a crash of the daemon, and of no other measure.
        unit: The service it is about; empty: the whole agent.
        failure: What it is taken against; None when a person asks for it without one.
        because: Why, for people.
    """

    rung: Rung
    incident: int
    key: str
    unit: str = ""
    failure: FailureClass | None = None
    because: str = ""
