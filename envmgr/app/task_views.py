"""Tasks: the shapes of answers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from envmgr.app.shapes import View


class UsageView(View):
    """Of an attempt, or the most it may use; 0 is no limit."""

    tokens: int = 0
    cost: float = 0.0
    wall_s: float = 0.0
    tool_calls: int = 0
    file_changes: int = 0


class SubmittedView(View):
    """A task that was taken in."""

    ok: bool = True
    success: bool = True
    task_id: str
    key: str = Field(default="", description="As the batch called it")
    status: str
    blocked_by: list[str] = Field(default=[], description="Tasks it waits for")
    is_repeat: bool = Field(
        default=False,
        description="Nothing was added: an earlier request with this idempotency key did; status and blocked_by are of then",
    )


class BatchView(View):
    """Tasks that were taken in together, in the order in which they were given."""

    ok: bool = True
    success: bool = True
    count: int
    tasks: list[SubmittedView]
    is_repeat: bool = Field(
        default=False, description="Nothing was added: an earlier request with this idempotency key did"
    )


class ObstacleView(View):
    """Why somebody does not get a task."""

    code: str = Field(
        description="unfinished_dependency, failed_dependency, cancelled_dependency, scheduled, claimed, over_budget, over, other_type, missing_capability or lock_wait"
    )
    words: str
    on: str = Field(default="", description="The task, holder, capability or lock it is about")
    until: str = Field(default="", description="When it goes away by itself; empty if it does not")


class ClaimView(View):
    """A task to do, or why there is none."""

    ok: bool
    success: bool
    reason: str = Field(default="", description="no_tasks_available, or empty")
    task_id: str = ""
    task_type: str = ""
    description: str = ""
    # Any: JSON of whoever submitted the task.
    input_data: dict[str, Any] = {}
    priority: int = 0
    deadline: str = ""
    lease_token: int = Field(default=0, description="Give it with every report on the task")
    lease_expires_at: str = Field(default="", description="Report by then, or somebody else gets the task")
    lease_s: float = Field(default=0.0, description="Seconds until then")
    attempt: int = 0
    budget: UsageView = UsageView()
    locks: list[str] = Field(default=[], description="Taken for you, and given back when the task ends")
    lock_waits: list[ObstacleView] = Field(default=[], description="Locks that keep other ready tasks")
    context: str = Field(default="", description="Memories and the last handoff that have to do with it")


class ReportView(View):
    """What became of a report."""

    ok: bool
    success: bool
    task_id: str
    status: str
    reason: str = Field(
        default="",
        description="Why nothing was changed: stale_lease, task_not_claimed_by_agent, already_completed, task_cancelled or over_budget",
    )
    hint: str = Field(default="", description="What to do then")
    must_stop: bool = Field(default=False, description="Whoever works on it is to stop")
    over: list[str] = Field(default=[], description="Parts of the budget that are used up")
    lease_expires_at: str = ""
    lease_s: float = 0.0
    is_late: bool = Field(default=False, description="The deadline has passed")
    retry_at: str = Field(default="", description="When the next attempt may begin")
    next_ready: list[str] = Field(default=[], description="Tasks that can begin now, at most 100")
    cancelled: list[str] = Field(default=[], description="Tasks that were cancelled with it, at most 100")


class DependantView(View):
    """A task that waits for one that is tried again, or was cancelled with it."""

    task_id: str
    status: str
    is_taken_up: bool = Field(description="It was cancelled until now")
    waits_for: list[str] = Field(description="Tasks that must be over first")
    cancelled_because_of: str = Field(
        description="Empty when it is not cancelled, or was called off by itself"
    )


class RetryView(ReportView):
    """What became of a retry."""

    dependants: list[DependantView] = Field(
        default=[],
        description="Those that were taken up again with it, and the others that hang on it; at most 100",
    )


class AttemptView(View):
    """One holder's try."""

    number: int
    by: str
    began_at: str
    ended_at: str = ""
    outcome: str = Field(description="running, done, failed, cancelled, expired, abandoned or retried")
    error_code: str = ""
    error_message: str = ""
    usage: UsageView = UsageView()
    # Any: JSON of whoever had it.
    result: dict[str, Any] | None = None


class TaskRow(View):
    """A task in a list."""

    task_id: str
    task_type: str
    status: str
    priority: int
    summary: str = Field(description="First line of the description")
    claimed_by: str = ""
    waits_for: int = Field(default=0, description="How many tasks it still waits for")
    attempts: int = 0
    error: str = ""
    submitted_at: str
    ended_at: str = ""


class TaskList(View):
    """A page of tasks, the newest first."""

    tasks: list[TaskRow]
    counts: dict[str, int] = Field(description="How many there are of each status")
    next: str = Field(default="", description="Cursor of the next page; empty at the end")


class TaskView(View):
    """All that is known of a task."""

    ok: bool = True
    success: bool = True
    task_id: str
    key: str = ""
    task_type: str
    description: str
    # Any: JSON of whoever submitted it, or had it.
    input_data: dict[str, Any] = {}
    status: str
    priority: int
    repo: str
    claimed_by: str = ""
    claimed_at: str = ""
    lease_expires_at: str = ""
    depends_on: list[str] = []
    waits_for: list[str] = Field(default=[], description="Those of `depends_on` that are not over")
    dependants: list[str] = Field(default=[], description="Tasks that depend on it, at most 100")
    parent: str = ""
    discovered_from: str = ""
    related: list[str] = []
    capabilities: list[str] = []
    claims: list[str] = []
    dependents: str
    budget: UsageView
    usage: UsageView = UsageView()
    run_at: str = ""
    retry_at: str = ""
    deadline: str = ""
    attempt_count: int
    failures: int
    max_attempts: int
    result: dict[str, Any] | None = None
    error_code: str = ""
    error_message: str = ""
    cancelled_because_of: str = ""
    submitted_by: str
    created_at: str
    completed_at: str = ""
    history: list[AttemptView] = []


class WhyTaskView(View):
    """Why a task is not being done."""

    task_id: str
    status: str
    ready: bool = Field(description="Somebody could claim it now")
    reasons: list[ObstacleView]
    lacking: list[str] = Field(
        default=[], description="Capabilities that a claimer needs and you did not name"
    )
    deadline: str = Field(default="", description="By when somebody must have begun")


class NodeView(View):
    """A task of the graph."""

    task_id: str
    status: str
    task_type: str
    summary: str


class EdgeView(View):
    """`task_id` depends on `on`, or is tied to it."""

    task_id: str
    on: str
    kind: str = Field(description="blocks, parent, discovered_from or related")
    is_met: bool


class GraphView(View):
    """Tasks and how they are tied together."""

    nodes: list[NodeView]
    edges: list[EdgeView]
    form: str = "tree"
    is_cut: bool = Field(default=False, description="There are more tasks than the limit")
