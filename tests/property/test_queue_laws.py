"""Laws of the work queue, over random histories of random graphs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envmgr.core.queueing import ObstacleKind
from envmgr.model.task import Dependents, TaskStatus
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground
from envmgr.services.queue.claiming import Claimed
from envmgr.services.queue.queue import Queue
from envmgr.services.queue.rules import Footing, NoLocks
from envmgr.store.rows import SqliteTransaction
from envmgr.store.schema import migrations
from tests.support.queues import PAULA, REPO, RULES, Clock, Report, agent, wanted
from tests.support.requirements import proves

T = TypeVar("T")
S = TaskStatus
_WAITS_FOR = {ObstacleKind.UNFINISHED, ObstacleKind.FAILED, ObstacleKind.CANCELLED}
_STEPS, _HISTORIES = 50, 650
_STATES = 10_000
_WORKERS = [agent(name) for name in "ab"]


class Direct:
    """A store whose changes run at once, on a database in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._tx = SqliteTransaction(connection)

    async def write(self, change: Callable[[Transaction], T]) -> T:
        return change(self._tx)

    read = search = write

    async def close(self) -> None:
        """Nothing is open."""


def now(asked: Coroutine[Any, Any, T]) -> T:
    """The result of what waits for nothing."""
    try:
        asked.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


@dataclass
class Known:
    """What a task must be, by a history kept in plain dictionaries."""

    dependents: Dependents
    unmet: set[str]
    run_at: float
    due_at: float
    tries: int
    status: S = S.BLOCKED
    failures: int = 0
    token: int = 0
    lease_until: float = 0.0
    holder: int = 0

    def takes_others_along(self) -> bool:
        """Nothing may be added that would wait for it."""
        has_ended = self.status in (S.FAILED, S.DEAD, S.CANCELLED)
        return has_ended and self.dependents is Dependents.CANCEL


