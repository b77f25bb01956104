"""The work queue of one daemon: what can be asked of it.

A claim, a report or an end is one change of the store. Each first does what time has brought (leases that ran out, deadlines,
moments that came), so nobody depends on how often the loop looks; the loop is for those who wait for an event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from envmgr.core.queueing import Obstacle, Refusal
from envmgr.errors import Denied
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.model.task import CANCELLED_BY_ORCHESTRATOR, FINAL, LEASED, Dependents, Task, TaskStatus
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground, Tell
from envmgr.services.queue import looking
from envmgr.services.queue.calling_off import CONVENTION, CallingOff, leave_word
from envmgr.services.queue.checking import check
from envmgr.services.queue.claiming import Claimed, Claims, Nothing
from envmgr.services.queue.dependants import dependants
from envmgr.services.queue.ending import ABANDONED, Ending, Ends
from envmgr.services.queue.grounded import note
from envmgr.services.queue.masking import clean_all
from envmgr.services.queue.reporting import Answer, Report, Reporting, answer_of
from envmgr.services.queue.rules import Footing
from envmgr.services.queue.seeing import Looking
from envmgr.services.queue.submitting import Submission, Submitted, submit

__all__ = ["Answer", "Queue", "Report"]

Also = Callable[[Transaction, Task], None]
NO_TASKS = "no_tasks_available"


def nothing_more(tx: Transaction, task: Task) -> None:
    """As a rule a claim is all there is to a claim."""


class Queue(Reporting, Looking, CallingOff):
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
        kept = await clean_all(wanted, self._footing.secrets)

        def change(tx: Transaction, tell: Tell, now: float) -> list[Submitted]:
            taken = submit(tx, tell, kept, repo=repo, by=by, key=key, told=told, rules=rules, now=now)
            note(", ".join(one.task_id for one in taken[:3]))
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
                note(found.task.name)
            else:
                note("", reason=NO_TASKS)
            return found

        return await self._write(change)

    async def cancel(
        self, repo: str, task: str, *, by: Principal, reason: str, dependents: Dependents | None = None
    ) -> Answer:
        """Call it off, whoever has it: that one is told.

        Args:
            dependents: Instead of what the task itself says of those that wait for it.

        Raises:
            NotFound: No such task here.
            Denied: An agent may only call off what it submitted or has.
        """
        ending = self._masked(
            Ending(
                outcome=TaskStatus.CANCELLED,
                error_code=CANCELLED_BY_ORCHESTRATOR,
                error_message=f"{CONVENTION}: {reason}",
            )
        )

        def change(tx: Transaction, tell: Tell, now: float) -> Answer:
            found = self._mine(tx, repo, task, by)
            note(found.name)
            if found.status in FINAL:
                note(found.name, reason=Refusal.OVER)
                return Answer(task=found, refusal=Refusal.OVER)
            leave_word(tx, found, by=by)
            return answer_of(
                self._ends.end(
                    tx, tell, found, TaskStatus.CANCELLED, ending=ending, now=now, dependents=dependents
                )
            )

        return await self._write(change)

    async def retry(self, repo: str, task: str, *, by: Principal, with_dependents: bool = False) -> Answer:
        """Try again what is over, paused, or rests before its next attempt.

        Args:
            with_dependents: And what was cancelled because of it, even if it is open already.

        Raises:
            NotFound: No such task here.
            Denied: An agent may only retry what it submitted or had.
        """

        def change(tx: Transaction, tell: Tell, now: float) -> Answer:
            found = self._mine(tx, repo, task, by)
            note(found.name)
            if found.status is TaskStatus.DONE:
                note(found.name, reason=Refusal.OVER)
                return Answer(task=found, refusal=Refusal.OVER)
            is_open = found.status in LEASED or found.status in (TaskStatus.READY, TaskStatus.BLOCKED)
            again = found if is_open else self._ends.put_back(tx, tell, found, now=now)
            # Even when it is under way already: they may have been left behind by a retry without them.
            taken_up = self._ends.put_back_behind(tx, tell, found, now=now) if with_dependents else ()
            behind = dependants(tx, again, taken_up=taken_up)
            changed = [*([] if is_open else [again]), *(one.task for one in behind if one.is_taken_up)]
            ready = tuple(one for one in changed if one.status is TaskStatus.READY)
            return Answer(task=again, ready=ready, dependants=behind)

        return await self._write(change)

    def release_of(
        self, tx: Transaction, tell: Tell, holder: str, *, session: str = "", life: str = ""
    ) -> list[Task]:
        """Put back at once what a holder has that is gone; part of somebody's change.

        Args:
            session: Only what this session of theirs has; `-` for the one without a name.
            life: Only what this run of an agent has.
        """
        now, counts = self._ground.steady(), not self._footing.was_stopped(holder)
        ending = Ending(outcome=ABANDONED, error_code="agent_gone", error_message="who had it is gone")
        return [
            self._ends.give_back(tx, tell, one, ending=ending, now=now, counts=counts, waits=False).task
            for one in tx.tasks.leased(holder=holder)
            if session in ("", one.session or "-") and life in ("", one.life)
        ]

    def _mine(self, tx: Transaction, repo: str, name: str, by: Principal) -> Task:
        task = looking.find(tx, repo, name)
        if by.kind is PrincipalKind.AGENT and by.id not in (task.submitted_by, task.holder):
            raise Denied(
                f"{by.name} neither submitted {name} nor has it",
                hint="Ask whoever submitted it, or a person.",
                details={"reason": "not_permitted"},
            )
        return task
