"""How people read results: plain tables and sentences, coloured when the terminal wants it.

Text that comes from agents is stripped of control characters and never interpreted as markup.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from envmgr.app import views

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = {"amber": "33", "red": "31", "blue": "34", "green": "32", "muted": "2", "bold": "1"}

# ui.md 2: glyph, word and colour; the meaning never rests on colour or glyph alone
_LIFECYCLE = {
    "spawning": ("◌", "SPAWNING", "blue"),
    "stopping": ("◍", "STOPPING", "blue"),
    "stopped": ("○", "STOPPED", "muted"),
    "error": ("✖", "ERROR", "red"),
    "running": ("●", "RUNNING", "green"),
}
_ACTIVITY = {
    "ready": ("·", "READY", "muted"),
    "working": ("▶", "WORKING", "green"),
    "awaiting_input": ("◆", "NEEDS YOU", "amber"),
    "validating": ("≈", "VALIDATING", "green"),
}
_NOTE = 80
_SERVICE = {"ready": "●", "done": "✓", "starting": "◌", "waiting": "◌"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The reader's terminal. `now` is injectable for tests."""

    width: int = 100
    colour: bool = False
    unicode: bool = True
    now: Callable[[], float] = field(default=time.time)

    @classmethod
    def of(cls, words: str) -> Style:
        """From `WIDTH;colour;ascii`, as command lines tell it: only what is so is there."""
        width, *rest = words.split(";")
        return cls(
            width=int(width) if width.isdigit() else 100, colour="colour" in rest, unicode="ascii" not in rest
        )

    def paint(self, text: str, colour: str) -> str:
        """Colour the text if the terminal wants colours."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colour and text else text

    def age(self, since: float) -> str:
        """`12s`, `4m`, `1h02`, `3d`."""
        seconds = max(0, int(self.now() - since))
        if seconds < 60:
            return f"{seconds}s"
        if seconds < 3600:
            return f"{seconds // 60}m"
        if seconds < 86400:
            return f"{seconds // 3600}h{seconds % 3600 // 60:02d}"
        return f"{seconds // 86400}d"


def clean(text: str) -> str:
    """Without control characters; tabs and newlines stay."""
    return _CONTROL.sub("", text)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], style: Style, colours: Sequence[str] = ()
) -> str:
    """Columns as wide as their content; the last one is cut at the terminal's edge."""
    body = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(head), *body]) for i in range(len(head))]
    lines = [style.paint(_line(head, widths, style.width), "bold")]
    for number, row in enumerate(body):
        line = _line(row, widths, style.width)
        lines.append(style.paint(line, colours[number]) if colours and colours[number] else line)
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], limit: int) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def lifecycle(agent: views.AgentView) -> tuple[str, str]:
    """(glyph and word, colour)."""
    if any(condition.type == "Restoring" for condition in agent.conditions):
        glyph, _, colour = _LIFECYCLE["spawning"]
        return f"{glyph} restoring", colour
    glyph, word, colour = _LIFECYCLE[agent.lifecycle]
    return f"{glyph} {word}", colour


def activity(agent: views.AgentView) -> tuple[str, str]:
    """(glyph and word, colour); a guess ends with `?`."""
    if agent.activity is None:
        return "-", ""
    glyph, word, colour = _ACTIVITY[agent.activity]
    return f"{glyph} {word}{'?' if agent.activity_source == 'screen' else ''}", colour


def agents(result: views.AgentList, style: Style) -> str:
    """The table of `envmgr ls`; who needs a person comes first."""
    if not result.agents:
        return "No agents. Spawn one: envmgr spawn --template web\n"
    order = sorted(result.agents, key=lambda a: (a.activity != "awaiting_input", a.lifecycle != "error"))
    repos = _repos(agent.repo for agent in result.agents)
    rows, colours = [], []
    for agent in order:
        state, colour = lifecycle(agent)
        doing, doing_colour = activity(agent)
        since = agent.activity_since if agent.activity else agent.since
        rows.append(
            [
                agent.name,
                state,
                doing,
                style.age(since),
                services(agent),
                ports(agent),
                *([repos[agent.repo]] if len(repos) > 1 else []),
                agent.branch,
                _short(note(agent)),
            ]
        )
        colours.append(doing_colour if agent.lifecycle == "running" and doing_colour == "amber" else
                       colour if agent.lifecycle != "running" else "")  # fmt: skip
    head = ["NAME", "STATE", "ACTIVITY", "FOR", "SERVICES", "PORTS", "BRANCH", "NOTE"]
    if len(repos) > 1:
        head.insert(-2, "REPO")
    return table(head, rows, style, colours)


