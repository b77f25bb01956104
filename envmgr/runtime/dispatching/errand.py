"""Which task an agent was given and how far it is: noted in the claim's own change, so that no daemon forgets it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from envmgr.model.ids import AgentId
from envmgr.model.task import Task
from envmgr.protocols.store import Transaction


class Stage(StrEnum):
    """How far it is."""

    GIVEN = "given"
    """Claimed for the agent; whether it was told is not known."""
    TOLD = "told"
    """The assistant has taken the prompt."""
    ENDED = "ended"
    """It says that it has done what the prompt asked."""
    FAILED = "failed"
    """It says that it could not go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A task that an agent was given.

    Attributes:
        generation: Of the agent that was given it.
        rounds: How often it was asked to mend what the checks found.
        reason: Why it could not go on.
    """

    task: str
    lease: int
    generation: int
    stage: Stage = Stage.GIVEN
    rounds: int = 0
    reason: str = ""


def read(tx: Transaction, agent: AgentId) -> Errand | None:
    """What it was given and is not through with."""
    noted = tx.get(_key(agent))
    if noted is None:
        return None
    said = json.loads(noted)
    return Errand(**{**said, "stage": Stage(said["stage"])})


def write(tx: Transaction, agent: AgentId, errand: Errand) -> None:
    """Note it."""
    tx.put(_key(agent), json.dumps(asdict(errand)))


def drop(tx: Transaction, agent: AgentId) -> None:
    """It is over; dropping twice is harmless."""
    tx.drop(_key(agent))


def end(tx: Transaction, agent: AgentId, generation: int, *, reason: str) -> None:
    """The assistant says how its turn has ended; the first word counts.

    Args:
        reason: Why it could not go on; empty when it has done what was asked.
    """
    errand = read(tx, agent)
    if errand is not None and errand.generation == generation and errand.stage in (Stage.GIVEN, Stage.TOLD):
        write(tx, agent, replace(errand, stage=Stage.FAILED if reason else Stage.ENDED, reason=reason))


def of(task: Task, generation: int) -> Errand:
    """The note of a claim."""
    return Errand(task=task.name, lease=task.lease, generation=generation)


def _key(agent: AgentId) -> str:
    return f"errand/{agent}"
