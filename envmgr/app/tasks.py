"""Operations on tasks: submit, claim, report, and see."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.app import task_text
from envmgr.app import task_views as views
from envmgr.app.caller import caller
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.task_asked import limits, submission
from envmgr.app.task_context import context
from envmgr.app.task_fields import (
    AskBatch,
    AskCancel,
    AskClaim,
    AskComplete,
    AskFail,
    AskHeartbeat,
    AskReport,
    AskRetry,
    AskSubmit,
    AskTask,
    Limits,
)
from envmgr.app.task_present import Clock, claim_view, report_view, retry_view, submitted_view
from envmgr.model.principal import Scope
from envmgr.model.task import CANCELLED_BY_ORCHESTRATOR, Dependents, Usage
from envmgr.services.queue.queue import Answer, Report

_REFUSED = 5


def refusal_status(result: views.ReportView | views.ClaimView) -> int:
    """Of the command: a refusal is no failure of envmgr."""
    return 0 if result.ok else _REFUSED


@operation(
    "task.submit",
    route="POST /api/v1/tasks",
    gives=views.SubmittedView,
    text=task_text.submitted,
    touch=Touch.WRITE,
    command="task add",
    scope=Scope.WORK,
    tool="submit_work",
    is_compact=True,
)
async def submit(ask: AskSubmit, app: App) -> views.SubmittedView:
    """Add a task to the work queue.

    Priority 1 goes first. A task that depends on others waits until they are done. Whoever claims it gets what it `claims`
    locked in the same step. Secrets are masked, for its doer too.
    """
    who = await caller(app, ask.repo)
    wanted = submission(ask, Clock.of(app))
    queue = app.coordinator.queue
    (one,) = await queue.submit(
        [wanted], repo=who.repo, by=who.principal, key=ask.idempotency_key, told=_told(ask)
    )
    return submitted_view(one)


@operation(
    "task.batch",
    route="POST /api/v1/tasks/batch",
    gives=views.BatchView,
    text=task_text.batch,
    touch=Touch.WRITE,
    scope=Scope.WORK,
    tool="submit_batch",
)
async def batch(ask: AskBatch, app: App) -> views.BatchView:
    """Add tasks that may depend on each other: all of them, or none.

    Each may have a `key` by which the others of the batch depend on it. At most 1000 (setting queue.max_batch) in one request.
    Secrets are masked, for their doers too.
    """
    who = await caller(app, ask.repo)
    clock = Clock.of(app)
    wanted = [
        submission(task, clock, key=task.key, place=("tasks", number))
        for number, task in enumerate(ask.tasks)
    ]
    taken = await app.coordinator.queue.submit(
        wanted, repo=who.repo, by=who.principal, key=ask.idempotency_key, told=_told(ask)
    )
    return views.BatchView(
        count=len(taken),
        tasks=[submitted_view(one) for one in taken],
        is_repeat=any(one.is_repeat for one in taken),
    )


@operation(
    "task.claim",
    route="POST /api/v1/tasks/claim",
    gives=views.ClaimView,
    text=task_text.claimed,
    touch=Touch.WRITE,
    command="task claim",
    status=refusal_status,
    scope=Scope.WORK,
    tool="get_work",
    is_compact=True,
)
async def claim(ask: AskClaim, app: App) -> views.ClaimView:
    """Get the next task you can do; it is yours alone until its lease ends.

    Send `heartbeat_task` now and then (each one begins the lease anew), and end with `complete_work` or `fail_work`, with the
    lease_token. Without any of these until lease_expires_at, somebody else gets the task.
    """
    who = await caller(app, ask.repo)
    able = app.coordinator.queue.abilities(who.principal) | set(ask.capabilities)
    found = await app.coordinator.queue.claim(
        repo=who.repo, who=who.principal, types=ask.task_types, capabilities=able
    )
    return claim_view(found, Clock.of(app)).model_copy(update={"context": await context(app, found)})


@operation(
    "task.heartbeat",
    route="POST /api/v1/tasks/{task_id}/heartbeat",
    gives=views.ReportView,
    text=task_text.report,
    touch=Touch.WRITE,
    command="task heartbeat",
    status=refusal_status,
    scope=Scope.WORK,
    tool="heartbeat_task",
    is_compact=True,
)
async def heartbeat(ask: AskHeartbeat, app: App) -> views.ReportView:
    """Tell that you are still at a task: its lease begins anew. Stop when the answer says must_stop."""
    report = await _report(ask, app)
    answer = await app.coordinator.queue.heartbeat(
        report, used=_used(ask), is_verifying=ask.status == "verifying"
    )
    return report_view(answer, Clock.of(app))


@operation(
    "task.complete",
    route="POST /api/v1/tasks/{task_id}/complete",
    gives=views.ReportView,
    text=task_text.report,
    touch=Touch.WRITE,
    command="task complete",
    status=refusal_status,
    scope=Scope.WORK,
    tool="complete_work",
    is_compact=True,
)
async def complete(ask: AskComplete, app: App) -> views.ReportView:
    """Tell that a task is done, or with success=false that nobody can do it; what waited for it becomes ready.

    An attempt that failed and may succeed when it is tried again is told with `fail_work`.
    """
    if not ask.success and ask.error_code == CANCELLED_BY_ORCHESTRATOR and not ask.lease_token:
        reason = ask.error_message or str(ask.result.get("reason", ""))
        return await _cancel(ask, app, reason=reason, dependents=None)
    report = await _report(ask, app)
    queue = app.coordinator.queue
    result = _result(ask.result, ask.files_changed)
    if ask.success:
        answer = await queue.complete(report, result=result, used=_used(ask))
    else:
        answer = await queue.give_up(
            report, error_code=ask.error_code, error_message=ask.error_message, result=result, used=_used(ask)
        )
    return report_view(answer, Clock.of(app))


@operation(
    "task.fail",
    route="POST /api/v1/tasks/{task_id}/fail",
    gives=views.ReportView,
    text=task_text.report,
    touch=Touch.WRITE,
    command="task fail",
    status=refusal_status,
    scope=Scope.WORK,
    tool="fail_work",
    is_compact=True,
)
async def fail(ask: AskFail, app: App) -> views.ReportView:
    """Tell that this attempt failed: the task is tried again after a pause, and is dead after its last attempt."""
    report = await _report(ask, app)
    queue = app.coordinator.queue
    ends = queue.fail if ask.retry else queue.give_up
    answer = await ends(
        report,
        error_code=ask.error_code,
        error_message=ask.error_message,
        result=_result(ask.result, ()),
        used=_used(ask),
    )
    return report_view(answer, Clock.of(app))


@operation(
    "task.cancel",
    route="POST /api/v1/tasks/{task_id}/cancel",
    gives=views.ReportView,
    text=task_text.report,
    touch=Touch.WRITE,
    command="task cancel",
    status=refusal_status,
    scope=Scope.WORK,
    tool="cancel_work",
)
async def cancel(ask: AskCancel, app: App) -> views.ReportView:
    """Call a task off, and with it those that wait for it; whoever works on it is told to stop."""
    return await _cancel(ask, app, reason=ask.reason, dependents=Dependents(ask.dependents))


@operation(
    "task.retry",
    route="POST /api/v1/tasks/{task_id}/retry",
    gives=views.RetryView,
    text=task_text.retried,
    touch=Touch.WRITE,
    command="task retry",
    status=refusal_status,
    scope=Scope.WORK,
    tool="retry_work",
)
async def retry(ask: AskRetry, app: App) -> views.RetryView:
    """Put a task back into the queue that failed, died, was cancelled, is paused, or rests before its next attempt."""
    who = await caller(app, ask.repo, task=ask.task_id)
    answer = await app.coordinator.queue.retry(
        who.repo, ask.task_id, by=who.principal, with_dependents=ask.with_dependents
    )
    return retry_view(answer, Clock.of(app))


async def _cancel(ask: AskTask, app: App, *, reason: str, dependents: Dependents | None) -> views.ReportView:
    who = await caller(app, ask.repo, task=ask.task_id)
    answer: Answer = await app.coordinator.queue.cancel(
        who.repo, ask.task_id, by=who.principal, reason=reason, dependents=dependents
    )
    return report_view(answer, Clock.of(app))


async def _report(ask: AskReport, app: App) -> Report:
    who = await caller(app, ask.repo, task=ask.task_id)
    return Report(repo=who.repo, task=ask.task_id, who=who.principal, token=ask.lease_token)


def _told(ask: AskSubmit | AskBatch) -> str:
    return ask.model_dump_json(exclude={"repo"}) if ask.idempotency_key else ""


def _used(ask: AskReport) -> Usage | None:
    return limits(ask.usage) if ask.usage != Limits() else None


def _result(result: Mapping[str, object], files: object) -> Mapping[str, object] | None:
    told = {**result, "files_changed": files} if files else dict(result)
    return told or None
