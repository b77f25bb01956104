"""What agents wrote lately, and how assistants hear of each other."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import anyio
from pydantic import Field

from envmgr.app.caller import caller
from envmgr.app.context import App
from envmgr.app.moments import moment
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, View, argument, option, supplied
from envmgr.app.spans import seconds
from envmgr.app.text import Style, table
from envmgr.core import telling
from envmgr.errors import EnvmgrError
from envmgr.model.observed import ObservedChange
from envmgr.model.principal import Scope
from envmgr.protocols.assistant import Listens, Report
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

_MOST_S = 0.5


class RecentChanges(Ask):
    """Which changes."""

    agent: str = argument(
        "Of this agent only: name, id, or a unique beginning of either", default="", max_length=200
    )
    since: str = option("Only of the last such time: 90s, 30m, 6h", default="", max_length=40)
    limit: int = option("At most so many, the newest", short="-n", default=50, ge=1, le=1000)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class ChangeView(View):
    """The newest change of one file by one agent."""

    agent_id: str = Field(description="Empty when nobody knows who it was")
    agent: str
    path: str
    kind: str = Field(description="added, modified or deleted")
    changed_at: str
    age_s: float
    main_checkout: bool = Field(description="It is in the main checkout, not in the agent's worktree")
    evidence: str = Field(description="How it is known who it was: worktree, tool, command or working")
    violates: int = Field(description="Token of the lock of somebody else that stood there; 0: of none")
    locked_by: str = Field(description="Who had that lock")


class ChangesView(View):
    """Changes, the newest first."""

    ok: bool = True
    success: bool = True
    repo: str
    changes: list[ChangeView]


def _text(result: ChangesView, style: Style) -> str:
    if not result.changes:
        return "no agent has changed a file here lately\n"
    rows = [
        [
            f"{style.age(style.now() - change.age_s)} ago",
            change.agent or "somebody",
            change.kind,
            change.path + _remark(change),
        ]
        for change in result.changes
    ]
    colours = ["red" if c.violates else "amber" if c.main_checkout else "" for c in result.changes]
    return table(["WHEN", "AGENT", "WHAT", "FILE"], rows, style, colours)


def _remark(change: ChangeView) -> str:
    remarks = ["in the main checkout"] if change.main_checkout else []
    remarks += [f"locked by {change.locked_by}"] if change.violates else []
    return f"  ({', '.join(remarks)})" if remarks else ""


@operation(
    "changes.list",
    route="GET /api/v1/changes",
    gives=ChangesView,
    text=_text,
    command="changes",
    scope=Scope.LOCKS,
    tool="recent_changes",
    is_compact=True,
)
async def list_changes(ask: RecentChanges, app: App) -> ChangesView:
    """Show which files agents of this repository have written lately, and where somebody else had a lock.

    A file is listed once for each agent, with its newest change. Files that git ignores, or that git itself has checked out or
    merged, do not count.
    """
    who = await caller(app, ask.repo)
    agent = app.agents.find(ask.agent).state.id if ask.agent else None
    now = app.coordinator.ground.now()
    since_at = now - seconds(ask.since) if ask.since else 0.0
    found = await app.coordinator.changes.recent(who.repo, agent=agent, since_at=since_at, limit=ask.limit)
    return ChangesView(repo=who.repo, changes=[_view(change, now) for change in found])


def _view(change: ObservedChange, now: float) -> ChangeView:
    return ChangeView(
        agent_id=change.agent,
        agent=change.name,
        path=change.path,
        kind=change.kind,
        changed_at=moment(change.at),
        age_s=round(max(0.0, now - change.at), 3),
        main_checkout=change.is_main,
        evidence=change.evidence,
        violates=change.violates,
        locked_by=change.holder_name,
    )


def hear(app: App, actor: Actor, inc: Incarnation, payload: dict[str, object]) -> None:
    """A hook of the assistant says what it does: who writes in the main checkout is known by that alone."""
    repo, worktree = actor.spec.repo, str(inc.path)
    app.coordinator.changes.mentions.hear(actor.state.id, payload, repo=repo, worktree=worktree)


async def context(app: App, actor: Actor, hook: str, report: Report) -> str:
    """What the hook is to print, so that its assistant hears of the others; empty when there is nothing to say.

    The assistant waits for it, so it fails silently, and soon.
    """
    if report.listens is None:
        return ""
    changes, queue = app.coordinator.changes, app.coordinator.queue
    lines: Sequence[str] = ()
    orders: Sequence[str] = ()
    try:
        with anyio.CancelScope(shield=True):  # what is taken is told
            orders = await queue.called_off(actor.state.id)
        with anyio.move_on_after(_MOST_S):
            lines = await changes.notes(
                actor.state.id, actor.spec.repo, is_full=report.listens is Listens.TURN
            )
    except EnvmgrError as error:
        log.warning("an agent is not told of the others", extra={"why": error.message})
    said = telling.text(lines, orders=orders)
    if not said:
        return ""
    told = {"hookEventName": hook, "additionalContext": said}
    return json.dumps({"hookSpecificOutput": told}, ensure_ascii=False)
