"""What happened, for programs and for people who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event before the store numbers it.

    Attributes:
        agent: Agent id; empty for events of the host.
        kind: Dotted, stable, such as `agent.running` or `step.finished`.
        cause: Request id that led to it, empty when nobody asked.
        data: JSON-able details.
    """

    kind: str
    agent: str = ""
    generation: int = 0
    cause: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(NewEvent):
    """A stored event. `seq` only grows; `at` is Unix time."""

    seq: int
    at: float
