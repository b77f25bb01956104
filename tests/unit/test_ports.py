"""Which port a service gets: its own again, the one it prefers, or the next free one of its agent's block."""

from __future__ import annotations

import pytest

from envmgr.core.ports import Wanted, choose
from envmgr.errors import Conflict
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease
from envmgr.model.service import PortSpec
from envmgr.model.spec import PortsPolicy
from tests.support.requirements import proves

OTTER, BADGER = AgentId("0tter000"), AgentId("badger00")
POOL = PortsPolicy(first=20000, last=20029, block=10)
SMALL = PortsPolicy(first=20000, last=20003, block=2)


def want(service: str, *, name: str = "http", prefer: int | None = None, fixed: bool = False) -> Wanted:
    return service, PortSpec(name=name, prefer=prefer, fixed=fixed)


def lease(
    agent: AgentId, service: str, port: int, *, block: int = 20000, held: bool = True, name: str = "http"
) -> PortLease:
    return PortLease(agent=agent, service=service, name=name, port=port, block=block, held=held)


def ports(leases: tuple[PortLease, ...]) -> list[int]:
    return [lease.port for lease in leases]


@proves("PORT-001")
def test_a_first_agent_gets_the_lowest_ports_of_the_first_block() -> None:
    chosen = choose(OTTER, [want("api"), want("web"), want("web", name="hmr")], policy=POOL, leases=[])

    assert chosen == (
        lease(OTTER, "api", 20000),
        lease(OTTER, "web", 20001),
        lease(OTTER, "web", 20002, name="hmr"),
    )


@proves("PORT-001")
def test_each_agent_gets_a_block_of_its_own() -> None:
    taken = [lease(BADGER, "api", 20000)]

    chosen = choose(OTTER, [want("api")], policy=POOL, leases=taken)

    assert chosen == (lease(OTTER, "api", 20010, block=20010),)


@proves("PORT-001")
def test_a_block_that_another_agent_remembers_is_used_only_when_no_other_is_left() -> None:
    remembered = [
        lease(BADGER, "api", 20000, held=False),
        lease(AgentId("ferret00"), "api", 20010, block=20010),
    ]

    first = choose(OTTER, [want("api")], policy=POOL, leases=remembered)
    second = choose(AgentId("weasel00"), [want("api")], policy=POOL, leases=[*remembered, *first])

    assert ports(first) == [20020]
    assert ports(second) == [20000]


@proves("PORT-002")
def test_a_service_gets_the_port_again_that_it_had() -> None:
    known = [lease(OTTER, "api", 20014, block=20010, held=False)]

    chosen = choose(OTTER, [want("web"), want("api")], policy=POOL, leases=known)

    assert chosen == (lease(OTTER, "web", 20010, block=20010), lease(OTTER, "api", 20014, block=20010))


@proves("PORT-002")
def test_what_a_service_had_counts_more_than_what_it_prefers() -> None:
    known = [lease(OTTER, "api", 20003)]

    assert ports(choose(OTTER, [want("api", prefer=3000)], policy=POOL, leases=known)) == [20003]


@proves("PORT-002", "PORT-004")
def test_a_service_that_must_move_does_not_take_the_port_of_another_one_that_runs() -> None:
    known = [lease(OTTER, "api", 20000), lease(OTTER, "web", 20001)]

    chosen = choose(OTTER, [want("api"), want("web")], policy=POOL, leases=known, busy={20000})

    assert ports(chosen) == [20002, 20001]


@proves("PORT-002")
def test_a_port_that_another_agent_holds_meanwhile_is_not_taken_back() -> None:
    known = [lease(OTTER, "api", 20000, held=False), lease(BADGER, "api", 20000)]

    assert ports(choose(OTTER, [want("api")], policy=POOL, leases=known)) == [20001]


@proves("PORT-002")
def test_a_port_it_holds_for_another_service_is_not_given_out_again() -> None:
    known = [lease(OTTER, "old", 20000)]

    assert ports(choose(OTTER, [want("api")], policy=POOL, leases=known)) == [20001]


@proves("PORT-003")
def test_a_preferred_port_is_taken_when_it_is_free() -> None:
    assert ports(choose(OTTER, [want("api", prefer=8080)], policy=POOL, leases=[])) == [8080]


@proves("PORT-003")
def test_a_preferred_port_that_is_taken_is_given_up() -> None:
    assert ports(choose(OTTER, [want("api", prefer=8080)], policy=POOL, leases=[], busy={8080})) == [20000]


@proves("PORT-003")
def test_a_fixed_port_counts_more_than_what_others_of_the_agent_would_like() -> None:
    known = [lease(OTTER, "web", 20000)]

    chosen = choose(
        OTTER,
        [want("api"), want("web"), want("db", prefer=20000, fixed=True)],
        policy=POOL,
        leases=known,
    )

    assert ports(chosen) == [20001, 20002, 20000]


