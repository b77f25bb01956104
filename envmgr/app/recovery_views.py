"""Incidents and recoveries: their shapes, and how people read them."""

from __future__ import annotations

from pydantic import Field

from envmgr.app import text
from envmgr.app.shapes import View
from envmgr.app.text import Style, clean

_RUNGS = {
    "wait": "wait",
    "service": "restart the service",
    "session": "make the session anew, with the same conversation",
    "realloc": "give it other resources",
    "respawn": "respawn on the same worktree",
    "person": "ask a person",
}
_OUTCOMES = {"running": "under way", "held": "it held", "failed": "it did not help", "given_up": "given up"}


class SignView(View):
    """Something that was seen."""

    source: str
    text: str


class ClimbView(View):
    """A measure that was taken."""

    rung: str = Field(description="wait, service, session, realloc, respawn or person")
    outcome: str = Field(description="running, held, failed or given_up")
    at: float = Field(description="Unix time")
    ended_at: float | None = None
    because: str = Field(description="Why this one, and why none below it")
    result: str = ""


class IncidentView(View):
    """A failure, what it was taken for, and all that was done about it."""

    id: int
    agent: str = Field(description="Id; incidents outlive agents")
    name: str
    generation: int
    template: str
    part: str = Field(description="service, assistant, session, workspace, engine or host")
    service: str = ""
    words: str
    failure: str = Field(description="Class of the failure")
    confidence: float
    fingerprint: str = Field(description="Equal for failures that look the same")
    advice: str = ""
    evidence: list[SignView] = []
    climbs: list[ClimbView] = []
    symptoms: int = Field(description="How often it was seen")
    opened_at: float = Field(description="Unix time")
    seen_at: float
    closed_at: float | None = Field(default=None, description="None while it is open")
    bundle: str = Field(default="", description="File with the context: logs, probes, processes, ports, git")


class RungStatsView(View):
    """How often a measure was taken, and how often it helped."""

    rung: str
    taken: int
    held: int


class TemplateStatsView(View):
    """What incidents say of a template."""

    template: str
    incidents: int
    mended: int
    mttr_s: float | None = Field(description="Mean time to recovery; None when nothing was mended yet")
    rungs: list[RungStatsView]
    problems: list[str] = Field(description="What several of its agents have in common")


class IncidentList(View):
    """Incidents, newest first."""

    incidents: list[IncidentView] = []
    stats: list[TemplateStatsView] = []
    details: bool = Field(default=False, description="One was asked for by its number")
    safe_mode: str = Field(default="", description="Why nothing is done by itself; empty when it is")


class BudgetView(View):
    """What is left of a budget."""

    rung: str
    left: int
    of: int


class RecoveryView(View):
    """What is, or would be, done."""

    agent: str
    rung: str
    because: str
    dry_run: bool = False
    incident: int = Field(default=0, description="0 when there is none yet")
    budgets: list[BudgetView] = []


class SafeModeView(View):
    """Whether envmgr does anything by itself."""

    on: bool
    reason: str = ""
    since: float | None = Field(default=None, description="Unix time")


def incidents(result: IncidentList, style: Style) -> str:
    """`envmgr incidents`."""
    said = style.paint(f"safe mode: {clean(result.safe_mode)}", "red") + "\n" if result.safe_mode else ""
    if result.stats:
        return said + "".join(_stats(one, style) for one in result.stats)
    if result.details:
        return said + "".join(_details(one, style) for one in result.incidents)
    if not result.incidents:
        return said + "No incidents.\n"
    head = ("ID", "AGENT", "FAILURE", "OF", "LAST MEASURE", "SEEN", "WHAT")
    rows = [
        (
            str(one.id),
            one.name,
            one.failure,
            one.service or one.part,
            _last(one),
            f"{style.age(one.seen_at)} ago",
            one.words,
        )
        for one in result.incidents
    ]
    colours = ["" if one.closed_at else "amber" for one in result.incidents]
    return said + text.table(head, rows, style, colours)


def _last(incident: IncidentView) -> str:
    if not incident.climbs:
        return "-"
    return f"{incident.climbs[-1].rung}: {_OUTCOMES[incident.climbs[-1].outcome]}"


def _details(incident: IncidentView, style: Style) -> str:
    state = f"closed {style.age(incident.closed_at)} ago" if incident.closed_at else "open"
    lines = [
        style.paint(f"incident {incident.id} of {clean(incident.name)}: {clean(incident.words)}", "bold"),
        f"  class      {incident.failure} ({incident.confidence:.0%} sure), {state}, seen {incident.symptoms}x",
        *(f"  evidence   {one.source}: {clean(one.text)}" for one in incident.evidence),
        *([f"  advice     {clean(incident.advice)}"] if incident.advice else []),
    ]
    for climb in incident.climbs:
        lines.append(
            f"  {style.age(climb.at):>5} ago  {_RUNGS[climb.rung]}: {_OUTCOMES[climb.outcome]}"
            + (f" ({clean(climb.result)})" if climb.result else "")
        )
        lines.append(f"             because {clean(climb.because)}")
    if incident.bundle:
        lines.append(f"  context    {incident.bundle}")
    return "\n".join(lines) + "\n"


def _stats(stats: TemplateStatsView, style: Style) -> str:
    mttr = f", mended after {stats.mttr_s:.0f} s on average" if stats.mttr_s is not None else ""
    lines = [
        style.paint(clean(stats.template), "bold")
        + f"  incidents: {stats.incidents}, mended by themselves: {stats.mended}{mttr}",
        *(f"  {one.rung:<8} taken {one.taken}x, held {one.held}x" for one in stats.rungs),
        *(f"  template problem: {clean(problem)}" for problem in stats.problems),
    ]
    return "\n".join(lines) + "\n"


def recovery(result: RecoveryView, style: Style) -> str:
    """`envmgr recover`."""
    if not result.agent:
        return f"{result.because}\n"
    if result.rung == "wait":
        return f"{result.agent}: {clean(result.because)}.\n"
    verb = "would" if result.dry_run else "begins to"
    said = f"{result.agent} {verb} {_RUNGS[result.rung]}\n  because    {clean(result.because)}\n"
    if result.dry_run:
        left = ", ".join(f"{one.rung} {one.left} of {one.of}" for one in result.budgets)
        return said + f"  left       {left}\n"
    return said + f"  follow     envmgr incidents --show {result.incident}\n"


def safe_mode(result: SafeModeView, style: Style) -> str:
    """`envmgr safe-mode`."""
    if not result.on:
        return "Safe mode is off.\n"
    age = f" for {style.age(result.since)}" if result.since is not None else ""
    return (
        f"Safe mode is on{age}: {clean(result.reason)}. Nothing is spawned or mended by itself;"
        " `envmgr safe-mode off` ends it.\n"
    )
