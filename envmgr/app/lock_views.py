"""What is said about locks. Fields of the Agent Coordinator (`success`, `action`, `locked_by`, ...) stand beside ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from envmgr.app.moments import moment
from envmgr.app.shapes import View
from envmgr.model.lock import BESIDE_TASKS, Answer, Conflict, Grant, Outcome
from envmgr.services.locks import Locks


class LockView(View):
    """A lock that is held."""

    target: str = Field(description="Path, folder, pattern or key")
    token: int = Field(description="Fencing token: only grows, and a stale one is refused")
    mode: Literal["read", "intent", "write"]
    holder: str = Field(description="Name of the agent, person or program")
    holder_id: str
    reason: str = ""
    task_id: str = ""
    repo: str = ""
    since_at: str = ""
    expires_at: str = Field(description="Unless the holder gives a sign of life before")
    ttl_s: float
    left_s: float = 0.0
    renew_after_s: float = Field(description="Give a sign of life, or renew, after so long")
    file_path: str = Field(default="", description="Same as target")
    locked_by: str = Field(default="", description="Same as holder")
    locked_at: str = Field(default="", description="Same as since_at")


class ConflictView(View):
    """Who is in the way, and where."""

    target: str = Field(description="What was asked for")
    held: str = Field(description="What the other one holds, or waits for")
    holder: str
    mode: str
    reason: str = ""
    since: str = ""
    expires_at: str = ""
    left_s: float | None = None
    overlap_example: str = Field(description="Something that both cover")
    is_waiting: bool = Field(default=False, description="The other one only waits for it, and came first")


class LinkView(View):
    """One step of a deadlock."""

    holder: str
    waits_for: str
    held_by: str
    held: str


class LockAnswer(View):
    """What came of asking for locks."""

    ok: bool
    success: bool
    status: Literal["granted", "queued", "conflict", "deadlock", "denied"]
    action: Literal["acquired", "refreshed", ""] = ""
    reason: str = Field(default="", description="`locked_by_other`, `deadlock`, `wait_over`, or empty")
    message: str = ""
    locked_by: str = ""
    lock_reason: str = ""
    file_path: str = ""
    expires_at: str = ""
    locks: list[LockView] = []
    conflicts: list[ConflictView] = []
    warnings: list[ConflictView] = Field(default=[], description="Announced work that this meets")
    queue_position: int = 0
    cycle: list[LinkView] = Field(
        default=[], description="Who waits for whom, from the asker back to the asker"
    )
    release_order: list[str] = Field(default=[], description="What to release to get out of the deadlock")


class ReleaseView(View):
    """What came of giving locks back."""

    ok: bool
    success: bool
    action: Literal["released", ""] = ""
    reason: str = Field(default="", description="`lock_not_found_or_not_owner`, `stale_token`, or empty")
    message: str = ""
    file_path: str = ""
    released: list[str] = []
    not_held: list[str] = []
    dirty_paths: list[str] = Field(
        default=[], description="Uncommitted changes under what was released: others do not see them yet"
    )


class LocksView(View):
    """Locks after a change of them, or why there was none."""

    ok: bool
    success: bool
    action: Literal["renewed", "transferred", "released", ""] = ""
    reason: str = Field(default="", description="`lock_not_found_or_not_owner`, `stale_token`, or empty")
    message: str = ""
    not_held: list[str] = []
    locks: list[LockView] = []


class WaiterView(View):
    """Somebody who waits for locks."""

    holder: str
    targets: list[str]
    mode: str
    priority: str
    reason: str = ""
    waited_s: float
    position: int


class LockList(View):
    """Locks that are held, and who waits."""

    locks: list[LockView]
    waiting: list[WaiterView] = []
    would_conflict: list[ConflictView] = Field(
        default=[], description="What would keep the caller from the named targets"
    )
    stale_tokens: list[int] = Field(
        default=[], description="Those of the named tokens that are worth nothing"
    )


class LockWhy(View):
    """Why a target cannot be had."""

    target: str
    is_yours: bool = Field(description="The caller holds it, or something that covers it")
    is_free: bool = Field(description="Nobody holds what would keep the caller from it")
    asker_id: str = Field(description="The caller, as in `holder_id`")
    locks: list[LockView]
    waiting: list[WaiterView] = []
    conflicts: list[ConflictView] = []
    frees_at: str = Field(default="", description="At the latest, unless renewed; empty when it is free")
    wait_command: str = Field(description="Takes it, and waits if that is needed; empty when it is yours")


class Says:
    """Puts grants into views; all of one answer as of the same moment."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._now, self._steady = locks.ground.now(), locks.ground.steady()

    def lock(self, grant: Grant) -> LockView:
        """A grant that stands."""
        left_s = max(0.0, self._locks.expires_at(grant) - self._steady)
        return LockView(
            target=grant.target, token=grant.token, mode=grant.mode.value, holder=grant.name, holder_id=grant.holder,
            reason=grant.reason, task_id=", ".join(sorted(grant.tasks - BESIDE_TASKS)), repo=grant.repo, since_at=moment(grant.since_at),
            expires_at=moment(self._now + left_s), ttl_s=grant.ttl_s, left_s=round(left_s, 1),
            renew_after_s=round(grant.ttl_s / 2, 1), file_path=grant.target, locked_by=grant.name,
            locked_at=moment(grant.since_at),
        )  # fmt: skip

    def conflict(self, found: Conflict) -> ConflictView:
        """One who is in the way."""
        grant = found.grant
        left_s = max(0.0, self._locks.expires_at(grant) - self._steady)
        return ConflictView(
            target=found.target, held=grant.target, holder=grant.name, mode=grant.mode.value, reason=grant.reason,
            since="" if found.is_waiting else moment(grant.since_at), expires_at="" if found.is_waiting else moment(self._now + left_s),
            left_s=None if found.is_waiting else round(left_s, 1), overlap_example=found.example,
            is_waiting=found.is_waiting,
        )  # fmt: skip

    def answer(self, answer: Answer, asked: list[str]) -> LockAnswer:
        """What came of asking."""
        is_granted = answer.outcome is Outcome.GRANTED
        locks = [self.lock(grant) for grant in answer.grants]
        conflicts = [self.conflict(one) for one in answer.conflicts]
        first = conflicts[0] if conflicts else None
        is_refresh = is_granted and len(answer.refreshed) == len(locks)
        return LockAnswer(
            ok=is_granted, success=is_granted, status=answer.outcome.value,
            action="" if not is_granted else "refreshed" if is_refresh else "acquired",
            reason=answer.outcome.reason, message=_message(answer, first, asked),
            locked_by=first.holder if first else "", lock_reason=first.reason if first else "",
            file_path=asked[0] if len(asked) == 1 else "",
            expires_at=min((lock.expires_at for lock in locks), default=first.expires_at if first else ""),
            locks=locks, conflicts=conflicts, warnings=[self.conflict(one) for one in answer.warnings],
            queue_position=answer.position,
            cycle=[
                LinkView(holder=one.name, waits_for=one.target, held_by=one.blocker_name, held=one.held)
                for one in answer.cycle
            ],
            release_order=_order(answer),
        )  # fmt: skip


def _order(answer: Answer) -> list[str]:
    """The asker first: it has not begun to wait, and what the last one waits for is the asker's."""
    steps = [*answer.cycle[-1:], *answer.cycle[:-1]]
    return [f"{step.blocker_name}: {step.held}" for step in steps]


def _message(answer: Answer, first: ConflictView | None, asked: list[str]) -> str:
    if answer.outcome is Outcome.DEADLOCK:
        return "; ".join(
            f"{one.name} waits for {one.target}, held by {one.blocker_name}" for one in answer.cycle
        )
    if first is None:
        return ""
    what = f" ({first.reason})" if first.reason else ""
    because = "" if first.target in asked else "; a rule of this repository asks for it, too"
    if first.is_waiting:
        return f"{first.target}: {first.holder} waits for {first.held} and came first{because}"
    where = "" if first.held == first.target else f" as {first.held}"
    return f"{first.target} is held by {first.holder}{where}{what} until {first.expires_at}{because}"
