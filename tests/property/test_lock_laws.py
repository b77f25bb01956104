"""Locks against a model that knows nothing but sets: whatever is asked in whatever order, these laws hold.

The model's idea of overlap is its own: each target is written down as the set of things that it covers in a small world.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from envmgr.core.leasing import covers
from envmgr.core.waits import place
from envmgr.model.event import NewEvent
from envmgr.model.lock import Answer, Grant, LockPolicy, Mode, Outcome, Priority
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.services.line import Waiter
from envmgr.services.locks import LockRequest, Locks
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import migrate, migrations
from tests.support.grounds import ground
from tests.support.requirements import proves

T = TypeVar("T")
REPO = "/r"
WORLD = {
    "src": {"src/a.py", "src/b.md", "src/x/a.py"},
    "src/a.py": {"src/a.py"},
    "src/*.py": {"src/a.py"},
    "src/**/a.py": {"src/a.py", "src/x/a.py"},
    "src/x": {"src/x/a.py"},
    "*/b.md": {"src/b.md", "docs/b.md"},
    "docs": {"docs/i.md", "docs/b.md"},
    "**": {"src/a.py", "src/b.md", "src/x/a.py", "docs/i.md", "docs/b.md"},
    "db:users": {"db:users"},
    "db:*": {"db:users", "db:orders"},
    "api:GET /u": {"GET u"},
    "api:/u": {"GET u", "POST u"},
    "api:/{x}": {"GET u", "POST u", "GET v"},
    "feature:f": {"f", "f:pause"},
    "feature:f:pause": {"f:pause"},
}
HOLDERS = tuple(Principal(kind=PrincipalKind.AGENT, name=name, agent=name) for name in ("ann", "bob", "cyd"))
CHILD = Principal(kind=PrincipalKind.AGENT, name="kid", agent="kid", parent="ann")
WHO = st.sampled_from([*HOLDERS, CHILD])
TARGETS = st.lists(st.sampled_from(sorted(WORLD)), min_size=1, max_size=3, unique=True).map(tuple)
MODES = st.sampled_from(list(Mode))
POLICY = LockPolicy(ttl_s=100.0, grace_s=10.0, age_s=30.0)


def shares(one: str, other: str) -> bool:
    return bool(WORLD[one] & WORLD[other])


def clash(one: Mode, other: Mode) -> bool:
    return (one, other) in {
        (Mode.WRITE, Mode.WRITE),
        (Mode.WRITE, Mode.READ),
        (Mode.READ, Mode.WRITE),
    }


@dataclass
class Request:
    """One that waits."""

    asked: LockRequest
    waiter: Waiter
    answer: Answer | None = field(default=None)


class LockMachine(RuleBasedStateMachine):
    """Everything is done in the order of asking, as in the store's writer thread."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(connection, migrations(), path=Path("memory"))
        self.tx = SqliteTransaction(connection)
        self.locks = Locks(ground(lambda: self.now), POLICY)
        self.requests: list[Request] = []
        self.highest = 0
        self.dead: set[int] = set()
        self.known: set[int] = set()

    # --- what anybody may do ---------------------------------------------------------------------------------

    @rule(who=WHO, wanted=TARGETS, mode=MODES)
    def ask(self, who: Principal, wanted: tuple[str, ...], mode: Mode) -> None:
        before = self.held()
        asked = LockRequest(principal=who, repo=REPO, targets=wanted, mode=mode)
        answer = self.change(lambda tell: self.locks.take(self.tx, tell, asked))

        lacking = [target for target in wanted if not self.has(before, who.agent, target, mode)]
        in_the_way = [
            grant
            for grant in before
            for target in lacking
            if grant.holder not in (who.agent, who.parent)
            and clash(mode, grant.mode)
            and shares(target, grant.target)
        ]
        if answer.outcome is Outcome.GRANTED:
            assert not in_the_way
            assert [grant.target for grant in answer.grants] == list(wanted)
            self.look()
        else:
            assert in_the_way or self.requests
            assert answer.conflicts
            assert self.held() == before

    @rule(who=WHO, wanted=TARGETS, mode=MODES, priority=st.sampled_from(list(Priority)))
    def wait(self, who: Principal, wanted: tuple[str, ...], mode: Mode, priority: Priority) -> None:
        asked = LockRequest(principal=who, repo=REPO, targets=wanted, mode=mode, priority=priority)
        request = Request(asked, self.locks.waiter(asked))
        self.requests.append(request)
        self.attempt(request)

    @rule(who=WHO, what=st.sampled_from(sorted(WORLD)))
    def release(self, who: Principal, what: str) -> None:
        had = [grant for grant in self.held() if (grant.holder, grant.target) == (who.agent, what)]
        gone = self.change(
            lambda tell: self.locks.give_back(self.tx, tell, repo=REPO, holder=who.agent, targets=[what])
        )
        assert {grant.target: grant.token for grant in had} == gone

    @precondition(lambda self: self.held())
    @rule(data=st.data(), to=WHO)
    def transfer(self, data: st.DataObject, to: Principal) -> None:
        before = self.held()
        grant = data.draw(st.sampled_from(before))
        if grant.holder == to.agent:
            return
        others = [g for g in before if g != grant and g.holder not in (to.agent, to.parent)]
        own = {g.target: g for g in before if g.holder == to.agent and g != grant}
        already = own.get(grant.target)
        is_needed = already is None or not covers(already.mode, grant.mode)
        is_barred = is_needed and any(
            clash(grant.mode, g.mode) and shares(grant.target, g.target) for g in others
        )
        assert is_barred == bool(self.locks.in_the_way_of(self.tx, [grant], to))
        if is_barred:
            return

        (got,) = self.change(lambda tell: self.locks.hand_over(self.tx, tell, [grant], to))

        # Nobody but the giver has less than before, and what the receiver could do already, it does under the same token.
        assert got == already if not is_needed else got.token > grant.token
        after = self.held()
        assert self.has(after, to.agent, grant.target, grant.mode)
        assert all(self.has(after, g.holder, g.target, g.mode) for g in before if g != grant)
        assert already is None or covers(got.mode, already.mode)

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def force(self, data: st.DataObject) -> None:
        grant = data.draw(st.sampled_from(self.held()))
        gone = self.change(lambda tell: self.locks.drop(self.tx, tell, [grant]))
        assert gone == [grant]

    @rule(seconds=st.sampled_from([1.0, 40.0, 70.0, 120.0]), alive=st.sets(WHO))
    def pass_time(self, seconds: float, alive: set[Principal]) -> None:
        self.now += seconds
        for who in alive:
            self.locks.seen(who.agent)
        self.sweep()

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        self.requests.remove(request)
        self.locks.line.leave(request.waiter.wish.number)
        self.locks.line.gone(request.waiter.wish)
        self.pump()

    # --- laws ------------------------------------------------------------------------------------------------

    @invariant()
    def nobody_shares_what_is_exclusive(self) -> None:
        held = self.held()
        for grant in held:
            for other in held:
                strangers = grant.holder != other.holder and {grant.holder, other.holder} != {"ann", "kid"}
                assert not (
                    strangers and clash(grant.mode, other.mode) and shares(grant.target, other.target)
                )

    @invariant()
    def tokens_only_grow_and_stale_ones_are_refused(self) -> None:
        now = {grant.token for grant in self.held()}
        fresh = now - self.known
        assert all(token > self.highest for token in fresh)
        self.dead |= self.known - now
        self.known |= now
        self.highest = max([self.highest, *fresh])
        assert not any(self.locks.check(self.tx, token) for token in self.dead)
        assert all(self.locks.check(self.tx, token) for token in now)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        waiting = [request.waiter.wish for request in self.requests]
        for wish in waiting:
            held = [g for g in self.held() if g.holder not in wish.family]
            own = [g for g in self.held() if g.holder == wish.holder]
            lacking = [
                t for t in wish.targets if not any(g.target == t and covers(g.mode, wish.mode) for g in own)
            ]
            by_grant = any(clash(wish.mode, g.mode) and shares(t, g.target) for t in lacking for g in held)
            mine = place(wish, self.now, age_s=POLICY.age_s)
            by_waiter = any(
                clash(wish.mode, other.mode)
                and shares(t, target)
                and place(other, self.now, age_s=POLICY.age_s) < mine
                for other in waiting
                if other.number != wish.number and other.holder not in wish.family
                for t in lacking
                for target in other.targets
            )
            assert by_grant or by_waiter, wish

    @invariant()
    def who_waits_is_in_the_line(self) -> None:
        assert sorted(wish.number for wish in self.locks.line.wishes()) == sorted(
            request.waiter.wish.number for request in self.requests
        )

    def teardown(self) -> None:
        """When everybody gives back what they hold, everybody who waits gets it, and nobody is left."""
        for _ in range(len(self.requests) + 1):
            for grant in self.held():
                self.end(grant)
        assert not self.requests

    def end(self, grant: Grant) -> None:
        self.change(lambda tell: self.locks.drop(self.tx, tell, [grant]))

    # --- how ---------------------------------------------------------------------------------------------------

    def held(self) -> list[Grant]:
        return self.locks.held(self.tx)

    def has(self, held: Sequence[Grant], who: str, target: str, mode: Mode) -> bool:
        return any(g.holder == who and g.target == target and covers(g.mode, mode) for g in held)

    def change(self, do: Callable[[Callable[[NewEvent], None]], T]) -> T:
        """One change; then what it told is heard."""
        told: list[NewEvent] = []
        result = do(told.append)
        for event in told:
            if event.kind == "lock.released":
                self.locks.line.free(str(event.data["repo"]), str(event.data["target"]))
        self.pump()
        return result

    def attempt(self, request: Request) -> None:
        answer = self.change(
            lambda tell: self.locks.take(self.tx, tell, request.asked, waiter=request.waiter)
        )
        if answer.outcome is Outcome.DEADLOCK:
            steps = answer.cycle
            assert steps[0].holder == request.waiter.wish.holder == steps[-1].blocker
            assert all(a.blocker == b.holder for a, b in pairwise(steps))
        if answer.outcome is not Outcome.QUEUED and request in self.requests:
            self.requests.remove(request)
            self.locks.line.gone(request.waiter.wish)

    def look(self) -> None:
        """What the daemon does twice a second: who asked twice may have got by the one what the other waits for, and no event tells."""
        while worth := self.locks.graph(self.tx).worth_asking():
            left = len(self.requests)
            self.locks.line.wake(worth)
            self.pump()
            assert len(self.requests) < left, "whoever is woken by a look gets an answer"

    def pump(self) -> None:
        """Let those ask again who were woken."""
        for request in list(self.requests):
            if request in self.requests and request.waiter.wake.is_set():
                request.waiter.wake = anyio.Event()
                self.attempt(request)

    def sweep(self) -> None:
        """What the daemon does twice a second."""
        late = [g for g in self.tx.locks.late(self.now - POLICY.grace_s) if not self.locks.stands(g)]
        self.change(lambda tell: self.locks.drop(self.tx, tell, late))
        self.look()
        self.nobody_is_forgotten()

    def nobody_is_forgotten(self) -> None:
        """A look finds all whom asking everybody again would find."""
        waiting = list(self.requests)
        for request in waiting:
            self.attempt(request)
        assert self.requests == waiting


TestLocks = LockMachine.TestCase
TestLocks.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
proves("LOCK-001", "LOCK-002", "LOCK-003", "LOCK-004")(TestLocks)
