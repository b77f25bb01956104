"""Hold the ports an agent's services need, and the services it shares."""

from __future__ import annotations

from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.saga import Receipt, Step
from envmgr.runtime.steps import shared


class LeasePorts(Step):
    """Step: hold the ports, and a place among those who use each shared service."""

    name = "ports"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Leases and bind tests; the receipt is for people, the leases are in the store."""
        await claim_ports(self._inc)
        await shared.hold(self._inc)
        return {f"{service}.{name}": port for (service, name), port in self._inc.ports.items()}

    async def undo(self, receipt: Receipt | None) -> None:
        """Give the ports back; their numbers stay remembered for the next generation."""
        await self._inc.systems.store.write(lambda tx: tx.release_ports(self._inc.id))
        await shared.leave(self._inc)