@proves("PORT-003")
@pytest.mark.parametrize(
    ("leases", "busy"), [([lease(BADGER, "api", 8080)], set[int]()), (list[PortLease](), {8080})]
)
def test_a_fixed_port_that_is_taken_is_a_conflict_that_names_it(
    leases: list[PortLease], busy: set[int]
) -> None:
    with pytest.raises(Conflict, match="port 8080 of api.http is taken and the template fixes it") as error:
        choose(OTTER, [want("api", prefer=8080, fixed=True)], policy=POOL, leases=leases, busy=busy)

    assert error.value.details == {"port": 8080, "service": "api"}


@proves("PORT-003")
def test_two_services_that_fix_the_same_port_are_a_conflict() -> None:
    both = [want("api", prefer=8080, fixed=True), want("web", prefer=8080, fixed=True)]

    with pytest.raises(Conflict, match="8080 of web.http"):
        choose(OTTER, both, policy=POOL, leases=[])


@proves("PORT-004")
def test_ports_that_are_bound_by_somebody_else_are_passed_over() -> None:
    assert ports(choose(OTTER, [want("api")], policy=POOL, leases=[], busy={20000, 20001})) == [20002]


@proves("PORT-004")
def test_a_block_without_room_is_passed_over() -> None:
    crowded = set(range(20000, 20009))

    assert ports(choose(OTTER, [want("a"), want("b")], policy=POOL, leases=[], busy=crowded)) == [
        20010,
        20011,
    ]


@proves("PORT-004")
def test_ports_that_another_agent_fixed_inside_of_a_block_count_as_taken_room() -> None:
    foreign = [lease(BADGER, "a", 20000, block=20002), lease(BADGER, "b", 20001, block=20002, held=True)]

    with pytest.raises(Conflict, match="all 2 port blocks between 20000 and 20003 are in use"):
        choose(OTTER, [want("a")], policy=SMALL, leases=foreign)


@proves("PORT-004")
def test_more_ports_than_the_pool_has_say_so() -> None:
    with pytest.raises(Conflict, match="5 ports do not fit between 20000 and 20003") as error:
        choose(OTTER, [want(name) for name in "abcde"], policy=SMALL, leases=[])

    assert "ports.range" in error.value.hint


@proves("PORT-007")
def test_an_agent_that_needs_more_than_a_block_gets_blocks_in_a_row() -> None:
    others = [lease(BADGER, "a", 20000), lease(AgentId("ferret00"), "a", 20030, block=20030)]
    pool = PortsPolicy(first=20000, last=20069, block=10)

    chosen = choose(OTTER, [want(f"s{n}") for n in range(21)], policy=pool, leases=others)

    assert ports(chosen) == list(range(20040, 20061))
    assert sorted({lease.block for lease in chosen}) == [20040, 20050, 20060]


@proves("PORT-007")
def test_an_agent_that_comes_to_need_more_keeps_its_block_and_gets_the_next_one() -> None:
    wanted = [want(f"s{n}") for n in range(12)]
    first = choose(OTTER, wanted[:10], policy=POOL, leases=[])

    more = choose(OTTER, wanted, policy=POOL, leases=first)
    again = choose(OTTER, wanted, policy=POOL, leases=more)

    assert ports(more) == list(range(20000, 20012))
    assert again == more
    assert ports(choose(BADGER, [want("a")], policy=POOL, leases=more)) == [20020]


@proves("PORT-007")
def test_what_does_not_fit_in_a_row_moves_to_where_it_does() -> None:
    known = [lease(OTTER, "s0", 20000), lease(BADGER, "a", 20010, block=20010)]
    pool = PortsPolicy(first=20000, last=20049, block=10)

    chosen = choose(OTTER, [want(f"s{n}") for n in range(15)], policy=pool, leases=known)

    assert ports(chosen) == [20000, *range(20020, 20034)]


@proves("PORT-004", "PORT-007")
def test_blocks_that_are_free_but_not_in_a_row_do_not_serve() -> None:
    held = [lease(BADGER, "a", 20010, block=20010)]

    with pytest.raises(Conflict, match="11 ports need port blocks in a row"):
        choose(OTTER, [want(f"s{n}") for n in range(11)], policy=POOL, leases=held)


@proves("PORT-004")
def test_an_exhausted_pool_says_how_to_get_room() -> None:
    held = [
        lease(BADGER, "a", 20000, block=20000),
        lease(AgentId("ferret00"), "a", 20002, block=20002),
    ]

    with pytest.raises(Conflict, match="all 2 port blocks between 20000 and 20003 are in use") as error:
        choose(OTTER, [want("a")], policy=SMALL, leases=held)

    assert "envmgr ls" in error.value.hint
