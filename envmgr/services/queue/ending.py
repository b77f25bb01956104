"""Ends of tasks and of attempts, and what they mean for the tasks that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from envmgr.core.queueing import Meaning, back_off_s, meaning, standing
from envmgr.model.event import NewEvent
from envmgr.model.task import LEASED, Dependents, Task, TaskStatus, Usage, task_name
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.queue.rules import Footing

T = TypeVar("T")
_TOLD_AT_ONCE = 100
EXPIRED, ABANDONED, RETRIED = "expired", "abandoned", "retried"
"""Outcomes of attempts that are no status of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Attributes:
        usage: None if nothing more is known than before.
    """

    outcome: str
    error_code: str = ""
    error_message: str = ""
    result: Mapping[str, object] | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The task as it is now, and those that its end changed.

    Attributes:
        ready, cancelled: The first hundred of them; the events name all.
    """

    task: Task
    ready: tuple[Task, ...] = ()
    cancelled: tuple[Task, ...] = ()


class Ends:
    """Everything here is part of somebody's change."""

    def __init__(self, footing: Footing) -> None:
        self._footing = footing

    def end(
        self,
        tx: Transaction,
        tell: Tell,
        task: Task,
        status: TaskStatus,
        *,
        ending: Ending,
        now: float,
        dependents: Dependents | None = None,
        cause: int = 0,
    ) -> Ended:
        """The task is over.

        Args:
            dependents: Instead of what the task itself says.
        """
        self._leave(tx, tell, task, ending, now=now)
        over = replace(
            task, status=status, due_at=None, lease_until=None, ended_at=now, cause=cause,
            error_code=ending.error_code, error_message=ending.error_message,
        )  # fmt: skip
        tx.tasks.save(over)
        tell(_ended(over))
        means = meaning(status, dependents or task.dependents)
        if means is Meaning.MET:
            return Ended(task=over, ready=self._release(tx, tell, over, now=now))
        if means is Meaning.CANCEL:
            return Ended(task=over, cancelled=self._cascade(tx, tell, over, now=now))
        return Ended(task=over)

    def give_back(
        self,
        tx: Transaction,
        tell: Tell,
        task: Task,
        *,
        ending: Ending,
        now: float,
        counts: bool,
        waits: bool,
    ) -> Ended:
        """An attempt is over and the task is not: it goes back into the queue, or dies if it has had its attempts.

        Args:
            counts: Against the attempts the task may have.
            waits: For the back-off.
        """
        failures = task.failures + counts
        if failures >= task.max_attempts:
            code = ending.error_code or ending.outcome
            dead = replace(ending, error_code=code)
            return self.end(tx, tell, replace(task, failures=failures), TaskStatus.DEAD, ending=dead, now=now)
        self._leave(tx, tell, task, ending, now=now)
        due_at = now + self._pause_s(failures) if waits else None
        status = standing(unmet=task.unmet, due_at=due_at, now=now)
        back = replace(
            task, status=status, failures=failures, due_at=due_at, lease_until=None,
            error_code=ending.error_code, error_message=ending.error_message,
        )  # fmt: skip
        tx.tasks.save(back)
        tell(_event("task.returned", back, reason=ending.outcome, failures=failures))
        if status is TaskStatus.READY:
            announce_ready(tell, back.repo, [back.id])
        return Ended(task=back)

    def put_back(self, tx: Transaction, tell: Tell, task: Task, *, now: float) -> Task:
        """Somebody wants a task tried again that is over, paused or resting; only the moment that was asked for is waited for."""
        if task.status is TaskStatus.PAUSED:
            self._leave(tx, tell, task, Ending(outcome=RETRIED), now=now)
        again = replace(
            self._stand(task, now=now), failures=0, lease_until=None, ended_at=None, cause=0, error_code="",
            error_message="",
        )  # fmt: skip
        tx.tasks.save(again)
        tx.tasks.tell([task.id])
        tell(_event("task.retried", again))
        if again.status is TaskStatus.READY:
            announce_ready(tell, again.repo, [again.id])
        return again

    def _leave(self, tx: Transaction, tell: Tell, task: Task, ending: Ending, *, now: float) -> None:
        """Close the attempt that goes on, if one does, and give its locks back."""
        if task.status not in LEASED and task.status is not TaskStatus.PAUSED:
            return
        attempt = tx.tasks.attempt(task.lease)
        if attempt is not None:
            tx.tasks.save_attempt(
                replace(
                    attempt, ended_at=now, outcome=ending.outcome, error_code=ending.error_code,
                    error_message=ending.error_message, result=ending.result, usage=ending.usage or attempt.usage,
                )
            )  # fmt: skip
        # Those that it declared, and those that its holder took for it.
        self._footing.locks.release(tx, tell, task)

    def _release(self, tx: Transaction, tell: Tell, parent: Task, *, now: float) -> tuple[Task, ...]:
        """Many may wait for one task, so what all of them get alike is written at once."""
        ready = []
        for number, run_at in tx.tasks.meet(parent.id):
            if standing(unmet=0, due_at=run_at, now=now) is TaskStatus.READY:
                ready.append(number)
            elif (child := tx.tasks.get(number)) is not None:
                tx.tasks.save(self._stand(child, now=now))
        tx.tasks.wake(ready)
        announce_ready(tell, parent.repo, ready)
        return _first(tx, ready)

    def _stand(self, task: Task, *, now: float) -> Task:
        status = standing(unmet=task.unmet, due_at=task.run_at, now=now)
        return replace(task, status=status, due_at=task.run_at if status is TaskStatus.SCHEDULED else None)

    def _cascade(self, tx: Transaction, tell: Tell, root: Task, *, now: float) -> tuple[Task, ...]:
        """Whoever waits for it, directly or not, is cancelled at once; it is the cause."""
        words = f"{root.name} is {root.status}"
        gone = tx.tasks.cancel_behind(root.id, code="dependency_failed", words=words, at=now)
        _announce(tell, "task.cancelled", root, gone)
        return _first(tx, gone)

    def put_back_behind(self, tx: Transaction, tell: Tell, root: Task, *, now: float) -> Sequence[int]:
        """The same backwards: what was cancelled because of a task is put back; returns that, what can be claimed first."""
        by_status: dict[TaskStatus, list[int]] = {}
        for number, unmet, run_at in tx.tasks.cancelled_behind(root.id):
            by_status.setdefault(standing(unmet=unmet, due_at=run_at, now=now), []).append(number)
        for status, numbers in by_status.items():
            tx.tasks.revive(numbers, status)
            _announce(tell, "task.retried", root, numbers)
        ready = by_status.pop(TaskStatus.READY, [])
        announce_ready(tell, root.repo, ready)
        return [*ready, *sorted(number for numbers in by_status.values() for number in numbers)]

    def _pause_s(self, failures: int) -> float:
        rules = self._footing.rules
        return back_off_s(
            failures, base_s=rules.back_off_s, most_s=rules.most_back_off_s, chance=self._footing.draw()
        )


