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
    """A lease for each wanted port.

    Order of preference: a fixed port, the port this (agent, service, name) had, the preferred port, the lowest free
    one of the agent's block. Remembered ports of other agents are avoided while their block is not needed.

    Args:
        leases: All leases of the host, held or remembered, this agent's included.
        busy: Ports found bound by somebody else just now.

    Raises:
        Conflict: A fixed port is taken, or the pool or block is exhausted.
    """
    others = [lease for lease in leases if lease.agent != agent]
    mine = {(lease.service, lease.name): lease.port for lease in leases if lease.agent == agent}
    taken = {lease.port for lease in others if lease.held} | set(busy)
    block = _block(agent, policy, leases, needed=len(wanted), busy=busy)
    chosen: list[PortLease] = []
    for service, spec in wanted:
        port = _one(service, spec, mine.get((service, spec.name)), block, taken)
        taken.add(port)
        chosen.append(PortLease(agent=agent, service=service, name=spec.name, port=port, block=block.start))
    return tuple(chosen)


def _one(service: str, spec: PortSpec, before: int | None, block: range, taken: Collection[int]) -> int:
    if spec.fixed and spec.prefer is not None:
        if spec.prefer in taken:
            raise Conflict(
                f"port {spec.prefer} of {service}.{spec.name} is taken and the template fixes it",
                hint="Free the port, or drop `fixed` so that another one is chosen.",
                details={"port": spec.prefer, "service": service},
            )
        return spec.prefer
    candidates: tuple[int | None, ...] = (before, spec.prefer, *block)
    for port in candidates:
        if port is not None and port not in taken:
            return port
    raise Conflict(
        f"no free port left for {service}.{spec.name} in block {block.start}-{block.stop - 1}",
        hint="Raise `ports.block` in the template.",
    )


def _block(
    agent: AgentId, policy: PortsPolicy, leases: Sequence[PortLease], *, needed: int, busy: Collection[int]
) -> range:
    """The agent's old block, else the first nobody remembers, else the first nobody holds."""
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
        if sum(port not in busy for port in block) >= needed:
            return block
    raise Conflict(
        f"all {len(starts)} port blocks between {policy.first} and {policy.last} are in use",
        hint="Stop or remove agents (`envmgr ls`), or widen `ports.first`/`ports.last` in the settings.",
    )
