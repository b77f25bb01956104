"""Keys that have been worthless for long are forgotten."""

from __future__ import annotations

from envmgr.runtime.maintenance.task import Done, Order

_DAYS = 30.0


class OldKeys:
    """What was done with them stays in the audit trail."""

    name, says = "keys", "forget keys that were revoked or have expired long ago"

    async def do(self, order: Order) -> Done:
        before_at = order.before(_DAYS)
        store = order.supervisor.systems.store
        if order.is_dry:
            known = await store.read(lambda tx: tx.keys.list())
            ends = [key.revoked_at or key.expires_at for key in known]
            return Done(count=sum(0 < end < before_at for end in ends))
        return Done(count=await store.write(lambda tx: tx.keys.forget(before_at=before_at)))
