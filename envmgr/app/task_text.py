"""Tasks, as people read them."""

from __future__ import annotations

from envmgr.app import task_views as views
from envmgr.app import text
from envmgr.app.text import Style, clean

_COLOURS = {
    "ready": "green", "claimed": "blue", "running": "blue", "verifying": "blue", "paused": "amber", "failed": "red",
    "dead": "red", "blocked": "muted", "scheduled": "muted", "done": "", "cancelled": "muted",
}  # fmt: skip
_MARKS = {
    "ready": "○", "claimed": "◐", "running": "●", "verifying": "≈", "paused": "◆", "failed": "✖", "dead": "✖",
    "blocked": "·", "scheduled": "◌", "done": "✓", "cancelled": "-",
}  # fmt: skip


def submitted(result: views.SubmittedView, style: Style) -> str:
    """`envmgr task add`."""
    if result.is_repeat:
        return f"{style.paint(result.task_id, 'bold')} was there already: this idempotency key added it; see `envmgr task show {result.task_id}`\n"
    waits = f", waits for {', '.join(result.blocked_by)}" if result.blocked_by else ""
    return f"{style.paint(result.task_id, 'bold')} {result.status}{waits}\n"


def batch(result: views.BatchView, style: Style) -> str:
    """`envmgr task add --file`."""
    if not result.tasks:
        return "No tasks.\n"
    head = ("ID", "KEY", "STATUS", "WAITS FOR")
    rows = [
        (one.task_id, one.key or "-", one.status, ", ".join(one.blocked_by) or "-") for one in result.tasks
    ]
    shown = text.table(head, rows, style, [_COLOURS.get(one.status, "") for one in result.tasks])
    again = "These were there already, as this idempotency key added them then: nothing was added.\n"
    return again + shown if result.is_repeat else shown


def claimed(result: views.ClaimView, style: Style) -> str:
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


def report(result: views.ReportView, style: Style) -> str:
    """`envmgr task heartbeat`, `complete`, `fail` and `cancel`."""
    said = f"{style.paint(result.task_id, 'bold')} {result.status}"
    if not result.ok:
        return f"{said}: refused ({result.reason}); {result.hint}.\n"
    said += f", next attempt not before {result.retry_at}" if result.retry_at else ""
    said += f"; ready now: {', '.join(result.next_ready)}" if result.next_ready else ""
    said += f"; cancelled with it: {', '.join(result.cancelled)}" if result.cancelled else ""
    return said + "\n"


def retried(result: views.RetryView, style: Style) -> str:
    """`envmgr task retry`."""
    lines = []
    for one in result.dependants:
        what = f"taken up again, {one.status}" if one.is_taken_up else f"still {one.status}"
        because = f" because of {one.cancelled_because_of}" if one.cancelled_because_of else ""
        waits = f", waits for {', '.join(one.waits_for)}" if one.waits_for else ""
        lines.append(f"  {one.task_id} {what}{because}{waits}\n")
    left = any(one.cancelled_because_of == result.task_id for one in result.dependants)
    hint = f"Take them up, too: envmgr task retry {result.task_id} --with-dependents\n" if left else ""
    return report(result, style) + "".join(lines) + hint


def listed(result: views.TaskList, style: Style) -> str:
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


def shown(result: views.TaskView, style: Style) -> str:
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


def why(result: views.WhyTaskView, style: Style) -> str:
    """`envmgr task why`."""
    if result.ready and not result.reasons:
        return f"{result.task_id} is ready: whoever asks next may get it.\n"
    lines = [f"{style.paint(result.task_id, 'bold')} is {result.status}"]
    for one in result.reasons:
        until = f", until {one.until}" if one.until else ""
        lines.append(f"  {one.code:<22} {clean(one.words)}{until}")
    if result.deadline:
        lines.append(f"  {'deadline':<22} {result.deadline}")
    return "\n".join(lines) + "\n"


def graph(result: views.GraphView, style: Style) -> str:
    """`envmgr task graph`."""
    if not result.nodes:
        return "No tasks.\n"
    drawn = _dot(result) if result.form == "dot" else _tree(result, style)
    cut = style.paint("There are more tasks: see --limit.\n", "muted") if result.is_cut else ""
    return drawn + cut


def _dot(result: views.GraphView) -> str:
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


def _tree(result: views.GraphView, style: Style) -> str:
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
