"""Operation `agent.undo`: what was before the last thing that cost work, or might have."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.app import snapshots, text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import agent_view, listed_snapshot
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.errors import NotFound
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import returning
from envmgr.runtime.actor import Actor


class Undo(Ask):
    """What to bring back."""

    agent: str = argument(
        "Name of an agent, there or removed, or a snapshot's number; the agent removed last when left out",
        default="",
    )
    snapshot: str = argument(
        "Number or name of its snapshot; the newest that envmgr took when left out", default=""
    )
    list: bool = option("Only list what can be brought back", default=False)
    restart: bool = option("Stop the agent first if it runs, and start it again afterwards", default=False)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


@operation(
    "agent.undo",
    route="POST /api/v1/undo",
    gives=views.UndoView,
    text=lambda result, style: _text(result, style),
    touch=Touch.WRITE,
    command="undo",
)
async def undo(ask: Undo, app: App) -> views.UndoView:
    """Bring back what was: a removed agent, or the files an agent had before its last restore, respawn or reallocation.

    A removed agent comes back with branch, worktree, uncommitted changes and volumes, stopped. Files of an agent that is there are put back
    as `snapshot restore` does it: what is there now is saved first, so a second `undo` takes the first one back.
    """
    stored = await app.agents.systems.store.read(lambda tx: tx.snapshots())
    known = [s for s in stored if s.kind is not SnapshotKind.ARCHIVE]
    possible = sorted((s for s in known if _is_undoable(s, app)), key=lambda s: s.at)
    if ask.list:
        mine = [s for s in possible if ask.agent in ("", s.name, s.agent, str(s.id))]
        return views.UndoView(snapshots=[listed_snapshot(s, app.agents) for s in mine])
    snapshot = _meant(ask, app, known, possible)
    actor = app.agents.actor(snapshot.agent)
    if actor is None:
        back = await returning.bring_back(app.agents, snapshot, reason="brought back by undo")
        return views.UndoView(restored=agent_view(back, app.agents))
    done = await snapshots.put_back(actor, snapshot, app, restart=ask.restart, environment=ask.environment)
    return views.UndoView(restored=done.agent, snapshots=[done.snapshot], before=done.before)


def _is_undoable(snapshot: Snapshot, app: App) -> bool:
    if app.agents.actor(snapshot.agent) is None:
        return snapshot.can_return
    return snapshot.kind in (SnapshotKind.RESTORE, SnapshotKind.CHECKPOINT)


def _meant(ask: Undo, app: App, known: Sequence[Snapshot], possible: Sequence[Snapshot]) -> Snapshot:
    """The newest that fits; an agent that is there goes before a removed one of its name."""
    if not ask.agent:  # nobody's files are overwritten by a word that names nobody
        fitting = [s for s in possible if s.can_return]
    elif ask.snapshot:
        fitting = [s for s in known if _is_of(s, ask.agent) and ask.snapshot in (str(s.id), s.label)]
        fitting = [s for s in fitting if s.can_return or app.agents.actor(s.agent) is not None]
    else:
        there = _there(ask.agent, app)
        fitting = [s for s in possible if str(s.id) == ask.agent or (there and s.agent == there.state.id)]
        fitting = fitting or [s for s in possible if s.can_return and _is_of(s, ask.agent)]
    if fitting:
        return fitting[-1]
    what = f"snapshot {ask.snapshot} of {ask.agent}" if ask.snapshot else ask.agent or "any agent"
    raise NotFound(f"nothing to bring back for {what}", hint="See `envmgr undo --list`.")


def _is_of(snapshot: Snapshot, reference: str) -> bool:
    return reference in (snapshot.name, snapshot.agent)


def _there(reference: str, app: App) -> Actor | None:
    return next((a for a in app.agents.actors() if reference in (a.state.name, a.state.id)), None)


def _text(result: views.UndoView, style: text.Style) -> str:
    if result.restored is None:
        return text.snapshots(result.snapshots, style)
    if not result.snapshots:
        return text.agent_details(result.restored, style)
    name, (snapshot,) = result.restored.name, result.snapshots
    again = f"; `envmgr undo {name}` takes that back" if result.before else ""
    return f"{name} has its files of before {snapshot.reason or snapshot.kind}{again}\n" + text.agent_line(
        result.restored, style
    )
