"""Handoffs and sessions of long ago are forgotten."""

from __future__ import annotations

from envmgr.protocols.store import Transaction
from envmgr.runtime.maintenance.task import Done, Order

_AT_ONCE = 500


class OldLeavings:
    """The newest handoff of each agent stays."""

    name, says = "handoffs", "forget handoffs and ended sessions of long ago"

    def __init__(self, keep_days: float) -> None:
        self._keep_days = keep_days

    async def do(self, order: Order) -> Done:
        before_at = order.before(self._keep_days)
        store = order.supervisor.systems.store

        def count(tx: Transaction) -> int:
            return tx.handoffs.old(before_at=before_at) + tx.sessions.old(before_at=before_at)

        def prune(tx: Transaction) -> int:
            gone = tx.handoffs.prune(before_at=before_at, limit=_AT_ONCE)
            return gone + tx.sessions.prune(before_at=before_at, limit=_AT_ONCE)

        if order.is_dry:
            return Done(count=await store.read(count))
        total = 0
        while gone := await store.write(prune):
            total += gone
        return Done(count=total)
