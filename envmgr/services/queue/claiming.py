"""Give tasks out, and put back what was not looked after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from envmgr.core.queueing import Obstacle, standing
from envmgr.model.event import NewEvent
from envmgr.model.principal import Principal
from envmgr.model.task import Attempt, Task, TaskSpec, TaskStatus, Usage
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.queue.ending import EXPIRED, Ending, Ends, announce_ready
from envmgr.services.queue.rules import Footing

_AT_ONCE = 200
_TRIES = 200
"""Tasks whose locks are tried in one change, so that others need not wait long for theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A task that was given out."""

    task: Task
    spec: TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is no task for who asked.

    Attributes:
        lock_waits: What keeps tasks that are ready: locks of others.
        after: Where to go on looking; None if that was all.
    """

    lock_waits: tuple[Obstacle, ...] = ()
    after: tuple[float, int] | None = None


class Claims:
    """Everything here is part of somebody's change."""

    def __init__(self, footing: Footing, ends: Ends) -> None:
        self._footing = footing
        self._ends = ends

    def claim(
        self,
        tx: Transaction,
        tell: Tell,
        *,
        repo: str,
        who: Principal,
        types: Collection[str],
        capabilities: Collection[str],
        after: tuple[float, int] | None,
        now: float,
    ) -> Claimed | Nothing:
        """The first task in the queue that they can do and whose locks are free, with these.

        Args:
            after: Rank and number of the last one that was tried.
        """
        self.catch_up(tx, tell, now=now)
        if after is None:
            first = tx.tasks.next(repo, capabilities=capabilities, types=types)
            if first is None:
                return Nothing()
            if isinstance(found := self._give(tx, tell, first, who=who, now=now), Claimed):
                return found
        # Its locks are taken: on to whoever stands behind it.
        waits: list[Obstacle] = []
        line = tx.tasks.ready(repo, capabilities=capabilities, types=types, after=after)
        for tries, task in enumerate(line, 1):
            found = self._give(tx, tell, task, who=who, now=now)
            if isinstance(found, Claimed):
                return found
            waits += found.lock_waits
            if tries == _TRIES:
                return Nothing(lock_waits=tuple(dict.fromkeys(waits)), after=(task.rank, task.id))
        return Nothing(lock_waits=tuple(dict.fromkeys(waits)))

    def _give(
        self, tx: Transaction, tell: Tell, task: Task, *, who: Principal, now: float
    ) -> Claimed | Nothing:
        spec = tx.tasks.spec(task.id)
        if task.has_locks:
            blocked = self._footing.locks.take(tx, tell, task=task, spec=spec, holder=who)
            if blocked:
                return Nothing(lock_waits=tuple(blocked))
        given = self._lease(tx, task, spec, who=who, now=now)
        tell(_claimed(given, who))
        return Claimed(task=given, spec=spec)

    def _lease(self, tx: Transaction, task: Task, spec: TaskSpec, *, who: Principal, now: float) -> Task:
        attempt = Attempt(
            lease=0, task=task.id, number=task.attempts + 1, holder=who.id, holder_name=who.name, session=who.session,
            began_at=now,
        )  # fmt: skip
        given = replace(
            task, status=TaskStatus.CLAIMED, attempts=task.attempts + 1, lease=tx.tasks.begin(attempt),
            lease_until=self.lease_until(spec.budget, claimed_at=now, now=now), holder=who.id, holder_name=who.name,
            session=who.session, life=self._footing.life(who.agent), claimed_at=now, error_code="", error_message="",
        )  # fmt: skip
        tx.tasks.save(given)
        return given

    def lease_until(self, budget: Usage, *, claimed_at: float, now: float) -> float:
        """Until when the holder need not be heard of: never longer than the task may take."""
        until = now + self._footing.rules.lease_s
        return min(until, claimed_at + budget.wall_s) if budget.wall_s else until

    def catch_up(self, tx: Transaction, tell: Tell, *, now: float) -> int:
        """Do what time has brought; returns how many tasks it was about (some may be left when there are many)."""
        if not tx.tasks.is_any_due(now):
            return 0
        overdue = tx.tasks.overdue(now, limit=_AT_ONCE)
        for task in overdue:
            self._overdue(tx, tell, task, now=now)
        late = tx.tasks.late(now, limit=_AT_ONCE)
        for task in late:
            words = "its deadline passed while nobody was at it"
            ending = Ending(outcome="failed", error_code="deadline_exceeded", error_message=words)
            self._ends.end(tx, tell, task, TaskStatus.FAILED, ending=ending, now=now)
        due = tx.tasks.due(now, limit=_AT_ONCE)
        woken = [
            replace(task, status=standing(unmet=task.unmet, due_at=None, now=now), due_at=None)
            for task in due
        ]
        for task in woken:
            tx.tasks.save(task)
        for repo in {task.repo: None for task in woken}:
            announce_ready(tell, repo, [task.id for task in woken if task.repo == repo])
        return len(overdue) + len(late) + len(due)

    def _overdue(self, tx: Transaction, tell: Tell, task: Task, *, now: float) -> None:
        wall_s = now - (task.claimed_at or now)
        budget = tx.tasks.spec(task.id).budget
        if budget.wall_s and wall_s >= budget.wall_s:
            pause(tx, tell, task, over=("wall_s",))
            return
        ending = Ending(
            outcome=EXPIRED,
            error_code="lease_expired",
            error_message=f"nothing was heard of {task.holder_name}",
        )
        self._ends.give_back(tx, tell, task, ending=ending, now=now, counts=True, waits=True)


def pause(tx: Transaction, tell: Tell, task: Task, *, over: Sequence[str]) -> Task:
    """It went over its budget: its holder is to stop, and a person decides."""
    words = f"over its budget of {', '.join(over)}"
    paused = replace(
        task, status=TaskStatus.PAUSED, lease_until=None, error_code="over_budget", error_message=words
    )
    tx.tasks.save(paused)
    data = {"task": task.name, "repo": task.repo, "by": task.holder_name, "over": list(over)}
    tell(NewEvent(kind="task.over_budget", agent="" if ":" in task.holder else task.holder, data=data))
    return paused


def _claimed(task: Task, who: Principal) -> NewEvent:
    data = {"task": task.name, "repo": task.repo, "by": who.name, "attempt": task.attempts}
    return NewEvent(kind="task.claimed", agent=who.agent, data=data)
