"""Choose TCP ports for an agent's services.

Pure: the caller says which ports are taken and keeps the result. Ports that a service had before are
preferred, so that bookmarks and browser tabs survive a respawn; each agent gets a block of its own, or several in a row when
it needs more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

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
    one of the agent's blocks. Each preference is settled for all ports before the next one, so that no port takes
    another's. Remembered ports of other agents are avoided while their block is not needed.

    Args:
        leases: All leases of the host, held or remembered, this agent's included.
        busy: Ports found bound by somebody else just now.

    Raises:
        Conflict: A fixed port is taken, or the pool is exhausted.
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
    blocks = {lease.port: lease.block for lease in leases if lease.agent == agent}
    run = range(0)
    # Who comes back to the ports it had needs no block, and finds them also in a pool that is full.
    if len(settled) < len(wanted) or not blocks.keys() >= set(settled.values()):
        run = _run(agent, policy, leases, needed=len(wanted) - len(settled), taken=taken)
    free = (port for port in run if port not in taken)
    for want in wanted:
        if want not in settled:
            settled[want] = next(free)
    return tuple(
        PortLease(
            agent=agent,
            service=service,
            name=spec.name,
            port=(port := settled[service, spec]),
            block=blocks.get(port) or _block_of(port, run, size=policy.block),
        )
        for service, spec in wanted
    )


def free_blocks(policy: PortsPolicy, leases: Sequence[PortLease]) -> tuple[int, int]:
    """How many blocks of the pool nobody holds a port of, and how many there are."""
    blocks = (policy.last + 1 - policy.first) // policy.block
    held = {(lease.port - policy.first) // policy.block for lease in leases if lease.held}
    return blocks - len(held & set(range(blocks))), blocks


def _block_of(port: int, run: range, *, size: int) -> int:
    """A port that is not in the run (fixed or preferred) counts to the run's first block."""
    return port - (port - run.start) % size if port in run else run.start


def _refuse_taken(service: str, spec: PortSpec, taken: Collection[int]) -> None:
    if spec.prefer in taken:
        raise Conflict(
            f"port {spec.prefer} of {service}.{spec.name} is taken and the template fixes it",
            hint="Free the port, or drop `fixed` so that another one is chosen.",
            details={"port": spec.prefer, "service": service},
        )


def _run(
    agent: AgentId, policy: PortsPolicy, leases: Sequence[PortLease], *, needed: int, taken: Collection[int]
) -> range:
    """The least run of whole blocks with room enough.

    It begins at the agent's old block, else it is made of blocks that nobody remembers, else of blocks that nobody holds.
    """
    size = policy.block
    starts = range(policy.first, policy.last + 2 - size, size)

    def around(port: int) -> int:
        return port - (port - policy.first) % size

    remembered = {around(lease.block) for lease in leases if lease.agent != agent}
    held = {around(lease.block) for lease in leases if lease.agent != agent and lease.held}
    old = min((lease.block for lease in leases if lease.agent == agent), default=None)

    def room(start: int) -> int:
        return sum(port not in taken for port in range(start, start + size))

    def least(firsts: Iterable[int], avoided: Collection[int]) -> range | None:
        found = (_from(first, starts, avoided=avoided, room=room, needed=needed) for first in firsts)
        return min((run for run in found if run), key=len, default=None)

    if old is not None:
        # its own block is its own, whatever others remember; what follows must be unclaimed
        own = {around(lease.block) for lease in leases if lease.agent == agent}
        if (run := least([old], remembered - own)) is not None:
            return run
    if (run := least(starts, remembered)) is not None or (run := least(starts, held)) is not None:
        return run
    raise _exhausted(policy, needed=needed, blocks=len(starts))


def _exhausted(policy: PortsPolicy, *, needed: int, blocks: int) -> Conflict:
    pool = f"between {policy.first} and {policy.last}"
    if needed > blocks * policy.block:
        hint = "Widen `ports.first`/`ports.last` in the settings, or `ports.range` in the template."
        return Conflict(f"{needed} ports do not fit {pool}", hint=hint)
    hint = "Stop or remove agents (`envmgr ls`), or widen `ports.first`/`ports.last` in the settings."
    if needed > policy.block:
        return Conflict(f"{needed} ports need port blocks in a row, and too few {pool} are free", hint=hint)
    return Conflict(f"all {blocks} port blocks {pool} are in use", hint=hint)


def _from(
    first: int, starts: range, *, avoided: Collection[int], room: Callable[[int], int], needed: int
) -> range | None:
    """The least run that begins here; None where it would meet a block to avoid, or the end of the pool."""
    size, end, found = starts.step, first, 0
    while end == first or found < needed:
        if end in avoided or end >= starts.stop:
            return None
        found += room(end)
        end += size
    return range(first, end)
