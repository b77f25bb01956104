"""However agents come, go and come back: no port has two holders, and all lie where they may."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.ports import Wanted, choose
from envmgr.errors import Conflict
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease
from envmgr.model.service import PortSpec
from envmgr.model.spec import PortsPolicy
from tests.support.requirements import proves

POOL = PortsPolicy(first=20000, last=20019, block=4)
AGENTS = [AgentId(name) for name in ("0tter000", "badger00", "ferret00", "weasel00", "marten00", "polecat0")]


@dataclass(frozen=True, slots=True)
class Arrival:
    agent: AgentId
    wanted: tuple[Wanted, ...]
    busy: frozenset[int]


@dataclass(frozen=True, slots=True)
class Departure:
    agent: AgentId
    forgets: bool


# Preferred ports inside of the pool and beside it.
_PORT = st.integers(19998, 20021)
_SPEC = st.builds(
    PortSpec,
    name=st.sampled_from(["http", "debug"]),
    prefer=st.none() | _PORT,
    fixed=st.integers(0, 9).map(lambda n: n == 0),
)
_WANTED = st.lists(
    st.tuples(st.sampled_from(["api", "web"]), _SPEC), max_size=4, unique_by=lambda w: (w[0], w[1].name)
).map(tuple)
_STEP = st.builds(Arrival, st.sampled_from(AGENTS), _WANTED, st.frozensets(_PORT, max_size=5)) | st.builds(
    Departure, st.sampled_from(AGENTS), st.booleans()
)


def _leave(leases: list[PortLease], step: Departure) -> list[PortLease]:
    if step.forgets:
        return [lease for lease in leases if lease.agent != step.agent]
    return [replace(lease, held=lease.held and lease.agent != step.agent) for lease in leases]


def _arrive(leases: list[PortLease], step: Arrival) -> list[PortLease]:
    chosen = choose(step.agent, step.wanted, policy=POOL, leases=leases, busy=step.busy)
    _check(leases, step, chosen)
    fresh = {(lease.service, lease.name) for lease in chosen}
    kept = [x for x in leases if x.agent != step.agent or (x.service, x.name) not in fresh]
    return [*kept, *chosen]


def _check(leases: list[PortLease], step: Arrival, chosen: tuple[PortLease, ...]) -> None:
    before = {(x.service, x.name): x.port for x in leases if x.agent == step.agent}
    assert [(x.service, x.name) for x in chosen] == [(service, spec.name) for service, spec in step.wanted]
    for lease, (service, spec) in zip(chosen, step.wanted, strict=True):
        assert lease.port not in step.busy
        may_be = {*range(POOL.first, POOL.last + 1), spec.prefer, before.get((service, spec.name))}
        assert lease.port in may_be
        if spec.fixed and spec.prefer is not None:
            assert lease.port == spec.prefer


@proves("PORT-001", "PORT-005")
@given(st.lists(_STEP, max_size=20))
def test_no_two_agents_ever_hold_the_same_port(steps: list[Arrival | Departure]) -> None:
    leases: list[PortLease] = []
    for step in steps:
        match step:
            case Departure():
                leases = _leave(leases, step)
            case Arrival():
                try:
                    leases = _arrive(leases, step)
                except Conflict:
                    continue

        held = Counter(lease.port for lease in leases if lease.held)
        assert [port for port, holders in held.items() if holders > 1] == []


@proves("PORT-002")
@given(_WANTED, st.lists(_STEP, max_size=8))
def test_asking_again_while_holding_gives_the_same_ports(
    wanted: tuple[Wanted, ...], steps: list[Arrival | Departure]
) -> None:
    wanted = tuple((service, replace(spec, fixed=False)) for service, spec in wanted)
    mine = choose(AgentId("mine0000"), wanted, policy=POOL, leases=[])
    leases = list(mine)
    for step in steps:
        if isinstance(step, Arrival):
            try:
                leases = _arrive(leases, step)
            except Conflict:
                continue

    assert choose(AgentId("mine0000"), wanted, policy=POOL, leases=leases) == mine


_MANY = st.integers(1, 20).map(lambda n: tuple((f"s{i}", PortSpec(name="http")) for i in range(n)))


@proves("PORT-007")
@given(st.lists(st.tuples(st.sampled_from(AGENTS), _MANY), max_size=6), _MANY)
def test_who_needs_more_than_a_block_gets_the_least_run_of_blocks_with_room(
    others: list[tuple[AgentId, tuple[Wanted, ...]]], wanted: tuple[Wanted, ...]
) -> None:
    leases: list[PortLease] = []
    for agent, many in others:
        try:
            leases = _arrive(leases, Arrival(agent, many, frozenset()))
        except Conflict:
            continue
    taken = {lease.block for lease in leases}
    needed = -(-len(wanted) // POOL.block)
    starts = range(POOL.first, POOL.last + 1, POOL.block)
    runs = [starts[i : i + needed] for i in range(len(starts) - needed + 1)]
    free = [run for run in runs if not taken.intersection(run)]

    try:
        chosen = choose(AgentId("mine0000"), wanted, policy=POOL, leases=leases)
    except Conflict:
        assert not free
        return

    assert free
    assert sorted({lease.block for lease in chosen}) == list(free[0])
