"""What was decided and is still to be done; stored until it is, and driven again after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EffectKind(StrEnum):
    """The things a decision can ask of the runtime."""

    SPAWN = "spawn"
    CANCEL_SPAWN = "cancel_spawn"
    STOP = "stop"
    REMOVE = "remove"
    TELL = "tell"
    CLIMB = "climb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One owed act. All kinds may run twice.

    Attributes:
        generation: The incarnation it is about; a decision never names another one.
        detail: For TELL the sentence to tell a person; for CLIMB the rung's number.
    """

    kind: EffectKind
    generation: int
    detail: str = ""