@dataclass
class World:
    """A queue, and the same history in dictionaries. `bytes` are the choices that are still to be made."""

    queue: Queue
    clock: Clock
    choices: Iterator[int]
    statuses: Callable[[], Iterable[tuple[str, str]]]
    known: dict[str, Known] = field(default_factory=dict)
    tokens: set[int] = field(default_factory=set)
    stale: list[tuple[str, int, int]] = field(default_factory=list)
    asked: dict[str, object] = field(default_factory=dict)
    looks: int = 0
    seen: set[int] = field(default_factory=set)

    def pick(self, count: int) -> int:
        return next(self.choices) % count

    def any_task(self) -> str:
        return list(self.known)[self.pick(len(self.known))]

    # --- what happens ------------------------------------------------------------------------------------------

    def submit(self) -> None:
        names = [name for name, one in self.known.items() if not one.takes_others_along()]
        count = 1 + self.pick(3)
        first = len(self.known) + 1
        tasks, after = [], []
        for number in range(count):
            bits = next(self.choices)
            later = [f"k{number + 1}"] if bits & 1 and number + 1 < count else []
            earlier = self._some(names, bits)
            dependents = list(Dependents)[bits % 3]
            delay = 5.0 if bits & 64 else 0.0
            after.append((later, earlier, dependents, delay))
            tasks.append(
                wanted(
                    key=f"k{number}", after=[*later, *earlier], dependents=dependents.value, tries=1 + (bits >> 7),
                    priority=1 + bits % 10, run_at=self.clock.steady + delay if delay else None,
                )
            )  # fmt: skip
        now(self.queue.submit(tasks, repo=REPO, by=PAULA))
        for number, (later, earlier, dependents, delay) in enumerate(after):
            unmet = {f"t-{first + int(key[1:]):06d}" for key in later}
            unmet |= {name for name in earlier if not self._is_met(self.known[name])}
            self.known[f"t-{first + number:06d}"] = Known(
                dependents=dependents, unmet=unmet, run_at=self.clock.steady + delay, due_at=self.clock.steady + delay, tries=tasks[number].spec.max_attempts
            )  # fmt: skip
        self._settle()

    def _some(self, names: list[str], bits: int) -> list[str]:
        """Up to two of them."""
        places = [bits >> 1] * bool(bits & 2) + [bits >> 3] * bool(bits & 4)
        return list(dict.fromkeys(names[place % len(names)] for place in places)) if names else []

    def claim(self) -> None:
        worker = self.pick(2)
        found = now(self.queue.claim(repo=REPO, who=_WORKERS[worker]))
        ready = {name for name, one in self.known.items() if one.status is S.READY}
        if not isinstance(found, Claimed):
            assert not ready
            return
        task = found.task
        assert task.name in ready, "only what is ready is given out"
        assert task.lease > max(self.tokens, default=0), "tokens only grow"
        self.tokens.add(task.lease)
        one = self.known[task.name]
        one.status, one.token, one.holder = S.CLAIMED, task.lease, worker
        one.lease_until = self.clock.steady + RULES.lease_s

    def report(self) -> None:
        held = [name for name, one in self.known.items() if one.status in (S.CLAIMED, S.RUNNING)]
        if not held:
            return self.claim()
        name = held[self.pick(len(held))]
        one = self.known[name]
        report = Report(repo=REPO, task=name, who=_WORKERS[one.holder], token=one.token)
        kind = self.pick(4)
        if kind == 0:
            answer = now(self.queue.heartbeat(report))
            one.status, one.lease_until = S.RUNNING, self.clock.steady + RULES.lease_s
        elif kind == 1:
            answer = now(self.queue.complete(report))
            self._end(name, S.DONE)
        elif kind == 2:
            answer = now(self.queue.give_up(report))
            self._end(name, S.FAILED)
        else:
            answer = now(self.queue.fail(report))
            self._failed(name)
        assert answer.refusal is None
        return None

    def report_late(self) -> None:
        if not self.stale:
            return self.go()
        name, token, worker = self.stale[self.pick(len(self.stale))]
        before = now(self.queue.see(REPO, name))
        report = Report(repo=REPO, task=name, who=_WORKERS[worker], token=token)
        for ask in (self.queue.complete, self.queue.fail, self.queue.heartbeat, self.queue.give_up):
            assert now(ask(report)).refusal is not None, "no stale token is accepted"
        assert now(self.queue.see(REPO, name)) == before, "and nothing is changed by it"
        return None

    def cancel(self) -> None:
        name, dependents = self.any_task(), list(Dependents)[self.pick(3)]
        answer = now(self.queue.cancel(REPO, name, by=PAULA, reason="x", dependents=dependents))
        is_over = self.known[name].status in (S.DONE, S.FAILED, S.DEAD, S.CANCELLED)
        assert (answer.refusal is not None) == is_over
        if not is_over:
            self._end(name, S.CANCELLED, dependents)

    def retry(self) -> None:
        name = self.any_task()
        one = self.known[name]
        now(self.queue.retry(REPO, name, by=PAULA))
        if one.status in (S.FAILED, S.DEAD, S.CANCELLED, S.SCHEDULED):
            one.status, one.failures, one.due_at = S.BLOCKED, 0, one.run_at
            self._settle()

    def go(self) -> None:
        self.clock.go([1.0, 6.0, 30.0, 70.0][self.pick(4)])
        for name, one in self.known.items():
            if one.status in (S.CLAIMED, S.RUNNING) and one.lease_until <= self.clock.steady:
                self._failed(name)
        self._settle()

    # --- what must be --------------------------------------------------------------------------------------------

    def _failed(self, name: str) -> None:
        one = self.known[name]
        self.stale.append((name, one.token, one.holder))
        one.failures += 1
        if one.failures >= one.tries:
            self._end(name, S.DEAD)
            return
        pause_s = min(RULES.back_off_s * 2 ** (one.failures - 1), RULES.most_back_off_s)
        one.status, one.due_at = S.BLOCKED, self.clock.steady + pause_s
        self._settle()

    def _end(self, name: str, status: S, dependents: Dependents | None = None) -> None:
        one = self.known[name]
        if one.status in (S.CLAIMED, S.RUNNING):
            self.stale.append((name, one.token, one.holder))
        one.status = status
        means = Dependents.CONTINUE if status is S.DONE else dependents or one.dependents
        if means is Dependents.CONTINUE:
            for other in self.known.values():
                other.unmet.discard(name)
        elif means is Dependents.CANCEL:
            self._cancel_children(name)
        self._settle()

    def _cancel_children(self, name: str) -> None:
        for child, other in self.known.items():
            if name in other.unmet and other.status is S.BLOCKED:
                other.status = S.CANCELLED
                self._cancel_children(child)

    def _is_met(self, one: Known) -> bool:
        is_bad_end = one.status in (S.FAILED, S.DEAD, S.CANCELLED)
        return one.status is S.DONE or (is_bad_end and one.dependents is Dependents.CONTINUE)

    def _settle(self) -> None:
        for one in self.known.values():
            if one.status in (S.BLOCKED, S.SCHEDULED, S.READY):
                is_due = one.due_at <= self.clock.steady or one.status is S.READY
                one.status = S.BLOCKED if one.unmet else S.READY if is_due else S.SCHEDULED

    def look(self) -> None:
        """The law: what is stored, listed, told by `why`, and the plain history say the same of every task."""
        now(self.queue.catch_up())
        stored = dict(self.statuses())
        assert stored == {name: one.status for name, one in self.known.items()}
        for name, status in stored.items():
            seen = status, frozenset((other, self.known[other].status) for other in self.known[name].unmet)
            if self.asked.get(name) != seen:  # else neither it nor what it waits for has changed
                self.asked[name] = seen
                self.ask_why(name, status)
        self.seen.add(hash(tuple((n, one.status, frozenset(one.unmet)) for n, one in self.known.items())))
        self.looks += 1
        if not self.looks % 5:
            listed = now(self.queue.page(REPO, statuses=[S.READY], limit=1000)).tasks
            assert {task.name for task, _ in listed} == {n for n, one in stored.items() if one == S.READY}

    def ask_why(self, name: str, status: str) -> None:
        why = now(self.queue.why(REPO, name))
        assert (not why.in_the_way) == (status == S.READY)
        waits_for = {one.on for one in why.in_the_way if one.kind in _WAITS_FOR}
        assert waits_for == (self.known[name].unmet if status == S.BLOCKED else set())


