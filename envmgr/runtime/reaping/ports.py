"""Port leases that are held for nobody."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.aio import blocking
from envmgr.model.ids import AgentId
from envmgr.model.resource import Kind, Sighting
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
        port = int(seen.name.partition(" ")[0])
        if not await blocking.look("proc", 5.0, ground.systems.sockets.is_free, port):
            raise refused(f"port {port} is still bound")
        await ground.systems.store.write(lambda tx: tx.release_ports(AgentId(seen.agent)))
