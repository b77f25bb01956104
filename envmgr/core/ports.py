"""Choose TCP ports for an agent's services.

Pure: the caller says which ports are taken and keeps the result. Ports that a service had before are
preferred, so that bookmarks and browser tabs survive a respawn; each agent gets a block of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from envmgr.errors import Conflict
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease
from envmgr.model.service import PortSpec
from envmgr.model.spec import PortsPolicy

Wanted = tuple[str, PortSpec]
"""(service, port)."""


def choose(
    agent: AgentId,
    wanted: Sequence[Wanted],
    *,
    policy: PortsPolicy,
    leases: Sequence[PortLease],
    busy: Collection[int] = (),
) -> tuple[PortLease, ...]:
    """A lease for each wanted port, in the order of asking.

    Order of preference: a fixed port, the port this (agent, service, name) had, the preferred port, the lowest free
    one of the agent's block. Each preference is settled for all ports before the next one, so that no port takes
    another's. Remembered ports of other agents are avoided while their block is not needed.

    Args:
        leases: All leases of the host, held or remembered, this agent's included.
        busy: Ports found bound by somebody else just now.

    Raises:
        Conflict: A fixed port is taken, or the pool or block is exhausted.
    """
    asked = {(service, spec.name) for service, spec in wanted}
    mine = {(x.service, x.name): x.port for x in leases if x.agent == agent}
    # what it holds for services that are not asked for now stays taken, too
    taken = {x.port for x in leases if x.held and (x.agent != agent or (x.service, x.name) not in asked)}
    taken |= set(busy)
    settled: dict[Wanted, int] = {}

    def settle(want: Wanted, port: int | None) -> None:
        if want not in settled and port is not None and port not in taken:
            settled[want] = port
            taken.add(port)

    for service, spec in wanted:
        if spec.fixed:
            _refuse_taken(service, spec, taken)
            settle((service, spec), spec.prefer)
    for service, spec in wanted:
        settle((service, spec), mine.get((service, spec.name)))
    for service, spec in wanted:
        settle((service, spec), spec.prefer)
    block = _block(agent, policy, leases, needed=len(wanted) - len(settled), taken=taken)
    free = (port for port in block if port not in taken)
    for want in wanted:
        if want not in settled:
            settled[want] = next(free)
    return tuple(
        PortLease(
            agent=agent, service=service, name=spec.name, port=settled[service, spec], block=block.start
        )
        for service, spec in wanted
    )


def _refuse_taken(service: str, spec: PortSpec, taken: Collection[int]) -> None:
    if spec.prefer in taken:
        raise Conflict(
            f"port {spec.prefer} of {service}.{spec.name} is taken and the template fixes it",
            hint="Free the port, or drop `fixed` so that another one is chosen.",
            details={"port": spec.prefer, "service": service},
        )


def _block(
    agent: AgentId, policy: PortsPolicy, leases: Sequence[PortLease], *, needed: int, taken: Collection[int]
) -> range:
    """The agent's old block, else the first nobody remembers, else the first nobody holds; with room enough."""
    size = policy.block
    old = next((lease.block for lease in leases if lease.agent == agent), None)
    starts = range(policy.first, policy.last + 2 - size, size)
    remembered = {lease.block for lease in leases if lease.agent != agent}
    held = {lease.block for lease in leases if lease.agent != agent and lease.held}
    candidates = [old] if old is not None else []
    candidates += [start for start in starts if start not in remembered]
    candidates += [start for start in starts if start in remembered - held]
    for start in candidates:
        block = range(start, start + size)
        if sum(port not in taken for port in block) >= needed:
            return block
    if needed > size:
        raise Conflict(
            f"{needed} ports do not fit into a block of {size}", hint="Raise `ports.block` in the template."
        )
    raise Conflict(
        f"all {len(starts)} port blocks between {policy.first} and {policy.last} are in use",
        hint="Stop or remove agents (`envmgr ls`), or widen `ports.first`/`ports.last` in the settings.",
    )
