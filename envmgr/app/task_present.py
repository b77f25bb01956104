"""Tasks as answers: steady moments become dates, numbers become names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from envmgr.app import task_views as views
from envmgr.app.context import App
from envmgr.app.moments import moment
from envmgr.core.queueing import Obstacle
from envmgr.model.task import LEASED, Task, TaskStatus, Usage
from envmgr.services.queue.claiming import Claimed, Nothing
from envmgr.services.queue.queue import Answer
from envmgr.services.queue.submitting import Submitted

_TOLD = 100
_WAITING = frozenset({TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.READY})
_HINTS = {
    "stale_lease": "the lease has ended and the task may be somebody else's; write a handoff with what you have",
    "task_not_claimed_by_agent": "you do not have this task; claim one with `task claim`",
    "already_completed": "it is over already",
    "task_cancelled": "it was called off: stop, and leave your work on its branch",
    "over_budget": "the budget is used up: stop; a person decides how it goes on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Both clocks at one moment; `now` is the wall's."""

    now: float
    steady: float

    @classmethod
    def of(cls, app: App) -> Clock:
        """As it is now."""
        ground = app.coordinator.ground
        return cls(now=ground.now(), steady=ground.steady())

    def date(self, steady: float | None) -> str:
        """RFC 3339 of a steady moment; empty for none."""
        return "" if steady is None else moment(self.now + steady - self.steady)

    def steady_of(self, wall: float) -> float:
        """The steady moment of a date."""
        return self.steady + wall - self.now


def doer(task: Task) -> str:
    """Who has it, or had it when it ended; empty while nobody has: attempts name who had it before."""
    return "" if task.status in _WAITING else task.holder_name


async def tasks_of(app: App) -> Callable[[str], dict[str, list[str]]]:
    """Tells the field of an agent's view that has the tasks it is at, by the agent's id."""
    leased = await app.coordination.ground.read(lambda tx: tx.tasks.leased()) if app.coordination else ()
    return lambda agent: {"tasks": [task.name for task in leased if task.holder == agent]}


def submitted_view(one: Submitted) -> views.SubmittedView:
    """Of a submission."""
    return views.SubmittedView(
        task_id=one.task_id,
        key=one.key,
        status=one.status.value,
        blocked_by=list(one.blocked_by),
        is_repeat=one.is_repeat,
    )


def usage_view(usage: Usage) -> views.UsageView:
    """Of a budget, or of what was used."""
    return views.UsageView(**asdict(usage))


def obstacle_view(one: Obstacle, clock: Clock) -> views.ObstacleView:
    """Of a reason."""
    return views.ObstacleView(code=one.kind.value, words=one.words, on=one.on, until=clock.date(one.until))


def claim_view(found: Claimed | Nothing, clock: Clock) -> views.ClaimView:
    """Of a claim."""
    if isinstance(found, Nothing):
        waits = [obstacle_view(one, clock) for one in found.lock_waits[:_TOLD]]
        return views.ClaimView(ok=False, success=False, reason="no_tasks_available", lock_waits=waits)
    task, spec = found.task, found.spec
    return views.ClaimView(
        ok=True,
        success=True,
        task_id=task.name,
        task_type=task.type,
        description=spec.description,
        input_data=dict(spec.input_data),
        priority=task.priority,
        deadline=clock.date(task.deadline_at),
        lease_token=task.lease,
        lease_expires_at=clock.date(task.lease_until),
        lease_s=_left_s(task, clock),
        attempt=task.attempts,
        budget=usage_view(spec.budget),
        locks=list(spec.locks),
    )


def report_view(answer: Answer, clock: Clock) -> views.ReportView:
    """Of a report, and of what a person or an orchestrator did to a task."""
    task = answer.task
    reason = (
        answer.refusal.value if answer.refusal else "over_budget" if answer.over or _is_held(task) else ""
    )
    is_leased = task.status in LEASED and not answer.refusal
    return views.ReportView(
        ok=not reason,
        success=not reason,
        task_id=task.name,
        status=task.status.value,
        reason=reason,
        hint=_HINTS.get(reason, ""),
        must_stop=bool(reason),
        over=list(answer.over),
        lease_expires_at=clock.date(task.lease_until) if is_leased else "",
        lease_s=_left_s(task, clock) if is_leased else 0.0,
        is_late=task.deadline_at is not None and task.deadline_at < clock.steady,
        retry_at=clock.date(task.due_at),
        next_ready=_names(answer.ready),
        cancelled=_names(answer.cancelled),
    )


def retry_view(answer: Answer, clock: Clock) -> views.RetryView:
    """Of a retry."""
    dependants = [
        views.DependantView(
            task_id=one.task.name,
            status=one.task.status.value,
            is_taken_up=one.is_taken_up,
            waits_for=list(one.waits_for),
            cancelled_because_of=one.because_of,
        )
        for one in answer.dependants
    ]
    return views.RetryView(**dict(report_view(answer, clock)), dependants=dependants)


def _is_held(task: Task) -> bool:
    return task.status is TaskStatus.PAUSED


def _left_s(task: Task, clock: Clock) -> float:
    return round(max(0.0, (task.lease_until or clock.steady) - clock.steady), 3)


def _names(tasks: Sequence[Task]) -> list[str]:
    return [task.name for task in tasks[:_TOLD]]
