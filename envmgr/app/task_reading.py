"""Operations that show tasks."""

from __future__ import annotations

from typing import Any

from envmgr.app import task_text
from envmgr.app import task_views as views
from envmgr.app.caller import caller
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.task_fields import AskGraph, AskTask, AskTasks, AskWhy
from envmgr.app.task_present import Clock, doer, obstacle_view, usage_view
from envmgr.model.principal import Scope
from envmgr.model.task import Attempt, LinkKind, Task, TaskSpec, TaskStatus, Usage, task_name, task_number
from envmgr.services.queue.looking import Seen

_TOLD = 100
_SUMMARY = 120


@operation(
    "task.get",
    route="GET /api/v1/tasks/{task_id}",
    gives=views.TaskView,
    text=task_text.shown,
    command="task show",
    scope=Scope.WORK,
    tool="get_task",
    is_compact=True,
)
async def get(ask: AskTask, app: App) -> views.TaskView:
    """Show a task: what is to be done, who has it, what it waits for, every attempt and what came of it."""
    who = await caller(app, ask.repo, task=ask.task_id)
    return _task(await app.coordinator.queue.see(who.repo, ask.task_id), Clock.of(app))


@operation(
    "task.list",
    route="GET /api/v1/tasks",
    gives=views.TaskList,
    text=task_text.listed,
    command="task ls",
    scope=Scope.WORK,
    tool="list_tasks",
    is_compact=True,
)
async def list_(ask: AskTasks, app: App) -> views.TaskList:
    """List tasks, the newest first, a page at a time."""
    who = await caller(app, ask.repo)
    page = await app.coordinator.queue.page(
        who.repo,
        statuses=[TaskStatus(word) for word in ask.status],
        is_open=ask.open,
        kind=ask.task_type,
        holder=who.principal.id if ask.mine else "",
        after=task_number(ask.cursor),
        limit=ask.limit,
    )
    clock = Clock.of(app)
    return views.TaskList(
        tasks=[_row(task, spec, clock) for task, spec in page.tasks],
        counts={status.value: page.counts[status] for status in TaskStatus if page.counts.get(status)},
        next=task_name(page.next) if page.next else "",
    )


@operation(
    "task.why",
    route="GET /api/v1/tasks/{task_id}/why",
    gives=views.WhyTaskView,
    text=task_text.why,
    command="task why",
    scope=Scope.WORK,
    tool="why_task",
    is_compact=True,
)
async def why(ask: AskWhy, app: App) -> views.WhyTaskView:
    """Tell why a task is not being done: what it waits for, who has it, which lock is in the way."""
    who = await caller(app, ask.repo, task=ask.task_id)
    queue = app.coordinator.queue
    able = queue.abilities(who.principal) | set(ask.capabilities)
    found = await queue.why(who.repo, ask.task_id, capabilities=able)
    clock = Clock.of(app)
    is_ready = found.task.status is TaskStatus.READY and not found.in_the_way
    reasons = [*found.in_the_way, *(found.unfit if is_ready else ())]
    return views.WhyTaskView(
        task_id=found.task.name,
        status=found.task.status.value,
        ready=is_ready,
        reasons=[obstacle_view(one, clock) for one in reasons],
        lacking=[one.on for one in found.unfit],
        deadline=clock.date(found.task.deadline_at),
    )


@operation(
    "task.graph",
    route="GET /api/v1/graph/tasks",
    gives=views.GraphView,
    text=task_text.graph,
    command="task graph",
    scope=Scope.WORK,
    tool="task_graph",
)
async def graph(ask: AskGraph, app: App) -> views.GraphView:
    """Show how tasks depend on each other, as a tree, as DOT for Graphviz, or with --json as nodes and edges."""
    who = await caller(app, ask.repo, task=ask.task_id)
    found = await app.coordinator.queue.graph(who.repo, ask.task_id, limit=ask.limit)
    return views.GraphView(
        nodes=[
            views.NodeView(
                task_id=task.name, status=task.status.value, task_type=task.type, summary=_summary(spec)
            )
            for task, spec in found.tasks
        ],
        edges=[
            views.EdgeView(
                task_id=task_name(link.child),
                on=task_name(link.parent),
                kind=link.kind.value,
                is_met=link.is_met,
            )
            for link in found.links
        ],
        form=ask.form,
        is_cut=found.is_cut,
    )


def _row(task: Task, spec: TaskSpec, clock: Clock) -> views.TaskRow:
    return views.TaskRow(
        task_id=task.name,
        task_type=task.type,
        status=task.status.value,
        priority=task.priority,
        summary=_summary(spec),
        claimed_by=doer(task),
        waits_for=task.unmet,
        attempts=task.attempts,
        error=task.error_code,
        submitted_at=clock.date(task.submitted_at),
        ended_at=clock.date(task.ended_at),
    )


def _summary(spec: TaskSpec) -> str:
    first = spec.description.strip().partition("\n")[0]
    return first if len(first) <= _SUMMARY else first[: _SUMMARY - 1] + "…"


def _task(seen: Seen, clock: Clock) -> views.TaskView:
    task, spec = seen.task, seen.spec
    tied: dict[LinkKind, list[str]] = {kind: [] for kind in LinkKind}
    for parent, link in seen.parents:
        tied[link.kind].append(parent.name)
    last = seen.attempts[-1] if seen.attempts else None
    return views.TaskView(
        task_id=task.name,
        key=spec.key,
        task_type=task.type,
        description=spec.description,
        input_data=dict(spec.input_data),
        status=task.status.value,
        priority=task.priority,
        repo=task.repo,
        claimed_by=doer(task),
        claimed_at=clock.date(task.claimed_at) if doer(task) else "",
        lease_expires_at=clock.date(task.lease_until),
        depends_on=tied[LinkKind.BLOCKS],
        waits_for=[p.name for p, link in seen.parents if link.kind is LinkKind.BLOCKS and not link.is_met],
        dependants=[child.name for child in seen.children[:_TOLD]],
        parent="".join(tied[LinkKind.PARENT]),
        discovered_from="".join(tied[LinkKind.DISCOVERED_FROM]),
        related=tied[LinkKind.RELATED],
        capabilities=list(spec.capabilities),
        claims=list(spec.locks),
        dependents=task.dependents.value,
        budget=usage_view(spec.budget),
        usage=usage_view(last.usage if last else Usage()),
        run_at=clock.date(task.run_at),
        retry_at=clock.date(task.due_at),
        deadline=clock.date(task.deadline_at),
        attempt_count=task.attempts,
        failures=task.failures,
        max_attempts=task.max_attempts,
        result=_json(last),
        error_code=task.error_code,
        error_message=task.error_message,
        cancelled_because_of=task_name(task.cause) if task.cause else "",
        submitted_by=task.submitted_by,
        created_at=clock.date(task.submitted_at),
        completed_at=clock.date(task.ended_at),
        history=[_attempt(one, clock) for one in seen.attempts],
    )


def _attempt(one: Attempt, clock: Clock) -> views.AttemptView:
    return views.AttemptView(
        number=one.number,
        by=one.holder_name,
        began_at=clock.date(one.began_at),
        ended_at=clock.date(one.ended_at),
        outcome=one.outcome,
        error_code=one.error_code,
        error_message=one.error_message,
        usage=usage_view(one.usage),
        result=_json(one),
    )


def _json(one: Attempt | None) -> dict[str, Any] | None:  # Any: JSON of whoever had the task
    return dict(one.result) if one and one.result is not None else None
