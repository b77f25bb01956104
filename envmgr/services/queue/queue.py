"""The work queue of one daemon: what can be asked of it.

A claim, a report or an end is one change of the store. Each first does what time has brought (leases that ran out, deadlines,
moments that came), so nobody depends on how often the loop looks; the loop is for those who wait for an event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from envmgr.core.queueing import Obstacle, Refusal, overrun, refusal
from envmgr.errors import Denied
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.model.task import (
    CANCELLED_BY_ORCHESTRATOR,
    FINAL,
    LEASED,
    Dependents,
    Task,
    TaskStatus,
    Usage,
)
from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.ground import Ground, Tell
from envmgr.services.queue import looking
from envmgr.services.queue.claiming import Claimed, Claims, Nothing, pause
from envmgr.services.queue.ending import ABANDONED, Ended, Ending, Ends
from envmgr.services.queue.rules import Footing
from envmgr.services.queue.submitting import Submission, Submitted, check, submit

T = TypeVar("T")
Also = Callable[[Transaction, Task], None]
NO_TASKS = "no_tasks_available"
CONVENTION = "Cancelled by orchestrator"


def nothing_more(tx: Transaction, task: Task) -> None:
    """As a rule a claim is all there is to a claim."""


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
    """

    task: Task
    refusal: Refusal | None = None
    over: tuple[str, ...] = ()
    ready: tuple[Task, ...] = ()
    cancelled: tuple[Task, ...] = ()