def _repos(paths: Iterable[str]) -> dict[str, str]:
    """What a repository is called beside others: its folder's name, with the one above when two have the same."""
    names = {path: path.rsplit("/", 1)[-1] for path in paths}
    same = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {path: "/".join(path.split("/")[-2:]) if name in same else name for path, name in names.items()}


def _short(words: str) -> str:
    """`show` and `why` tell the rest."""
    return words if len(words) <= _NOTE else words[: _NOTE - 1].rstrip() + "…"


def services(agent: views.AgentView) -> str:
    """`2/2`, or the ones that are not up."""
    if not agent.services:
        return "-"
    up = [s for s in agent.services if s.state in ("ready", "done")]
    return f"{len(up)}/{len(agent.services)}"


def ports(agent: views.AgentView) -> str:
    """Port numbers of the agent's services."""
    numbers = [str(port) for service in agent.services for port in service.ports.values()]
    return ",".join(numbers) or "-"


def note(agent: views.AgentView) -> str:
    """The one thing worth saying."""
    if agent.conditions:
        # Drift can wait; what is down cannot.
        first = min(agent.conditions, key=lambda condition: condition.type == "Drifted")
        subject = f" {first.subject}" if first.subject else ""
        return f"{first.type}{subject}: {first.reason}"
    if agent.lifecycle in ("error", "stopping"):
        return agent.reason
    return f"at {', '.join(agent.tasks)}" if agent.tasks else ""


def agent_details(agent: views.AgentView, style: Style) -> str:
    """`envmgr show`."""
    state, colour = lifecycle(agent)
    lines = [
        f"{style.paint(agent.name, 'bold')}  {style.paint(state, colour)}  {activity(agent)[0]}",
        f"  because    {clean(agent.reason)} ({style.age(agent.since)} ago)",
        f"  template   {agent.template}, assistant {agent.assistant}, generation {agent.generation}, id {agent.id}",
        f"  worktree   {agent.worktree}",
        f"  branch     {agent.branch}",
        f"  repository {agent.repo}",
        *([f"  forked     from {agent.origin}"] if agent.origin else []),
        *([f"  at work on {', '.join(agent.tasks)}"] if agent.tasks else []),
    ]
    for condition in agent.conditions:
        subject = f" {condition.subject}" if condition.subject else ""
        lines.append(style.paint(f"  ! {condition.type}{subject}: {clean(condition.reason)}", "amber"))
    for service in agent.services:
        lines.append(_service_line(service))
        lines += [f"      {_limits_line(service.limits)}"] if service.limits else []
        lines += [f"  {_service_line(instance)}" for instance in service.instances]
    lines += _begun_lines(agent)
    return "\n".join(lines) + "\n"


def _limits_line(limits: Sequence[views.LimitView]) -> str:
    """`limits: memory 512 MB, pids 50 (guard); nofile 64 (rlimits)`."""
    tiers = dict.fromkeys(limit.tier for limit in limits)
    parts = (
        f"{', '.join(f'{one.name} {one.value}' for one in limits if one.tier == tier)} ({tier})"
        for tier in tiers
    )
    return f"limits: {'; '.join(parts)}"


def _begun_lines(agent: views.AgentView) -> list[str]:
    if agent.begun_unknown:
        return [f"  started by the agent: unknown, {clean(agent.begun_unknown)}"]
    rows = [
        clean(f"    {one.kind:<9} {one.name} {one.state}{f' of {one.image}' if one.image else ''}").rstrip()
        + (" (kept: envmgr.keep)" if one.kept else "")
        for one in agent.begun
    ]
    return ["  started by the agent:", *rows] if rows else []


