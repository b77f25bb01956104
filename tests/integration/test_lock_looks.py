"""What no event tells those who wait, a look finds, without asking everybody; and what goes from one to another takes nothing away."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envmgr.app.lock_views import Says
from envmgr.core.derived_keys import Rule, parse_rule
from envmgr.model.handoff import Handoff
from envmgr.model.lock import Answer, LockPolicy, Mode, Outcome, Priority
from envmgr.model.principal import Principal
from envmgr.services.handoffs import Handoffs
from envmgr.services.locks import LockRequest, Locks
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import migrate, migrations
from tests.support.grounds import Locksmith, agent, ground, locksmith
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

REPO = "/repo"
ANN, BOB, CYD = agent("ann"), agent("bob"), agent("cyd")


class Desk:
    """Locks on a store in memory, asked one after the other, and told of nothing: only looks wake."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection, migrations(), path=Path("memory"))
        self.tx = SqliteTransaction(self.connection)
        self.locks = Locks(ground(lambda: self.now), LockPolicy(age_s=60.0), rules=lambda repo: self.rules)
        self.rules: tuple[Rule, ...] = ()

    def take(self, who: str, *targets: str, mode: Mode = Mode.WRITE) -> None:
        asked = LockRequest(principal=agent(who), repo=REPO, targets=targets, mode=mode)
        assert self.locks.take(self.tx, _nobody, asked).outcome is Outcome.GRANTED

    def refused(self, who: str, target: str) -> str:
        asked = LockRequest(principal=agent(who), repo=REPO, targets=(target,))
        answer = self.locks.take(self.tx, _nobody, asked)
        return Says(self.locks).answer(answer, [target]).message

    def wait(self, who: str, *targets: str, priority: Priority = Priority.NORMAL) -> None:
        asked = LockRequest(principal=agent(who), repo=REPO, targets=targets, priority=priority)
        answer = self.locks.take(self.tx, _nobody, asked, waiter=self.locks.waiter(asked))
        assert answer.outcome is Outcome.QUEUED

    def stand(self, who: str, target: str) -> None:
        """In the line, without having asked."""
        asked = LockRequest(principal=agent(who), repo=REPO, targets=(target,))
        self.locks.line.enter(self.locks.waiter(asked))

    def give(self, target: str, *, by: str, to: str) -> None:
        grant = self.locks.own(self.tx, REPO, target, by)
        assert grant is not None
        self.locks.hand_over(self.tx, _nobody, [grant], agent(to))

    def look(self) -> list[str]:
        return [wish.name for wish in self.locks.graph(self.tx).worth_asking()]


def _nobody(event: object) -> None:
    """Hears it."""


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.connection.close()


@contextmanager
def spent() -> Iterator[list[float]]:
    found: list[float] = []
    began = time.thread_time()
    yield found
    found.append(time.thread_time() - began)


@pytest.fixture
async def smith(tmp_path: Path) -> AsyncIterator[Locksmith]:
    async with locksmith(tmp_path) as smith:
        yield smith


async def ask(smith: Locksmith, who: Principal, *targets: str, mode: Mode = Mode.WRITE) -> Answer:
    return await smith.desk.acquire(LockRequest(principal=who, repo=REPO, targets=targets, mode=mode))


async def held(smith: Locksmith) -> list[str]:
    found = await smith.store.read(lambda tx: smith.locks.held(tx))
    return sorted(f"{grant.name} {grant.target} {grant.mode.value}" for grant in found)


# --- looks -------------------------------------------------------------------------------------------------------


@proves("LOCK-009")
def test_a_look_finds_who_got_by_another_way_what_they_wait_for(desk: Desk) -> None:
    desk.take("cyd", "a")
    desk.wait("bob", "a")
    desk.wait("ann", "a")
    assert desk.look() == []

    desk.give("a", by="cyd", to="ann")

    assert desk.look() == ["ann"]


@proves("LOCK-009")
def test_a_look_finds_who_may_overtake_because_the_one_before_waits_for_them_now(desk: Desk) -> None:
    desk.take("cyd", "b")
    desk.wait("bob", "a", "b")
    desk.wait("ann", "a")
    assert desk.look() == []

    desk.give("b", by="cyd", to="ann")

    assert desk.look() == ["ann"]


@proves("LOCK-010")
def test_a_look_finds_who_has_waited_long_enough_to_be_first(desk: Desk) -> None:
    desk.take("cyd", "a")
    desk.take("dan", "b")
    desk.wait("ann", "a")
    desk.wait("bob", "a", "b", priority=Priority.HIGH)
    desk.locks.give_back(desk.tx, _nobody, repo=REPO, holder="cyd", targets=["a"])
    assert desk.look() == []

    desk.now += 60

    assert desk.look() == ["ann"]


@proves("LOCK-012")
def test_a_look_finds_the_deadlock_that_a_transfer_closes(desk: Desk) -> None:
    desk.take("bob", "b")
    desk.take("cyd", "c")
    desk.wait("ann", "b")
    desk.wait("bob", "c")
    desk.wait("dan", "b")
    assert desk.look() == []

    desk.give("c", by="cyd", to="ann")

    assert sorted(desk.look()) == ["ann", "bob"]  # and not dan, who only waits behind them


