"""Where a reallocation notes what it gives up, so that one that was cut off does not move a second time."""

from __future__ import annotations

from envmgr.model.ids import AgentId
from envmgr.protocols.store import Transaction


def key(agent: AgentId) -> str:
    """Of the note, in the store."""
    return f"reallocation/{agent}"


def forget(tx: Transaction, agent: AgentId) -> None:
    """The measure has ended, or the agent is gone."""
    tx.drop(key(agent))
