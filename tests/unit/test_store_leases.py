"""Whatever agents take, swap, give back and forget: no port is ever held twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from envmgr.errors import Conflict
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import migrate, migrations
from tests.support.requirements import proves

AGENTS = st.sampled_from([AgentId(name) for name in ("red", "blue", "green")])
WANTED = st.lists(
    st.tuples(
        st.sampled_from(["web", "db"]), st.sampled_from(["main", "admin"]), st.integers(1, 4), st.booleans()
    ),
    max_size=4,
    unique_by=lambda wanted: wanted[:2],
)
Key = tuple[str, str, str]


class Leases(RuleBasedStateMachine):
    """The table against a dictionary that obeys the rule."""

    def __init__(self) -> None:
        super().__init__()
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.database, migrations(), path=Path("state.db"))
        self.transaction = SqliteTransaction(self.database)
        self.expected: dict[Key, PortLease] = {}

    def teardown(self) -> None:
        self.database.close()

    @rule(agent=AGENTS, wanted=WANTED)
    def take(self, agent: AgentId, wanted: list[tuple[str, str, int, bool]]) -> None:
        leases = [
            PortLease(agent=agent, service=service, name=name, port=port, block=1, held=held)
            for service, name, port, held in wanted
        ]
        after = self.expected | {(agent, lease.service, lease.name): lease for lease in leases}
        refused = self._refused(leases)

        assert refused == _held_twice(after)
        if not refused:
            self.expected = after

    def _refused(self, leases: list[PortLease]) -> bool:
        self.database.execute("SAVEPOINT change")
        try:
            self.transaction.save_leases(leases)
        except Conflict:
            self.database.execute("ROLLBACK TO change")
            return True
        finally:
            self.database.execute("RELEASE change")
        return False

    @rule(agent=AGENTS, forget=st.booleans())
    def give_back(self, agent: AgentId, *, forget: bool) -> None:
        self.transaction.release_ports(agent, forget=forget)

        mine = {key: lease for key, lease in self.expected.items() if key[0] == agent}
        self.expected = {key: lease for key, lease in self.expected.items() if key[0] != agent}
        if not forget:
            self.expected |= {key: _let_go(lease) for key, lease in mine.items()}

    @invariant()
    def the_table_is_as_expected_and_nobody_shares(self) -> None:
        found = self.transaction.leases()

        assert {(lease.agent, lease.service, lease.name): lease for lease in found} == self.expected
        assert not _held_twice(self.expected)
        assert sorted(found, key=repr) == sorted(
            (
                lease
                for agent in ("red", "blue", "green")
                for lease in self.transaction.leases(AgentId(agent))
            ),
            key=repr,
        )


def _held_twice(leases: dict[Key, PortLease]) -> bool:
    holders = Counter(lease.port for lease in leases.values() if lease.held)
    return any(count > 1 for count in holders.values())


def _let_go(lease: PortLease) -> PortLease:
    return replace(lease, held=False)


@proves("R-32")
def test_no_order_of_events_gives_one_port_to_two_holders() -> None:
    run_state_machine_as_test(
        Leases, settings=settings(max_examples=60, stateful_step_count=20, deadline=None)
    )
