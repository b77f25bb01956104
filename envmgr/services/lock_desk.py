"""Where locks are asked for, waited for, given back and given away; each of these is one call of an agent, person or program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from envmgr.core.overlap import covers
from envmgr.core.targets import parse_target
from envmgr.errors import Conflict as Refused
from envmgr.errors import NotFound
from envmgr.model.lock import Answer, Conflict, Grant, Mode, Outcome
from envmgr.model.principal import Principal
from envmgr.model.task import LEASED, TaskStatus, task_number
from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.calls import Call
from envmgr.services.ground import Tell
from envmgr.services.line import Waiter
from envmgr.services.lock_events import forced
from envmgr.services.locks import LockRequest, Locks

NOT_HELD = "lock_not_found_or_not_owner"
STALE = "stale_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a change of grants.

    Attributes:
        grants: As they are now, or were when they ended.
        refused: By target: why nothing was done about it; then nothing was done at all.
        conflicts: With what others hold, if that is why.
    """

    grants: tuple[Grant, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[Conflict, ...] = ()


class LockDesk:
    """Answers calls about locks."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._ground = locks.ground

    async def acquire(self, asked: LockRequest, *, wait_s: float = 0.0) -> Answer:
        """Grant all targets or none; wait for them if that is asked. Whoever stops waiting loses the place at once.

        Raises:
            Refused: It is for a task that the asker is not at: nothing would end it.
        """
        if wait_s <= 0:
            return await self._attempt(asked, None)
        waiter = self._locks.waiter(asked)
        try:
            answer = await self._wait(asked, waiter, wait_s)
        finally:
            self._locks.line.leave(waiter.wish.number)
            self._locks.line.gone(waiter.wish)
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            # Nobody is there to hear of it: what was just granted must not be held by one who does not know.
            with anyio.CancelScope(shield=True):
                await self._take_back(answer)
            raise
        return answer

    async def _wait(self, asked: LockRequest, waiter: Waiter, wait_s: float) -> Answer:
        answer = await self._attempt(asked, waiter)
        call = calls.current()
        with anyio.move_on_after(wait_s):
            while answer.outcome is Outcome.QUEUED:
                await waiter.wake.wait()
                waiter.wake = anyio.Event()
                if call is not None:
                    call.is_written = False  # that it waits is recorded; what comes of it is still to be
                answer = await self._attempt(asked, waiter)
        return answer

    async def _attempt(self, asked: LockRequest, waiter: Waiter | None) -> Answer:
        call = calls.current()
        is_again = waiter is not None and waiter.has_asked
        if waiter is not None:
            waiter.has_asked = True

        def change(tx: Transaction, tell: Tell) -> Answer:
            if asked.task:
                _check_task(tx, asked)
            answer = self._locks.take(tx, tell, asked, waiter=waiter)
            if is_again and call is not None and answer.outcome is Outcome.QUEUED:
                call.is_written = True
            _note(call, asked.targets, answer.outcome.reason, tokens=[grant.token for grant in answer.grants])
            return answer

        if waiter is None:
            return await self._ground.write(change)
        # A grant that is committed must be known, so that it can be taken back if nobody waits any more.
        with anyio.CancelScope(shield=True):
            answer = await self._ground.write(change)
        return answer  # noqa: RET504 - mypy takes a scope for something that swallows errors

    async def _take_back(self, answer: Answer) -> None:
        fresh = [grant for grant in answer.grants if grant.target not in answer.refreshed]
        if fresh:
            await self._ground.write(lambda tx, tell: self._locks.drop(tx, tell, fresh))

    async def release(
        self, principal: Principal, repo: str, targets: Sequence[str], *, token: int = 0
    ) -> Done:
        """Give back exactly these targets, or what is held inside of them; without targets, all that is held there."""
        holder, call = principal.id, calls.current()
        if not targets:
            return await self._release_all(principal, repo, call)

        def change(tx: Transaction, tell: Tell) -> Done:
            if token and (refused := self._mismatch(tx, holder, repo, targets, token)):
                _note(call, targets, STALE)
                return Done(refused=refused)
            gone: list[Grant] = []
            missing: list[tuple[str, str]] = []
            for target in targets:
                found = self._give_back(tx, tell, holder, repo, target)
                gone += found
                if not found:
                    missing.append((target, NOT_HELD))
            _note(call, targets, _why(missing), released=[grant.token for grant in gone])
            return Done(grants=tuple(gone), refused=tuple(missing))

        return await self._ground.write(change)

    def _give_back(self, tx: Transaction, tell: Tell, holder: str, repo: str, target: str) -> list[Grant]:
        """The target, or what is held inside of it; and the keys that went with it."""
        whole = parse_target(target)
        gone = self._locks.give_back(tx, tell, repo=repo, holder=holder, targets=[target])
        if not gone:
            inside = [
                grant.target
                for grant in self._locks.near(tx, repo, target)
                if grant.holder == holder and covers(whole, parse_target(grant.target))
            ]
            gone = self._locks.give_back(tx, tell, repo=repo, holder=holder, targets=inside)
        return [_ended(token, repo, one, holder) for one, token in gone.items()]

    async def _release_all(self, principal: Principal, repo: str, call: Call | None) -> Done:
        held = await self._ground.read(lambda tx: self._locks.held(tx, repo, holder=principal.id))

        def change(tx: Transaction, tell: Tell) -> Done:
            gone = self._locks.drop(tx, tell, held)
            _note(call, [grant.target for grant in gone], "", released=[grant.token for grant in gone])
            return Done(grants=tuple(gone))

        return await self._ground.write(change)

    async def renew(
        self, principal: Principal, repo: str, targets: Sequence[str], *, ttl_s: float = 0.0, token: int = 0
    ) -> Done:
        """Count the time of grants from now; all of them or none. Without targets, all that is held there."""
        call = calls.current()
        if not targets:
            held = await self._ground.read(lambda tx: self._locks.held(tx, repo, holder=principal.id))
            targets = [grant.target for grant in held]

        def change(tx: Transaction, tell: Tell) -> Done:
            done = self._own(tx, principal.id, repo, targets, token)
            grants = [self._locks.prolong(tx, grant, ttl_s or grant.ttl_s) for grant in done.grants]
            _note(call, targets, _why(done.refused), renewed=[grant.token for grant in grants])
            return replace(done, grants=tuple(grants))

        return await self._ground.write(change)

    async def transfer(
        self, principal: Principal, repo: str, targets: Sequence[str], *, to: Principal
    ) -> Done:
        """Give grants to somebody else, under new tokens; all of them or none."""
        call = calls.current()

        def change(tx: Transaction, tell: Tell) -> Done:
            done = self._own(tx, principal.id, repo, targets, 0)
            moving = self._locks.with_keys(tx, done.grants)
            if met := self._locks.in_the_way_of(tx, moving, to):
                stuck = {grant.target: Outcome.CONFLICT.reason for grant, _ in met}
                done = Done(refused=tuple(stuck.items()), conflicts=tuple(one for _, one in met))
                moving = []
            grants = self._locks.hand_over(tx, tell, moving, to)
            tokens = [grant.token for grant in grants]
            _note(call, targets, _why(done.refused), to=to.name, tokens=tokens)
            return replace(done, grants=tuple(grants))

        return await self._ground.write(change)

    async def force(self, repo: str, targets: Sequence[str], *, by: str, reason: str) -> Done:
        """End grants of anybody on exactly these targets; who had them is told, and their tokens are worth nothing.

        Keys that these paths brought end with them.
        """
        call = calls.current()

        def change(tx: Transaction, tell: Tell) -> Done:
            gone: list[Grant] = []
            missing: list[tuple[str, str]] = []
            for target in targets:
                found = [grant for grant in self._locks.near(tx, repo, target) if grant.target == target]
                tells = partial(forced, why=f"{by}: {reason}")
                gone += self._locks.drop_with_keys(tx, tell, found, tells=tells)
                if not found:
                    missing.append((target, NOT_HELD))
            said = [f"{grant.name} #{grant.token}" for grant in gone]
            _note(call, targets, _why(missing), forced=said, because=reason)
            return Done(grants=tuple(gone), refused=tuple(missing))

        return await self._ground.write(change)

    async def in_the_way(self, principal: Principal, repo: str, target: str, mode: Mode) -> list[Conflict]:
        """What would keep the target from being granted now; changes nothing."""
        asked = LockRequest(principal=principal, repo=repo, targets=(target,), mode=mode)
        return await self._ground.read(lambda tx: self._locks.look(tx, asked))

    def _own(self, tx: Transaction, holder: str, repo: str, targets: Sequence[str], token: int) -> Done:
        """The holder's grants on exactly these targets; none if one is missing, or the token is not of one of them."""
        if token and (refused := self._mismatch(tx, holder, repo, targets, token)):
            return Done(refused=refused)
        found = {target: self._locks.own(tx, repo, target, holder) for target in targets}
        missing = tuple((target, NOT_HELD) for target, grant in found.items() if grant is None)
        return Done(refused=missing) if missing else Done(grants=tuple(g for g in found.values() if g))

    def _mismatch(
        self, tx: Transaction, holder: str, repo: str, targets: Collection[str], token: int
    ) -> tuple[tuple[str, str], ...]:
        """Those of the targets that the token does not stand for; it stands for one at most."""
        grant = self._locks.check(tx, token)
        if grant is None or grant.holder != holder or grant.repo != repo:
            return tuple((target, STALE) for target in targets)
        return tuple((target, STALE) for target in targets if target != grant.target)


def _check_task(tx: Transaction, asked: LockRequest) -> None:
    task = tx.tasks.get(task_number(asked.task))
    if task is None or task.repo != asked.repo:
        raise NotFound(
            f"no task {asked.task}", hint="See `envmgr task ls`; locks can be taken without a task."
        )
    is_at_it = task.status in LEASED or task.status is TaskStatus.PAUSED
    if task.holder != asked.principal.id or not is_at_it:
        raise Refused(
            f"{asked.task} is not yours now: the lock would not end with it",
            hint="Claim it first, or take the lock without a task.",
        )


def _ended(token: int, repo: str, target: str, holder: str) -> Grant:
    """Who it was is known to the asker, and all else is gone."""
    return Grant(
        token=token, repo=repo, stem="", target=target, mode=Mode.WRITE, holder=holder, name="",
        ttl_s=0.0, since_at=0.0, expires_at=0.0,
    )  # fmt: skip


def _why(refused: Sequence[tuple[str, str]]) -> str:
    return refused[0][1] if refused else ""


def _note(call: Call | None, targets: Sequence[str], refusal: str, **result: object) -> None:
    """For the audit trail."""
    if call is not None:
        call.target = " ".join(targets)
        said = {key: value for key, value in result.items() if value}
        call.result = {"ok": False, "reason": refusal, **said} if refusal else {"ok": True, **said}
