"""Lease ports in the store and make sure nobody else has them."""

from __future__ import annotations

from collections.abc import Collection

from envmgr.core import ports
from envmgr.errors import Conflict
from envmgr.model.lease import PortLease
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation

_ATTEMPTS = 10


async def claim_ports(inc: Incarnation, *, busy: Collection[int] = ()) -> None:
    """Lease a port for each port of the spec and fill `inc.ports`.

    Choosing and writing happen in one transaction, so that parallel spawns cannot meet; each chosen port is then bound
    once on v4 and v6, and a busy one is replaced. Calling it again keeps what is held and not in `busy`.

    Raises:
        Conflict: A fixed port is taken, or the pool is exhausted.
    """
    wanted = [(s.name, p) for s in inc.spec.services for p in s.ports if p.number is None]
    inc.ports.update(
        {(s.name, p.name): p.number for s in inc.spec.services for p in s.ports if p.number is not None}
    )
    mine = set(inc.ports.values())
    unusable = set(busy)

    def lease(tx: Transaction) -> tuple[PortLease, ...]:
        chosen = ports.choose(inc.id, wanted, policy=inc.spec.ports, leases=tx.leases(), busy=unusable)
        tx.save_leases(chosen)
        return chosen

    for _ in range(_ATTEMPTS if wanted else 0):
        leases = await inc.systems.store.write(lease)
        taken = {x.port for x in leases if x.port not in mine and not inc.systems.sockets.is_free(x.port)}
        if not taken:
            inc.ports.update({(x.service, x.name): x.port for x in leases})
            return
        unusable |= taken
    if wanted:
        raise Conflict(
            f"{len(unusable)} ports in a row are taken by other programs",
            hint="See who listens with `ss -ltnp`, or move the pool with `ports.range` in the template.",
        )
