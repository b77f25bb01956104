"""What restart policies remember, in the store: a restart of the daemon refills no budget."""

from __future__ import annotations

import json

from envmgr.core.restart import History
from envmgr.model.ids import AgentId
from envmgr.protocols.store import Transaction

Launch = tuple[int, int]
"""(generation, number of the launch)"""


def read(tx: Transaction, agent: AgentId, unit: str) -> History:
    """Of one unit; empty for one that was never restarted."""
    text = tx.get(_key(agent, unit))
    if text is None:
        return History()
    said = json.loads(text)
    return History(restarts=tuple(said["restarts"]), attempt=said["attempt"])


def write(tx: Transaction, agent: AgentId, unit: str, history: History) -> None:
    """Replace it."""
    said = {"restarts": history.restarts, "attempt": history.attempt}
    tx.put(_key(agent, unit), json.dumps(said))


def begin_anew(tx: Transaction, agent: AgentId, unit: str) -> None:
    """Somebody started it on purpose: the next delay is the first one again. What was counted stays counted."""
    history = read(tx, agent, unit)
    if history.attempt:
        write(tx, agent, unit, History(restarts=history.restarts))


def give_up(tx: Transaction, agent: AgentId, unit: str, launch: Launch) -> None:
    """It stays down after the end of this launch, also when a later daemon sees that end again."""
    tx.put(_given_up(agent, unit), json.dumps(launch))


def has_given_up(tx: Transaction, agent: AgentId, unit: str, launch: Launch) -> bool:
    """Whether the end of this launch was judged so."""
    text = tx.get(_given_up(agent, unit))
    return text is not None and tuple(json.loads(text)) == launch


def promise(tx: Transaction, agent: AgentId, unit: str, launch: Launch, due_at: float) -> None:
    """The end of this launch was counted; at that steady time it is started again, by whichever daemon there is then."""
    tx.put(_promised(agent, unit), json.dumps([launch, due_at]))


def due_at(tx: Transaction, agent: AgentId, unit: str, launch: Launch) -> float | None:
    """When it is to be started again after the end of this launch; None when that was not judged yet."""
    text = tx.get(_promised(agent, unit))
    if text is None:
        return None
    known, at = json.loads(text)
    return float(at) if tuple(known) == launch else None


def forget(tx: Transaction, agent: AgentId) -> None:
    """The agent is stopped: its next start owes nothing to this one."""
    for key in tx.under(_key(agent, "")):
        tx.drop(key)


def _given_up(agent: AgentId, unit: str) -> str:
    return _key(agent, f"{unit}/stays-down")


def _promised(agent: AgentId, unit: str) -> str:
    return _key(agent, f"{unit}/next")


def _key(agent: AgentId, unit: str) -> str:
    return f"restarts/{agent}/{unit}"