_WHAT = (
    World.submit, World.claim, World.claim, World.report, World.report, World.report_late, World.cancel, World.retry,
    World.go, World.claim,
)  # fmt: skip


@pytest.fixture
def memory() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for step in migrations():
        connection.executescript(step)
    yield connection
    connection.close()


@proves("QUEUE-001", "QUEUE-003", "QUEUE-004")
def test_ready_blocked_why_and_claim_never_disagree_over_ten_thousand_states(
    memory: sqlite3.Connection,
) -> None:
    seen: set[int] = set()

    @settings(max_examples=_HISTORIES, deadline=None)
    @given(st.binary(min_size=_STEPS * 4, max_size=_STEPS * 4))
    def histories(choices: bytes) -> None:
        _live_through(memory, choices, seen)

    histories()

    assert len(seen) >= _STATES, "states of the graph that differ"


def _live_through(memory: sqlite3.Connection, choices: bytes, seen: set[int]) -> None:
    memory.execute("SAVEPOINT history")
    clock = Clock()
    # Any store will do that keeps the protocol; this one never waits.
    ground = Ground(
        store=Direct(memory), now=lambda: clock.wall, steady=lambda: clock.steady, publish=lambda _: None
    )
    queue = Queue(ground, Footing(rules=RULES, locks=NoLocks(), draw=lambda: 0.5))
    stored = partial(memory.execute, "SELECT printf('t-%06d', id), status FROM task")
    world = World(queue=queue, clock=clock, choices=iter(choices), statuses=stored, seen=seen)
    first: Callable[[World], None] = World.submit
    try:
        # A number of a task is never given out twice, so every history begins where the counter stands.
        memory.execute("DELETE FROM sqlite_sequence")
        first(world)
        for _ in range(_STEPS):
            world.look()
            _WHAT[world.pick(len(_WHAT))](world)
        world.look()
    except StopIteration:
        pass
    finally:
        memory.execute("ROLLBACK TO history")
        memory.execute("RELEASE history")