def announce_ready(tell: Tell, repo: str, tasks: Sequence[int]) -> None:
    """They can be claimed now."""
    for part in _parts(tasks):
        tell(
            NewEvent(kind="task.ready", data={"repo": repo, "tasks": [task_name(number) for number in part]})
        )


def _announce(tell: Tell, kind: str, root: Task, tasks: Sequence[int]) -> None:
    """What happened to many because of one."""
    for part in _parts(tasks):
        names = [task_name(number) for number in part]
        tell(NewEvent(kind=kind, data={"repo": root.repo, "tasks": names, "cause": root.name}))


def _first(tx: Transaction, tasks: Sequence[int]) -> tuple[Task, ...]:
    return tuple(task for number in tasks[:_TOLD_AT_ONCE] if (task := tx.tasks.get(number)) is not None)


def _parts(tasks: Sequence[T]) -> list[Sequence[T]]:
    return [tasks[start : start + _TOLD_AT_ONCE] for start in range(0, len(tasks), _TOLD_AT_ONCE)]


def _ended(task: Task) -> NewEvent:
    match task.status:
        case TaskStatus.DONE:
            return _event("task.done", task)
        case TaskStatus.CANCELLED:
            return _event("task.cancelled", task, reason=task.error_message or task.error_code)
        case TaskStatus.DEAD:
            return _event("task.dead", task, reason=task.error_code)
        case _:
            return _event("task.failed", task, reason=task.error_code)


def _event(kind: str, task: Task, *, reason: str = "", **more: object) -> NewEvent:
    data: dict[str, object] = {"task": task.name, "repo": task.repo, "status": task.status.value, **more}
    if task.holder:
        data["by"] = task.holder_name
    if reason:
        data["reason"] = reason
    return NewEvent(kind=kind, agent=_agent(task.holder), data=data)


def _agent(holder: str) -> str:
    """Holders that are no agents are named by kind and name (`Principal.id`)."""
    return "" if ":" in holder else holder
