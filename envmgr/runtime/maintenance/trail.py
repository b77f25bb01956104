"""Old rows of the audit trail go into files, and very old files go."""

from __future__ import annotations

from envmgr.runtime.maintenance.task import Done, Order
from envmgr.services.audit.keeping import Keeping


class Trail:
    """See `Keeping`."""

    name, says = "audit", "move old rows of the audit trail into files"

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping

    async def do(self, order: Order) -> Done:
        clocks = order.supervisor.systems
        moved, freed = await self._keeping.work(now=clocks.now(), steady=clocks.steady(), is_dry=order.is_dry)
        return Done(count=moved, bytes=freed)
