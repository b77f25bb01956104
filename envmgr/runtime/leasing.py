"""Lease ports in the store and make sure nobody else has them."""

from __future__ import annotations

from collections.abc import Collection

from envmgr.aio import blocking
from envmgr.core import ports
from envmgr.errors import Conflict
from envmgr.model.lease import PortLease
from envmgr.model.observe import Present, ProcessIdentity
from envmgr.model.service import ServiceSpec
from envmgr.protocols.processes import Sockets
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation, Systems

_ATTEMPTS = 10


async def claim_ports(inc: Incarnation, *, busy: Collection[int] = ()) -> None:
    """Lease a port for each port of the spec, save those of shared services, and fill `inc.ports`.

    Choosing and writing happen in one transaction, so that parallel spawns cannot meet; each chosen port is then bound
    once on v4 and v6, and a busy one is replaced. Calling it again keeps what is held and not in `busy`.

    Raises:
        Conflict: A fixed port is taken, or the pool is exhausted.
    """
    wanted = [(s.name, p) for s in inc.services if not s.is_shared for p in s.ports if p.number is None]
    inc.ports.update(
        {(s.name, p.name): p.number for s in inc.services for p in s.ports if p.number is not None}
    )
    mine = set(inc.ports.values())
    fixed = {(service, spec.name) for service, spec in wanted if spec.fixed}
    unusable = set(busy)

    def lease(tx: Transaction) -> tuple[PortLease, ...]:
        chosen = ports.choose(inc.id, wanted, policy=inc.spec.ports, leases=tx.leases(), busy=unusable)
        tx.save_leases(chosen)
        return chosen

    for _ in range(_ATTEMPTS if wanted else 0):
        leases = await inc.systems.store.write(lease)
        fresh = [x.port for x in leases if x.port not in mine]
        taken = await blocking.look("proc", 5.0, _bound, inc.systems.sockets, fresh) if fresh else set()
        if not taken:
            inc.ports.update({(x.service, x.name): x.port for x in leases})
            return
        for lost in leases:
            if lost.port in taken and (lost.service, lost.name) in fixed:
                raise await _fixed_is_taken(inc, lost)
        unusable |= taken
    if wanted:
        raise Conflict(
            f"{len(unusable)} ports in a row are taken by other programs",
            hint="See who listens with `ss -ltnp`, or move the pool with `ports.range` in the template.",
        )


def may_move(inc: Incarnation, service: ServiceSpec, port: int) -> bool:
    """Whether a service can do with another port than this one."""
    spec = next((p for p in service.ports if inc.port(service.name, p.name) == port), None)
    return spec is not None and not spec.fixed and spec.number is None


def _bound(sockets: Sockets, numbers: Collection[int]) -> set[int]:
    return {port for port in numbers if not sockets.is_free(port)}


async def _fixed_is_taken(inc: Incarnation, lease: PortLease) -> Conflict:
    """Name who has the port, as far as this user may see."""
    owner = await blocking.look("proc", 5.0, _owner, inc.systems, lease.port)
    return Conflict(
        f"port {lease.port} of {lease.service}.{lease.name} is taken by {owner}, and the template fixes it",
        hint="Free the port, or drop `fixed` so that another one is chosen.",
        details={"port": lease.port, "service": lease.service},
    )


def _owner(systems: Systems, port: int) -> str:
    match systems.sockets.listener(port):
        case Present(value=ProcessIdentity(pid=pid)):
            return f"pid {pid} ({systems.processes.command(pid)})"
    return "another program"
