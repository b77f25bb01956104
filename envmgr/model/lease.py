"""Ports an agent holds, and the trail of a saga."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from envmgr.model.ids import AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class PortLease:
    """One port, held or remembered.

    Attributes:
        held: False keeps the number reserved by preference only (sticky), free for others in need.
        block: First port of the agent's block.
    """

    agent: AgentId
    service: str
    name: str
    port: int
    block: int
    held: bool = True


class StepState(StrEnum):
    """What the journal says of a step."""

    STARTED = "started"
    FINISHED = "finished"
    UNDONE = "undone"
    LEAKED = "leaked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """The journal's last word on one step of one generation.

    Attributes:
        order: Position in which the step was started; undo goes the other way.
        receipt: What `do` returned; None if it did not return.
        error: Why it leaked.
    """

    step: str
    order: int
    state: StepState
    receipt: Mapping[str, object] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A name that must not exist any more, watched until it surely does not.

    Attributes:
        kind: `session`, `worktree`, `keeper`, ...
        since: Unix time.
    """

    kind: str
    name: str
    agent: AgentId
    generation: int
    since: float
    data: Mapping[str, str] = field(default_factory=dict)
