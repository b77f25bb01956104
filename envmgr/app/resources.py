"""Operations on what nobody owns any more: look for it, remove it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, View, argument, option
from envmgr.core import reaping
from envmgr.core.counting import counted
from envmgr.model.resource import Judged, Kind, Verdict
from envmgr.runtime.reaping.reaper import Reaped

LEAKED = 3
"""Exit status of a look that found something which should not be there."""

KindName = Literal[
    "process", "container", "network", "port", "session", "image", "volume", "temp", "worktree"
]
_GLYPHS = {"tracked": "●", "young": "◌", "orphan": "✖", "foreign": "·", "unknown": "?"}
_COLOURS = {"orphan": "red", "unknown": "amber", "young": "blue", "foreign": "muted", "tracked": ""}


class AuditResources(Ask):
    """What to look at."""

    kind: list[KindName] = option(
        "Only this sort: process, container, network, port, session, image, volume, temp, worktree",
        default=[],
    )
    all: bool = option("List also what is as it should be, and what is of others", default=False)


class Reap(Ask):
    """What to remove."""

    names: list[str] = argument(
        "Names of things, or of the agents that they were of; all when left out", default=[]
    )
    dry_run: bool = option("Only tell what would go", default=False)


class ThingView(View):
    """A thing on this host and what it is taken for."""

    kind: KindName
    name: str
    key: str = Field(description="Equal at each look for the very same thing")
    agent: str = Field(description="Name of its agent; the id of one that is no more; may be empty")
    verdict: Literal["tracked", "young", "orphan", "foreign", "unknown"]
    quarantined: bool = Field(default=False, description="An orphan that only a person removes")
    age_s: float | None = Field(default=None, description="None when nobody knows")
    bytes: int | None = Field(
        default=None, description="None when it was not counted; of a process its memory"
    )
    reason: str
    next: str = Field(default="", description="Command for a person, of what is not removed by itself")


class AuditView(View):
    """What there is."""

    things: list[ThingView]
    totals: dict[str, int] = Field(description="How many by verdict, quarantined ones apart")
    leaked_bytes: int = Field(description="What orphans take, as far as it was counted")


class FailedView(View):
    """What stayed."""

    thing: ThingView
    error: str


class ReapView(View):
    """What was removed."""

    removed: list[ThingView]
    failed: list[FailedView] = []
    left: list[ThingView] = Field(default=[], description="Orphans that were not touched")
    would: list[ThingView] = Field(default=[], description="With `dry_run`: what would go")
    freed_bytes: int = 0


def thing_view(one: Judged) -> ThingView:
    """As the operations give it."""
    seen = one.sighting
    return ThingView(
        kind=seen.kind.value,
        name=seen.name,
        key=seen.key,
        agent=one.owner,
        verdict=one.verdict.value,
        quarantined=one.is_quarantined,
        age_s=None if seen.age_s is None else round(seen.age_s, 1),
        bytes=seen.size_bytes,
        reason=one.reason,
        next=seen.advice if one.is_quarantined else "",
    )


def _audit_text(result: AuditView, style: text.Style) -> str:
    shown = sorted(result.things, key=lambda one: (one.verdict != "orphan", one.quarantined, one.kind))
    listing = _table(shown, style) if shown else ""
    parts = [f"{count} {word}" for word, count in result.totals.items() if count]
    summary = ", ".join(parts) or "nothing found"
    advice = "".join(f"next: {text.clean(one.next)}\n" for one in shown if one.next)
    if any(one.verdict == "orphan" and not one.quarantined for one in shown):
        advice += "next: envmgr reap\n"
    takes = f"; leaked: {text.size(result.leaked_bytes)}" if result.leaked_bytes else ""
    return f"{listing}{summary}{takes}\n{advice}"


def _table(things: Sequence[ThingView], style: text.Style) -> str:
    rows = [
        [one.kind, f"{_GLYPHS[one.verdict]} {'kept' if one.quarantined else one.verdict}", one.agent or "-",
         "-" if one.age_s is None else style.age(style.now() - one.age_s), "-" if one.bytes is None else text.size(one.bytes),
         _short(one.name), one.reason]
        for one in things
    ]  # fmt: skip
    colours = [_COLOURS[one.verdict] for one in things]
    return text.table(["KIND", "VERDICT", "AGENT", "AGE", "SIZE", "NAME", "WHY"], rows, style, colours)


def _short(name: str, limit: int = 60) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


@operation(
    "resource.audit",
    route="GET /api/v1/resources",
    gives=AuditView,
    text=_audit_text,
    command="audit-resources",
    status=lambda result: LEAKED if result.totals["orphan"] or result.totals["kept"] else 0,
)
async def audit_resources(ask: AuditResources, app: App) -> AuditView:
    """List what is left over on this host; exit status 3 if something is.

    Looks at processes, containers, networks, ports, terminal sessions, images, volumes, files of envmgr's own, and worktrees. Changes
    nothing: it is the first half of `envmgr reap`. Whatever is of another installation or of nobody known is foreign, and what
    cannot be told is unknown: neither is ever touched.
    """
    judged = await app.leftovers.audit({Kind(kind) for kind in ask.kind})
    counts = {verdict.value: 0 for verdict in Verdict} | {"kept": 0}
    for one in judged:
        counts["kept" if one.is_quarantined else one.verdict.value] += 1
    shown = judged if ask.all else [j for j in judged if j.verdict not in (Verdict.TRACKED, Verdict.FOREIGN)]
    leaked = [one.sighting for one in reaping.leaked(judged) if one.sighting.kind is not Kind.PROCESS]
    return AuditView(
        things=[thing_view(one) for one in shown],
        totals=counts,
        leaked_bytes=sum(seen.size_bytes or 0 for seen in leaked),
    )


def _reap_text(result: ReapView, style: text.Style) -> str:
    lines = [f"removed {one.kind} {text.clean(_short(one.name))}: {one.reason}" for one in result.removed]
    lines += [f"would remove {one.kind} {text.clean(_short(one.name))}: {one.reason}" for one in result.would]
    lines += [
        f"not removed: {one.thing.kind} {text.clean(_short(one.thing.name))}: {text.clean(one.error)}"
        for one in result.failed
    ]
    for one in result.left:
        lines.append(f"left: {one.kind} {text.clean(_short(one.name))}: {one.reason}")
        lines += [f"  next: {text.clean(one.next)}"] if one.next else []
    freed = f", {text.size(result.freed_bytes)} freed" if result.freed_bytes else ""
    lines.append(f"{counted(len(result.removed), 'thing')} removed{freed}")
    return "\n".join(lines) + "\n"


@operation(
    "resource.reap",
    route="POST /api/v1/resources/reap",
    gives=ReapView,
    text=_reap_text,
    touch=Touch.DESTROY,
    command="reap",
    status=lambda result: LEAKED if result.failed else 0,
)
async def reap(ask: Reap, app: App) -> ReapView:
    """Remove what is left over on this host.

    Looks twice, some seconds apart, and removes what both looks found to be of nobody. Named volumes, worktrees with work in them and
    branches are never removed: they are listed with the command that does it.
    """
    return _view(await app.leftovers.reap(ask.names, is_dry=ask.dry_run), is_dry=ask.dry_run)


def _view(done: Reaped, *, is_dry: bool) -> ReapView:
    would = [one for one in done.left if is_dry and one.is_removable]
    return ReapView(
        removed=[thing_view(one) for one in done.removed],
        failed=[FailedView(thing=thing_view(one), error=why) for one, why in done.failed],
        left=[thing_view(one) for one in done.left if one not in would],
        would=[thing_view(one) for one in would],
        freed_bytes=done.freed_bytes,
    )
