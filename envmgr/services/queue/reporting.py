"""What those who have a task say of it: still at it, done, failed, impossible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from envmgr.core.queueing import Refusal, overrun, refusal
from envmgr.model.principal import Principal
from envmgr.model.task import CANCELLED_BY_ORCHESTRATOR, Task, TaskStatus, Usage
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.queue import looking
from envmgr.services.queue.claiming import pause
from envmgr.services.queue.dependants import Dependant
from envmgr.services.queue.ending import ABANDONED, Ended, Ending
from envmgr.services.queue.grounded import Grounded, note
from envmgr.services.queue.masking import clean

Change = Callable[[Transaction, Tell, float, Task], "Answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Who reports on which task.

    Attributes:
        token: Of the lease; 0 if they do not say.
    """

    repo: str
    task: str
    who: Principal
    token: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To a report.

    Attributes:
        task: As it is now.
        refusal: Why nothing was changed; None if the report counts.
        over: Parts of the budget that are exceeded: the holder is to stop.
        dependants: After a retry, what hangs on the task.
    """

    task: Task
    refusal: Refusal | None = None
    over: tuple[str, ...] = ()
    ready: tuple[Task, ...] = ()
    cancelled: tuple[Task, ...] = ()
    dependants: tuple[Dependant, ...] = ()


class Reporting(Grounded):
    """A part of `Queue`."""

    async def heartbeat(
        self, report: Report, *, used: Usage | None = None, is_verifying: bool = False
    ) -> Answer:
        """The holder is at it: the lease begins anew. Raises NotFound."""

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            attempt = tx.tasks.attempt(task.lease)
            budget = tx.tasks.spec(task.id).budget
            known = _most(attempt.usage if attempt else Usage(), used or Usage())
            so_far = replace(known, wall_s=now - (task.claimed_at or now))
            if attempt is not None and used is not None:
                tx.tasks.save_attempt(replace(attempt, usage=so_far))
            over = overrun(budget, so_far)
            if task.status is TaskStatus.PAUSED or over:
                paused = task if task.status is TaskStatus.PAUSED else pause(tx, tell, task, over=over)
                return Answer(task=paused, over=over)
            until = self._claims.lease_until(budget, claimed_at=task.claimed_at or now, now=now)
            status = TaskStatus.VERIFYING if is_verifying else TaskStatus.RUNNING
            beating = replace(task, status=status, lease_until=until)
            tx.tasks.save(beating)
            if task.has_locks:
                self._footing.locks.prolong(tx, beating)
            return Answer(task=beating)

        return await self._report(report, change)

    async def complete(
        self, report: Report, *, result: Mapping[str, object] | None = None, used: Usage | None = None
    ) -> Answer:
        """It is done. Raises NotFound."""
        ending = self._masked(Ending(outcome=TaskStatus.DONE, result=result, usage=used))
        over = self._over(TaskStatus.DONE, ending)

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            # While it is paused no lease keeps its locks: others may have worked at the same meanwhile.
            if task.status is TaskStatus.PAUSED and not self._footing.locks.are_there(tx, task):
                return Answer(task=task, refusal=Refusal.STALE)
            return over(tx, tell, now, task)

        return await self._report(report, change)

    async def give_up(
        self,
        report: Report,
        *,
        error_code: str = "",
        error_message: str = "",
        result: Mapping[str, object] | None = None,
        used: Usage | None = None,
    ) -> Answer:
        """It cannot be done, by anybody. Raises NotFound."""
        is_cancel = error_code == CANCELLED_BY_ORCHESTRATOR
        status = TaskStatus.CANCELLED if is_cancel else TaskStatus.FAILED
        ending = self._masked(
            Ending(
                outcome=status, error_code=error_code, error_message=error_message, result=result, usage=used
            )
        )
        return await self._report(report, self._over(status, ending))

    async def fail(
        self,
        report: Report,
        *,
        error_code: str = "",
        error_message: str = "",
        result: Mapping[str, object] | None = None,
        used: Usage | None = None,
    ) -> Answer:
        """This attempt failed; another one may do better. Raises NotFound."""
        ending = self._masked(
            Ending(
                outcome=TaskStatus.FAILED,
                error_code=error_code,
                error_message=error_message,
                result=result,
                usage=used,
            )
        )

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            ended = self._ends.give_back(tx, tell, task, ending=ending, now=now, counts=True, waits=True)
            return answer_of(ended)

        return await self._report(report, change)

    async def hand_back(self, report: Report, *, why: str) -> Answer:
        """Whoever has it never began: it goes back at once, and that was no attempt. Raises NotFound."""
        ending = self._masked(Ending(outcome=ABANDONED, error_code="not_begun", error_message=why))

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            return answer_of(
                self._ends.give_back(tx, tell, task, ending=ending, now=now, counts=False, waits=False)
            )

        return await self._report(report, change)

    def _masked(self, ending: Ending) -> Ending:
        return clean(ending, self._footing.secrets)

    def _over(self, status: TaskStatus, ending: Ending) -> Change:
        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            return answer_of(self._ends.end(tx, tell, task, status, ending=ending, now=now))

        return change

    async def _report(self, report: Report, change: Change) -> Answer:
        def run(tx: Transaction, tell: Tell, now: float) -> Answer:
            self._claims.catch_up(tx, tell, now=now)
            task = looking.find(tx, report.repo, report.task)
            had = report.token not in (0, task.lease) and _had(tx, task, report)
            no = refusal(task, holder=report.who.id, session=report.who.session, token=report.token, had=had)
            answer = Answer(task=task, refusal=no) if no else change(tx, tell, now, task)
            if no is Refusal.CANCELLED:
                tx.tasks.tell([task.id])
            reason = answer.refusal.value if answer.refusal else "over_budget" if answer.over else ""
            note(task.name, reason=reason)
            return answer

        return await self._write(run)


def _had(tx: Transaction, task: Task, report: Report) -> bool:
    """Whether the token was given to who reports, for this task."""
    attempt = tx.tasks.attempt(report.token)
    return attempt is not None and (attempt.task, attempt.holder) == (task.id, report.who.id)


def answer_of(ended: Ended) -> Answer:
    """To whoever ended a task or an attempt."""
    return Answer(task=ended.task, ready=ended.ready, cancelled=ended.cancelled)


def _most(one: Usage, other: Usage) -> Usage:
    return Usage(
        tokens=max(one.tokens, other.tokens),
        cost=max(one.cost, other.cost),
        wall_s=max(one.wall_s, other.wall_s),
        tool_calls=max(one.tool_calls, other.tool_calls),
        file_changes=max(one.file_changes, other.file_changes),
    )