def _service_line(service: views.ServiceView) -> str:
    glyph = _SERVICE.get(service.state, "○")
    where = ", ".join(service.urls) or ", ".join(f"{k}={v}" for k, v in service.ports.items())
    detail = f" ({clean(service.detail)})" if service.detail else ""
    shared = f"  shared by {', '.join(service.shared_by)}" if service.shared_by else ""
    inside = service.container
    box = f"  container {inside.id} of {inside.image}" if inside is not None and inside.id else ""
    return f"  {glyph} {service.name:<10} {service.state}{detail}  {where}{shared}{box}".rstrip()


def agent_line(agent: views.AgentView, style: Style) -> str:
    """One sentence after a change."""
    state, colour = lifecycle(agent)
    return f"{agent.name} is {style.paint(state, colour)}: {clean(agent.reason)}\n"


def snapshots(items: Sequence[views.SnapshotView], style: Style) -> str:
    """`envmgr snapshots` and `envmgr undo --list`."""
    head = ["NUMBER", "NAME", "AGENT", "WHY", "AGE", "VOLUMES", "SIZE", "BRANCH", "UNDO"]
    rows = [
        [str(s.id), s.label or "-", s.name, f"before {s.reason}" if s.reason else s.kind, style.age(s.at),
         ", ".join(v.name for v in s.volumes) or "-", size(s.bytes) if s.volumes else "-", s.branch, s.undo or "-"]
        for s in items
    ]  # fmt: skip
    return table(head, rows, style) if rows else "No snapshots.\n"


def size(count: int) -> str:
    """`812 B`, `4.1 MB`, `2.0 GB`."""
    number, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} B" if units[0] == "B" else f"{number:.1f} {units[0]}"


def why(result: views.WhyView, style: Style) -> str:
    """`envmgr why`."""
    text = agent_details(result.agent, style)
    if result.evidence:
        source = f"{result.evidence.source}: {clean(result.evidence.detail)}"
        text += f"  evidence   {source}, {result.evidence.age_s:.0f} s old\n"
    if result.steps:
        text += "  steps      " + ", ".join(f"{s.step} {s.state}" for s in result.steps) + "\n"
        text += "".join(f"             {s.step}: {clean(s.error)}\n" for s in result.steps if s.error)
    for event in result.decisions:
        text += f"  {style.age(event.at):>5} ago  {event_words(event)}\n"
    return text + f"  next       {result.next}\n"


def event_words(event: views.EventView) -> str:
    """Kind and the details worth reading."""
    data = ", ".join(f"{k}={v}" for k, v in event.data.items() if v not in ("", None))
    return clean(f"{event.kind} {data}").replace("\n", " ").rstrip()


def event(item: views.EventView, style: Style) -> str:
    """One line of `envmgr events`."""
    clock = time.strftime("%H:%M:%S", time.localtime(item.at))
    return f"{item.seq:>6} {clock} {item.name or item.agent or '-':<16} {event_words(item)}\n"


def spawn_item(item: views.SpawnItem, style: Style) -> str:
    """One line of a spawn's progress, for pipes and small terminals."""
    if item.kind == "plan" and item.plan:
        return plan(item.plan, style)
    if item.kind == "done" and item.agent:
        return agent_details(item.agent, style)
    if item.kind in ("step", "service"):
        detail = f": {clean(item.detail)}" if item.detail else ""
        return f"{item.name}: {item.step} {item.state}{detail}\n"
    return ""


def plan(item: views.PlanView, style: Style) -> str:
    """`envmgr spawn --dry-run`."""
    lines = [
        f"would spawn {item.name} from template {item.template} ({item.source})",
        f"  worktree {item.worktree}",
        f"  branch   {item.branch} from {item.base}",
        *(f"  step     {step}" for step in item.steps),
        *(f"  service  {service}" for service in item.services),
        *(f"  image    {image}" for image in item.images),
        *(f"  volume   {volume}" for volume in item.volumes),
        *(f"  port     {name}: {which}" for name, which in item.ports.items()),
        f"  runs     {item.command}",
    ]
    return clean("\n".join(lines)) + "\n"


def checks(result: views.DoctorView, style: Style) -> str:
    """`envmgr doctor`."""
    lines = []
    for check in result.checks:
        mark = style.paint("ok ", "green") if check.ok else style.paint("FIX", "red")
        lines.append(f"{mark} {check.check:<14} {clean(check.found)}")
        if not check.ok and check.fix:
            lines.append(f"    {'':<14} -> {check.fix}")
    return "\n".join(lines) + "\n"