class Queue:
    """One per daemon."""

    def __init__(self, ground: Ground, footing: Footing) -> None:
        self._ground = ground
        self._footing = footing
        self._ends = Ends(footing)
        self._claims = Claims(footing, self._ends)

    def abilities(self, who: Principal) -> frozenset[str]:
        """What is known of what they can do."""
        return frozenset(self._footing.abilities(who))

    async def submit(
        self, wanted: Sequence[Submission], *, repo: str, by: Principal, key: str = "", told: str = ""
    ) -> list[Submitted]:
        """Take all of them in, or none. With a `key` that was used before, the answer of then.

        Args:
            told: The request as it came; only the same one may use the key again.

        Raises:
            Invalid: Too many, a key twice, or a cycle.
            Conflict: The key was used for something else.
            NotFound: A dependency is no task of this repository.
        """
        rules = self._footing.rules
        check(wanted, rules)

        def change(tx: Transaction, tell: Tell, now: float) -> list[Submitted]:
            taken = submit(tx, tell, wanted, repo=repo, by=by, key=key, told=told, rules=rules, now=now)
            _note(", ".join(one.task_id for one in taken[:3]))
            return taken

        return await self._write(change)

    async def claim(
        self,
        *,
        repo: str,
        who: Principal,
        types: Collection[str] = (),
        capabilities: Collection[str] = (),
        also: Also = nothing_more,
    ) -> Claimed | Nothing:
        """The next task for them, leased to them, with its locks.

        Args:
            also: Part of the same change when there is a task.
        """
        waits: tuple[Obstacle, ...] = ()
        after = None
        while True:
            found = await self._claim(repo, who, types, capabilities, after=after, also=also)
            if isinstance(found, Claimed):
                return found
            waits += found.lock_waits
            if found.after is None:
                return Nothing(lock_waits=waits)
            after = found.after

    async def _claim(
        self,
        repo: str,
        who: Principal,
        types: Collection[str],
        capabilities: Collection[str],
        *,
        after: tuple[float, int] | None,
        also: Also,
    ) -> Claimed | Nothing:
        def change(tx: Transaction, tell: Tell, now: float) -> Claimed | Nothing:
            found = self._claims.claim(
                tx, tell, repo=repo, who=who, types=types, capabilities=capabilities, after=after, now=now
            )
            if isinstance(found, Claimed):
                also(tx, found.task)
                _note(found.task.name)
            else:
                _note("", reason=NO_TASKS)
            return found

        return await self._write(change)

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
        ending = Ending(outcome=TaskStatus.DONE, result=result, usage=used)
        return await self._report(report, self._over(TaskStatus.DONE, ending))

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
        ending = Ending(
            outcome=status, error_code=error_code, error_message=error_message, result=result, usage=used
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
        ending = Ending(
            outcome=TaskStatus.FAILED,
            error_code=error_code,
            error_message=error_message,
            result=result,
            usage=used,
        )

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            ended = self._ends.give_back(tx, tell, task, ending=ending, now=now, counts=True, waits=True)
            return _answer(ended)

        return await self._report(report, change)

    async def hand_back(self, report: Report, *, why: str) -> Answer:
        """Whoever has it never began: it goes back at once, and that was no attempt. Raises NotFound."""
        ending = Ending(outcome=ABANDONED, error_code="not_begun", error_message=why)

        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            return _answer(
                self._ends.give_back(tx, tell, task, ending=ending, now=now, counts=False, waits=False)
            )

        return await self._report(report, change)

    def _over(self, status: TaskStatus, ending: Ending) -> Callable[[Transaction, Tell, float, Task], Answer]:
        def change(tx: Transaction, tell: Tell, now: float, task: Task) -> Answer:
            return _answer(self._ends.end(tx, tell, task, status, ending=ending, now=now))

        return change

    async def cancel(
        self, repo: str, task: str, *, by: Principal, reason: str, dependents: Dependents | None = None
    ) -> Answer:
        """Call it off, whoever has it: that one hears of it with its next report.

        Args:
            dependents: Instead of what the task itself says of those that wait for it.

        Raises:
            NotFound: No such task here.
            Denied: An agent may only call off what it submitted or has.
        """

        def change(tx: Transaction, tell: Tell, now: float) -> Answer:
            found = self._mine(tx, repo, task, by)
            _note(found.name)
            if found.status in FINAL:
                _note(found.name, reason=Refusal.OVER)
                return Answer(task=found, refusal=Refusal.OVER)
            ending = Ending(
                outcome=TaskStatus.CANCELLED, error_code=CANCELLED_BY_ORCHESTRATOR,
                error_message=f"{CONVENTION}: {reason}",
            )  # fmt: skip
            return _answer(
                self._ends.end(
                    tx, tell, found, TaskStatus.CANCELLED, ending=ending, now=now, dependents=dependents
                )
            )

        return await self._write(change)

    async def retry(self, repo: str, task: str, *, by: Principal, with_dependents: bool = False) -> Answer:
        """Try again what is over, paused, or rests before its next attempt.

        Args:
            with_dependents: And what was cancelled because of it.

        Raises:
            NotFound: No such task here.
            Denied: An agent may only retry what it submitted or had.
        """

        def change(tx: Transaction, tell: Tell, now: float) -> Answer:
            found = self._mine(tx, repo, task, by)
            _note(found.name)
            if found.status is TaskStatus.DONE:
                _note(found.name, reason=Refusal.OVER)
                return Answer(task=found, refusal=Refusal.OVER)
            if found.status in LEASED or found.status in (TaskStatus.READY, TaskStatus.BLOCKED):
                return Answer(task=found)
            again = self._ends.put_back(tx, tell, found, now=now)
            more = self._cancelled_by(tx, found) if with_dependents else []
            put = [self._ends.put_back(tx, tell, one, now=now) for one in more]
            return Answer(
                task=again, ready=tuple(one for one in (again, *put) if one.status is TaskStatus.READY)
            )

        return await self._write(change)

    def release_of(self, tx: Transaction, tell: Tell, holder: str, *, session: str = "") -> list[Task]:
        """Put back at once what a holder has that is gone; part of somebody's change.

        Args:
            session: Only what this session of theirs has; `-` for the one without a name.
        """
        now, counts = self._ground.steady(), not self._footing.was_stopped(holder)
        ending = Ending(outcome=ABANDONED, error_code="agent_gone", error_message="who had it is gone")
        return [
            self._ends.give_back(tx, tell, one, ending=ending, now=now, counts=counts, waits=False).task
            for one in tx.tasks.leased(holder=holder)
            if session in ("", one.session or "-")
        ]

    async def catch_up(self) -> int:
        """Do what time has brought; returns how many tasks it was about."""
        if not await self._ground.read(lambda tx: tx.tasks.is_any_due(self._ground.steady())):
            return 0
        return await self._write(lambda tx, tell, now: self._claims.catch_up(tx, tell, now=now))

    async def see(self, repo: str, task: str) -> looking.Seen:
        """All of one task. Raises NotFound."""
        return await self._read(lambda tx: looking.see(tx, repo, task))

    async def why(self, repo: str, task: str, *, capabilities: Collection[str] = ()) -> looking.Why:
        """What keeps a task from being done. Raises NotFound."""
        locks = self._footing.locks
        return await self._read(
            lambda tx: looking.why(tx, repo, task, locks=locks, capabilities=capabilities)
        )

    async def page(
        self,
        repo: str,
        *,
        statuses: Collection[TaskStatus] = (),
        is_open: bool = False,
        kind: str = "",
        holder: str = "",
        after: int = 0,
        limit: int = 50,
    ) -> looking.Page:
        """Tasks, the newest first."""
        return await self._read(
            lambda tx: looking.page(
                tx,
                repo,
                statuses=statuses,
                is_open=is_open,
                kind=kind,
                holder=holder,
                after=after,
                limit=limit,
            )
        )

    async def graph(self, repo: str, task: str = "", *, limit: int = 200) -> looking.Graph:
        """Everything that one task is tied to, or all unfinished ones. Raises NotFound."""
        return await self._read(lambda tx: looking.graph(tx, repo, task, limit=limit))

    def _mine(self, tx: Transaction, repo: str, name: str, by: Principal) -> Task:
        task = looking.find(tx, repo, name)
        if by.kind is PrincipalKind.AGENT and by.id not in (task.submitted_by, task.holder):
            raise Denied(
                f"{by.name} neither submitted {name} nor has it",
                hint="Ask whoever submitted it, or a person.",
                details={"reason": "not_permitted"},
            )
        return task

    def _cancelled_by(self, tx: Transaction, root: Task) -> list[Task]:
        found: list[Task] = []
        left = [root]
        while left:
            children = [c for c in tx.tasks.children(left.pop().id) if c.cause == root.id]
            found += children
            left += children
        return list({one.id: one for one in found}.values())

    async def _report(
        self, report: Report, change: Callable[[Transaction, Tell, float, Task], Answer]
    ) -> Answer:
        def run(tx: Transaction, tell: Tell, now: float) -> Answer:
            self._claims.catch_up(tx, tell, now=now)
            task = looking.find(tx, report.repo, report.task)
            attempt = tx.tasks.attempt(report.token) if report.token else None
            had = attempt is not None and (attempt.task, attempt.holder) == (task.id, report.who.id)
            no = refusal(task, holder=report.who.id, session=report.who.session, token=report.token, had=had)
            answer = Answer(task=task, refusal=no) if no else change(tx, tell, now, task)
            _note(task.name, reason=no.value if no else "over_budget" if answer.over else "")
            return answer

        return await self._write(run)

    async def _read(self, query: Callable[[Transaction], T]) -> T:
        await self.catch_up()
        return await self._ground.read(query)

    async def _write(self, change: Callable[[Transaction, Tell, float], T]) -> T:
        now = self._ground.steady()
        return await self._ground.write(lambda tx, tell: change(tx, tell, now))


def _note(task: str, *, reason: str = "") -> None:
    """For the audit trail."""
    call = calls.current()
    if call is not None:
        call.target = task
        call.result = {"ok": not reason, **({"reason": reason} if reason else {})}


def _answer(ended: Ended) -> Answer:
    return Answer(task=ended.task, ready=ended.ready, cancelled=ended.cancelled)


def _most(one: Usage, other: Usage) -> Usage:
    return Usage(
        tokens=max(one.tokens, other.tokens),
        cost=max(one.cost, other.cost),
        wall_s=max(one.wall_s, other.wall_s),
        tool_calls=max(one.tool_calls, other.tool_calls),
        file_changes=max(one.file_changes, other.file_changes),
    )