@proves("LOCK-022")
@pytest.mark.parametrize(("count", "holds"), [(100, True), (500, False)])
def test_a_look_at_hundreds_who_wait_costs_next_to_nothing(desk: Desk, count: int, holds: bool) -> None:  # noqa: FBT001
    desk.take("boss", "hot")
    for number in range(count):
        if holds:
            desk.take(f"agent-{number}", f"own/{number}")
        desk.stand(f"agent-{number}", "hot")

    costs = []
    for _ in range(3):
        with spent() as cost:
            assert desk.look() == []
        costs += cost

    assert min(costs) < 0.1  # milliseconds; it was seconds when each of them was asked to look at all others


@proves("LOCK-012")
def test_a_long_line_of_holders_that_wait_for_the_next_ends_in_a_circle_that_is_found(desk: Desk) -> None:
    count = 1100
    for number in range(count):
        desk.take(f"agent-{number}", f"own/{number}")
    for number in range(count - 1, 0, -1):  # so that each finds one before it, and the whole line at the end
        desk.stand(f"agent-{number}", f"own/{number - 1}")

    asked = LockRequest(principal=agent("agent-0"), repo=REPO, targets=(f"own/{count - 1}",))
    answer = desk.locks.take(desk.tx, _nobody, asked, waiter=desk.locks.waiter(asked))

    assert answer.outcome is Outcome.DEADLOCK
    assert len(answer.cycle) == count


# --- from one to another -----------------------------------------------------------------------------------------


@proves("LOCK-018")
async def test_an_announcement_that_is_given_away_takes_nobodys_lock(smith: Locksmith) -> None:
    (theirs,) = (await ask(smith, BOB, "a")).grants
    await ask(smith, ANN, "a", mode=Mode.INTENT)

    done = await smith.desk.transfer(ANN, REPO, ["a"], to=BOB)

    assert done.grants == (theirs,)
    assert await held(smith) == ["bob a write"]
    assert (await ask(smith, ANN, "a")).outcome is Outcome.CONFLICT
    assert await smith.store.read(lambda tx: smith.locks.check(tx, theirs.token))


@proves("LOCK-018")
async def test_a_stronger_lock_takes_the_place_of_a_weaker_one(smith: Locksmith) -> None:
    await ask(smith, BOB, "a", mode=Mode.INTENT)
    await ask(smith, ANN, "a")

    await smith.desk.transfer(ANN, REPO, ["a"], to=BOB)

    assert await held(smith) == ["bob a write"]


@proves("LOCK-018", "LOCK-021")
async def test_keys_go_with_the_path_that_brought_them(tmp_path: Path) -> None:
    rules = (parse_rule("migrations/** -> db:migration-slot"),)
    async with locksmith(tmp_path, rules=lambda repo: rules) as smith:
        await ask(smith, ANN, "migrations/1.sql", "migrations/2.sql")

        stuck = await smith.desk.transfer(ANN, REPO, ["migrations/1.sql"], to=BOB)
        assert stuck.refused == (("migrations/1.sql", "locked_by_other"),)
        assert [conflict.grant.target for conflict in stuck.conflicts] == ["db:migration-slot"]

        await smith.desk.release(ANN, REPO, ["migrations/2.sql"])
        await smith.desk.transfer(ANN, REPO, ["migrations/1.sql"], to=BOB)
        assert await held(smith) == ["bob db:migration-slot write", "bob migrations/1.sql write"]

        done = await smith.desk.release(BOB, REPO, ["migrations/1.sql"])
        assert [grant.target for grant in done.grants] == ["migrations/1.sql", "db:migration-slot"]
        assert await held(smith) == []


@proves("LOCK-005", "LOCK-021")
def test_a_refusal_says_that_a_rule_has_asked_for_what_is_taken(desk: Desk) -> None:
    desk.rules = (parse_rule("migrations/** -> db:migration-slot"),)
    desk.take("ann", "migrations/1.sql")

    by_rule, itself = desk.refused("bob", "migrations/2.sql"), desk.refused("bob", "db:migration-slot")

    assert by_rule.startswith("db:migration-slot is held by ann until ")
    assert by_rule.endswith("; a rule of this repository asks for it, too")
    assert "rule" not in itself


@proves("LOCK-019", "LOCK-021")
async def test_a_forced_release_takes_the_keys_along_unless_another_path_needs_them(tmp_path: Path) -> None:
    rules = (parse_rule("migrations/** -> db:migration-slot"),)
    async with locksmith(tmp_path, rules=lambda repo: rules) as smith:
        await ask(smith, ANN, "migrations/1.sql", "migrations/2.sql")

        first = await smith.desk.force(REPO, ["migrations/1.sql"], by="root", reason="r")
        second = await smith.desk.force(REPO, ["migrations/2.sql"], by="root", reason="r")

        assert [grant.target for grant in first.grants] == ["migrations/1.sql"]
        assert [grant.target for grant in second.grants] == ["migrations/2.sql", "db:migration-slot"]
        assert [event.data["target"] for event in smith.told if event.kind == "lock.forced"] == [
            "migrations/1.sql",
            "migrations/2.sql",
            "db:migration-slot",
        ]


@proves("LOCK-018")
async def test_a_handoff_gives_nobody_what_others_hold_too(smith: Locksmith) -> None:
    kid = agent("kid", parent="ann")
    await ask(smith, ANN, "a")
    await ask(smith, kid, "a", "b")
    handoffs = Handoffs(ground=smith.locks.ground, locks=smith.locks)

    handoff = Handoff(repo=REPO, agent="kid", agent_name="kid", summary="half done")
    written = await handoffs.write(handoff, by=kid, to=BOB, transfers_locks=True)

    assert written.transferred == ("b",)
    assert await held(smith) == ["ann a write", "bob b write", "kid a write"]
