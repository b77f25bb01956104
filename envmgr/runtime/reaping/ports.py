"""Port leases that are held for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from envmgr.aio import blocking
from envmgr.model.agent import Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.resource import Kind, Sighting
from envmgr.protocols.store import Transaction
from envmgr.runtime import sharing
from envmgr.runtime.reaping.ground import Ground, refused


class Ports:
    """See `Sort`. What a stopped agent merely remembers is no lease that is held."""

    kind = Kind.PORT

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        leases = await ground.systems.store.read(lambda tx: tx.leases())
        return [
            Sighting(
                kind=Kind.PORT,
                key=f"{lease.agent}/{lease.port}",
                name=f"{lease.port} {lease.service}.{lease.name}",
                instance=ground.instance,
                agent=lease.agent,
            )
            for lease in leases
            if lease.held
        ]

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        """This lease and no other of its agent, unless somebody has begun to start that meanwhile."""
        agent, port = AgentId(seen.agent), int(seen.key.rpartition("/")[2])
        if not await blocking.look("proc", 5.0, ground.systems.sockets.is_free, port):
            raise refused(f"port {port} is still bound")
        await ground.systems.store.write(partial(_give_back, agent=agent, port=port))


def _give_back(tx: Transaction, *, agent: AgentId, port: int) -> None:
    if _is_wanted(tx, agent):
        raise refused(f"the owner of port {port} is back")
    tx.save_leases([replace(one, held=False) for one in tx.leases(agent) if one.port == port])


def _is_wanted(tx: Transaction, agent: AgentId) -> bool:
    """Whether its record says by now that it may need ports; a start is recorded before it takes any."""
    states = [record.state for record in tx.agents() if record.state.id == agent]
    is_at_rest = all(state.lifecycle is Lifecycle.STOPPED and not state.holds for state in states)
    is_shared = any(share.id == agent and (share.is_up or share.holders) for share in sharing.everything(tx))
    return not is_at_rest or is_shared or any(effect.agent == agent for effect in tx.owed())
