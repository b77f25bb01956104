"""The key by which an assistant says who it is: new at each of its starts, in its environment only, and worthless once it has ended."""

from __future__ import annotations

from envmgr.model.principal import AGENT_SCOPES
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation


async def issue(inc: Incarnation) -> str:
    """A new key in clear, known nowhere else; the one before it is worthless. Empty where nobody looks after keys."""
    keys, wanted = inc.systems.keys, inc.spec.assistant.scopes
    if keys is None:
        return ""
    scopes = AGENT_SCOPES if wanted is None else wanted

    def change(tx: Transaction) -> str:
        keys.revoke_agent(tx, inc.id)
        issued = keys.issue(tx, name=inc.name, agent=inc.id, generation=inc.generation, scopes=scopes)
        return issued.clear

    return await inc.systems.store.write(change)


async def revoke(inc: Incarnation) -> None:
    """Whoever still has it is nobody from now on."""
    if (keys := inc.systems.keys) is not None:
        await inc.systems.store.write(lambda tx: keys.revoke_agent(tx, inc.id))
