"""Tasks: the shapes of answers, and how people read them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from envmgr.app import text
from envmgr.app.shapes import View
from envmgr.app.text import Style, clean

_COLOURS = {
    "ready": "green", "claimed": "blue", "running": "blue", "verifying": "blue", "paused": "amber", "failed": "red",
    "dead": "red", "blocked": "muted", "scheduled": "muted", "done": "", "cancelled": "muted",
}  # fmt: skip
_MARKS = {
    "ready": "○", "claimed": "◐", "running": "●", "verifying": "≈", "paused": "◆", "failed": "✖", "dead": "✖",
    "blocked": "·", "scheduled": "◌", "done": "✓", "cancelled": "-",
}  # fmt: skip
_REFUSED = {
    "stale_lease": "the lease has ended and the task may be somebody else's; write a handoff with what you have",
    "task_not_claimed_by_agent": "you do not have this task; claim one with `task claim`",
    "already_completed": "it is over already",
    "task_cancelled": "it was called off: stop, and leave your work on its branch",
    "over_budget": "the budget is used up: stop; a person decides how it goes on",
}


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


class BatchView(View):
    """Tasks that were taken in together, in the order in which they were given."""

    ok: bool = True
    success: bool = True
    count: int
    tasks: list[SubmittedView]


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


def refused(reason: str) -> str:
    """What to do about a report that changed nothing."""
    return _REFUSED.get(reason, "")


def submitted(result: SubmittedView, style: Style) -> str:
    """`envmgr task add`."""
    waits = f", waits for {', '.join(result.blocked_by)}" if result.blocked_by else ""
    return f"{style.paint(result.task_id, 'bold')} {result.status}{waits}\n"


def batch(result: BatchView, style: Style) -> str:
    """`envmgr task add --file`."""
    if not result.tasks:
        return "No tasks.\n"
    head = ("ID", "KEY", "STATUS", "WAITS FOR")
    rows = [
        (one.task_id, one.key or "-", one.status, ", ".join(one.blocked_by) or "-") for one in result.tasks
    ]
    return text.table(head, rows, style, [_COLOURS.get(one.status, "") for one in result.tasks])


def claimed(result: ClaimView, style: Style) -> str:
    """`envmgr task claim`."""
    if not result.ok:
        waits = "".join(f"  {clean(one.words)}\n" for one in result.lock_waits)
        return "No task for you.\n" + waits
    lines = [
        f"{style.paint(result.task_id, 'bold')} {result.task_type}, priority {result.priority}, attempt {result.attempt}",
        *(f"  {line}" for line in clean(result.description).splitlines()),
        f"  token      {result.lease_token}",
        f"  report by  {result.lease_expires_at}",
        *([f"  locked     {clean(', '.join(result.locks))}"] if result.locks else []),
    ]
    return "\n".join(lines) + "\n"


def report(result: ReportView, style: Style) -> str:
    """`envmgr task heartbeat`, `complete`, `fail`, `cancel` and `retry`."""
    said = f"{style.paint(result.task_id, 'bold')} {result.status}"
    if not result.ok:
        return f"{said}: refused ({result.reason}); {result.hint}.\n"
    said += f", next attempt not before {result.retry_at}" if result.retry_at else ""
    said += f"; ready now: {', '.join(result.next_ready)}" if result.next_ready else ""
    said += f"; cancelled with it: {', '.join(result.cancelled)}" if result.cancelled else ""
    return said + "\n"


def listed(result: TaskList, style: Style) -> str:
    """`envmgr task ls`."""
    if not result.tasks:
        return "No tasks. Add one: envmgr task add 'Fix the login test'\n"
    head = ("ID", "STATUS", "P", "TYPE", "BY", "WHAT")
    rows = [
        (
            one.task_id, f"{_MARKS[one.status] + ' ' if style.unicode else ''}{one.status}", str(one.priority),
            one.task_type, one.claimed_by or "-", one.summary,
        )
        for one in result.tasks
    ]  # fmt: skip
    said = text.table(head, rows, style, [_COLOURS[one.status] for one in result.tasks])
    counted = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    more = f"  (more: --cursor {result.next})" if result.next else ""
    return said + style.paint(f"{counted}{more}", "muted") + "\n"


def shown(result: TaskView, style: Style) -> str:
    """`envmgr task show`."""
    said = style.paint(f"{result.task_id} {clean(result.description.splitlines()[0])}", "bold")
    facts = {
        "status": result.status + (f" by {result.claimed_by}" if result.claimed_by else ""),
        "type": f"{result.task_type}, priority {result.priority}",
        "waits for": ", ".join(result.waits_for),
        "dependants": ", ".join(result.dependants),
        "part of": result.parent,
        "found in": result.discovered_from,
        "locks": ", ".join(result.claims),
        "needs": ", ".join(result.capabilities),
        "lease until": result.lease_expires_at,
        "not before": result.retry_at or result.run_at,
        "deadline": result.deadline,
        "error": f"{result.error_code} {result.error_message}".strip(),
        "cancelled": f"because of {result.cancelled_because_of}" if result.cancelled_because_of else "",
        "submitted": f"{result.created_at} by {result.submitted_by}",
    }
    lines = [said, *(f"  {name:<11} {clean(value)}" for name, value in facts.items() if value)]
    lines += [
        f"  attempt {one.number:<3} {clean(one.by)}: {one.outcome} {clean(one.error_message)}".rstrip()
        for one in result.history
    ]
    rest = clean(result.description).splitlines()[1:]
    return "\n".join([*lines, *([""] if rest else []), *rest]) + "\n"


def why(result: WhyTaskView, style: Style) -> str:
    """`envmgr task why`."""
    if result.ready and not result.reasons:
        return f"{result.task_id} is ready: whoever asks next may get it.\n"
    lines = [f"{style.paint(result.task_id, 'bold')} is {result.status}"]
    for one in result.reasons:
        until = f", until {one.until}" if one.until else ""
        lines.append(f"  {one.code:<22} {clean(one.words)}{until}")
    return "\n".join(lines) + "\n"


def graph(result: GraphView, style: Style) -> str:
    """`envmgr task graph`."""
    if not result.nodes:
        return "No tasks.\n"
    drawn = _dot(result) if result.form == "dot" else _tree(result, style)
    cut = style.paint("There are more tasks: see --limit.\n", "muted") if result.is_cut else ""
    return drawn + cut


def _dot(result: GraphView) -> str:
    def quoted(words: str) -> str:
        return '"' + clean(words).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'

    lines = ["digraph tasks {", "  rankdir=LR;"]
    lines += [
        f"  {quoted(n.task_id)} [label={quoted(f'{n.task_id} {n.status}: {n.summary}')}];"
        for n in result.nodes
    ]
    styles = {"blocks": "solid", "parent": "bold", "discovered_from": "dashed", "related": "dotted"}
    lines += [f"  {quoted(e.on)} -> {quoted(e.task_id)} [style={styles[e.kind]}];" for e in result.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _tree(result: GraphView, style: Style) -> str:
    """Who must be done first stands above; a task that waits for several is drawn below each, its own part once."""
    nodes = {node.task_id: node for node in result.nodes}
    after: dict[str, list[str]] = {name: [] for name in nodes}
    waits: set[str] = set()
    for edge in result.edges:
        if edge.kind == "blocks":
            after[edge.on].append(edge.task_id)
            waits.add(edge.task_id)
    lines: list[str] = []
    drawn: set[str] = set()
    left = [(name, 0) for name in reversed(nodes) if name not in waits]
    while left:
        name, depth = left.pop()
        node = nodes[name]
        mark = f"{_MARKS[node.status]} " if style.unicode else ""
        again = name in drawn and after[name]
        line = f"{'  ' * min(depth, 20)}{mark}{name} {node.status}  {clean(node.summary)}{' (see above)' if again else ''}"
        lines.append(style.paint(line, _COLOURS[node.status]) if _COLOURS[node.status] else line)
        if name not in drawn:
            drawn.add(name)
            left += [(child, depth + 1) for child in reversed(after[name])]
    return "\n".join(lines) + "\n"
