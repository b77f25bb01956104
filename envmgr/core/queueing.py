"""The work queue's decisions: who may go, who goes first, and what an end means for the others.

A stored task's `status` is set by these functions only, and every reader goes by it, so `ready`, `blocked`, `why` and a claim
cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from envmgr.model.task import FINAL, LEASED, Dependents, Task, TaskSpec, TaskStatus, Usage

_FOREVER = 1e12


def standing(*, unmet: int, due_at: float | None, now: float) -> TaskStatus:
    """Of a task that nobody has: what keeps it from being claimed, if anything does."""
    if unmet:
        return TaskStatus.BLOCKED
    if due_at is not None and due_at > now:
        return TaskStatus.SCHEDULED
    return TaskStatus.READY


def rank(priority: int, *, at: float, ageing_s: float) -> float:
    """Place in the queue: the smallest goes first.

    A task that waited for `ageing_s` longer goes before one that is one step more urgent; that order never changes while
    both wait, so it can be an index. Without ageing (0) priority decides alone.
    """
    return priority * (ageing_s or _FOREVER) + at


class ObstacleKind(StrEnum):
    """Why a task is not given to somebody."""

    UNFINISHED = "unfinished_dependency"
    FAILED = "failed_dependency"
    CANCELLED = "cancelled_dependency"
    NOT_YET = "scheduled"
    HELD = "claimed"
    OVER_BUDGET = "over_budget"
    OVER = "over"
    OTHER_TYPE = "other_type"
    CAPABILITY = "missing_capability"
    LOCK = "lock_wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason.

    Attributes:
        on: The task, principal, capability or lock it is about.
        until: Steady time at which it goes away by itself; None if it does not.
    """

    kind: ObstacleKind
    words: str
    on: str = ""
    until: float | None = None


def obstacles(task: Task, parents: Sequence[Task]) -> list[Obstacle]:
    """Why nobody can claim a task; empty exactly if its status is ready.

    Args:
        parents: The tasks it waits for and that it still counts as not over.
    """
    status = task.status
    if status is TaskStatus.BLOCKED:
        return [_waits_for(parent) for parent in parents]
    if status is TaskStatus.SCHEDULED:
        why = f"attempt {task.attempts} failed" if task.failures else "it is to begin later"
        return [Obstacle(kind=ObstacleKind.NOT_YET, words=why, until=task.due_at)]
    if status in LEASED:
        return [
            Obstacle(
                kind=ObstacleKind.HELD,
                words=f"{task.holder_name} has it",
                on=task.holder_name,
                until=task.lease_until,
            )
        ]
    if status is TaskStatus.PAUSED:
        return [Obstacle(kind=ObstacleKind.OVER_BUDGET, words="it went over its budget; retry or cancel it")]
    if status in FINAL:
        because = task.error_message or task.error_code
        return [Obstacle(kind=ObstacleKind.OVER, words=f"it is {status}{because and ': '}{because}")]
    return []


_UNWELL = {
    TaskStatus.FAILED: ObstacleKind.FAILED,
    TaskStatus.DEAD: ObstacleKind.FAILED,
    TaskStatus.CANCELLED: ObstacleKind.CANCELLED,
}


def _waits_for(parent: Task) -> Obstacle:
    kind = _UNWELL.get(parent.status, ObstacleKind.UNFINISHED)
    return Obstacle(kind=kind, words=f"waits for {parent.name}, which is {parent.status}", on=parent.name)


def unfit(spec: TaskSpec, *, capabilities: Collection[str], types: Collection[str]) -> list[Obstacle]:
    """Why somebody does not get a task that is ready.

    Args:
        types: Wanted ones; empty for any.
    """
    found = [
        Obstacle(kind=ObstacleKind.CAPABILITY, words=f"needs the capability {need}", on=need)
        for need in spec.capabilities
        if need not in capabilities
    ]
    if types and spec.type not in types:
        found.append(
            Obstacle(kind=ObstacleKind.OTHER_TYPE, words=f"is of the type {spec.type}", on=spec.type)
        )
    return found


def back_off_s(failures: int, *, base_s: float, most_s: float, chance: float) -> float:
    """How long to wait before the next attempt: doubled with each failure, within a fifth of that by chance.

    Args:
        failures: At least 1.
        chance: Drawn by the caller, 0 to 1.
    """
    pause = min(base_s * 2.0 ** min(failures - 1, 40), most_s)
    return min(pause * (0.9 + 0.2 * chance), most_s)


class Meaning(StrEnum):
    """Of a task's end for one that waits for it."""

    MET = "met"
    WAIT = "wait"
    CANCEL = "cancel"


def meaning(status: TaskStatus, dependents: Dependents) -> Meaning:
    """What the end of a task means for those that wait for it."""
    if status is TaskStatus.DONE:
        return Meaning.MET
    if status not in FINAL:
        return Meaning.WAIT
    return {
        Dependents.BLOCK: Meaning.WAIT,
        Dependents.CANCEL: Meaning.CANCEL,
        Dependents.CONTINUE: Meaning.MET,
    }[dependents]


def overrun(budget: Usage, used: Usage) -> tuple[str, ...]:
    """The parts of a budget that are exceeded."""
    pairs = (
        ("tokens", budget.tokens, used.tokens),
        ("cost", budget.cost, used.cost),
        ("wall_s", budget.wall_s, used.wall_s),
        ("tool_calls", budget.tool_calls, used.tool_calls),
        ("file_changes", budget.file_changes, used.file_changes),
    )
    return tuple(name for name, most, so_far in pairs if most and so_far > most)


class Refusal(StrEnum):
    """Why somebody may not report on a task."""

    NOT_YOURS = "task_not_claimed_by_agent"
    STALE = "stale_lease"
    OVER = "already_completed"
    CANCELLED = "task_cancelled"


def refusal(task: Task, *, holder: str, session: str, token: int, had: bool) -> Refusal | None:
    """Why a report is refused; None if it counts.

    Args:
        token: 0 for whoever says none: only the very session that holds the task may do that.
        had: Whether the token was once given to this holder, for this task.
    """
    if task.holder != holder or not task.lease:
        return Refusal.STALE if had else Refusal.NOT_YOURS
    if token not in (0, task.lease) or (not token and task.session != session):
        return Refusal.STALE
    if task.status is TaskStatus.CANCELLED:
        return Refusal.CANCELLED
    if task.status in FINAL:
        return Refusal.OVER
    return None if task.status in LEASED or task.status is TaskStatus.PAUSED else Refusal.STALE
