"""Operations on the archive: sessions that have ended, listed, shown, brought back, pinned, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from envmgr.aio import blocking
from envmgr.app import text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import agent_view
from envmgr.app.shapes import Ask, argument, option
from envmgr.app.spawning import refuse_name
from envmgr.core.counting import counted
from envmgr.errors import Conflict, NotFound, UsageError
from envmgr.protocols.store import Snapshot
from envmgr.runtime import returning
from envmgr.runtime.archiving import keeping, reading
from envmgr.runtime.archiving.keeping import Entry

_READ_S = 30.0
_SHOWN_COMMITS = 20


class ListArchive(Ask):
    """Whose to list."""

    agent: str = argument("Name or id of an agent, removed ones too; all when left out", default="")


class OneEntry(Ask):
    """Which entry."""

    entry: str = argument("AGENT@GENERATION, its number, or an agent's name for its newest")


class ShowEntry(OneEntry):
    """Which entry, and what of it."""

    logs: str = option("Print what this service wrote; `agent` is the assistant's last screen", default="")
    lines: int = option("Only so many lines of it, the last ones; 0 for all", short="-n", default=200, ge=0)


class RestoreEntry(OneEntry):
    """What to bring back, and as what."""

    name: str = option("Name of the agent; its old one when left out", default="")
    branch: str = option("Branch of the worktree; its old one when left out", default="")


class PinEntry(OneEntry):
    """Which entry to keep."""

    off: bool = option("Keep it no longer than others", default=False)


class RemoveEntries(Ask):
    """Which to delete."""

    entries: list[str] = argument("AGENT@GENERATION, or numbers")


@operation(
    "archive.list",
    route="GET /api/v1/archive",
    gives=views.ArchiveList,
    text=lambda result, style: _list_text(result, style),
    command="archive list",
)
async def list_archive(ask: ListArchive, app: App) -> views.ArchiveList:
    """List sessions that have ended, oldest first: those of agents that are there, and of removed ones."""
    found = [e for e in await _all(app) if ask.agent in ("", e.snapshot.name, e.snapshot.agent)]
    if not found and ask.agent:
        app.agents.find(ask.agent)  # names what there is
    return views.ArchiveList(
        entries=[_view(entry, app) for entry in found], bytes=sum(e.manifest.bytes for e in found)
    )


@operation(
    "archive.show",
    route="GET /api/v1/archive/{entry}",
    gives=views.ArchiveShowView,
    text=lambda result, style: _show_text(result, style),
    command="archive show",
)
async def show(ask: ShowEntry, app: App) -> views.ArchiveShowView:
    """Show how a session ended, what was made in it, and what is kept of it; or what one of its services wrote."""
    entry = await _one(app, ask.entry)
    folder = _folder(app, entry.snapshot)
    if ask.logs:
        kept = {recording.subject: recording.file for recording in reversed(entry.manifest.recordings)}
        if ask.logs not in kept:
            raise NotFound(
                f"{entry.name} has no log of {ask.logs}", hint=f"It has {', '.join(sorted(kept)) or 'none'}."
            )
        said = await blocking.look(
            "archive", _READ_S, reading.text_of, folder, kept[ask.logs], lines=ask.lines
        )
        return views.ArchiveShowView(entry=_view(entry, app), log=said)
    work = await blocking.look("archive", _READ_S, reading.work_of, folder)
    return views.ArchiveShowView(
        entry=_view(entry, app),
        commits=[views.CommitView(**commit) for commit in work["commits"]],
        uncommitted=work["uncommitted"],
    )


@operation(
    "archive.restore",
    route="POST /api/v1/archive/{entry}/restore",
    gives=views.AgentView,
    text=text.agent_details,
    touch=Touch.WRITE,
    command="archive restore",
)
async def restore(ask: RestoreEntry, app: App) -> views.AgentView:
    """Bring a session's workspace back as a stopped agent: branch, files with uncommitted work, and spec as they were.

    Volumes are not in the archive: they begin as the template says. What an agent removed lately had in volumes comes back with `undo`.
    """
    entry = await _one(app, ask.entry)
    old = entry.snapshot
    if not entry.manifest.ref:
        raise Conflict(
            f"the files of {entry.name} were not kept",
            hint=f"`envmgr archive show {entry.name}` tells why.",
        )
    snapshot = await _as_wanted(ask, app, old)
    is_same = app.agents.actor(old.agent) is None and snapshot.name == old.name
    actor = await returning.bring_back(
        app.agents, snapshot, reason=f"brought back from {entry.name} of the archive", has_own_id=is_same
    )
    return agent_view(actor, app.agents)


async def _as_wanted(ask: RestoreEntry, app: App, old: Snapshot) -> Snapshot:
    """With the name and branch that were asked for, and a place for files that belongs to that name."""
    supervisor = app.agents
    name, branch = ask.name or old.name, ask.branch or old.branch
    if any(a.state.name == name for a in supervisor.actors()):
        raise Conflict(f"an agent named {name} exists", hint="Choose another name with --name.")
    refuse_name(name, set())
    repo = await supervisor.systems.workspaces.find(Path(old.repo))
    path = Path(old.path) if name == old.name else supervisor.layout.worktree(repo, name)
    spec = replace(old.spec, name=name, workspace=replace(old.spec.workspace, branch=branch))
    return replace(old, name=name, branch=branch, path=str(path), spec=spec)


@operation(
    "archive.pin",
    route="POST /api/v1/archive/{entry}/pin",
    gives=views.ArchiveEntryView,
    text=lambda result, style: (
        f"{result.entry} {'stays until you delete it' if result.pinned else 'goes like the others'}\n"
    ),
    touch=Touch.WRITE,
    command="archive pin",
)
async def pin(ask: PinEntry, app: App) -> views.ArchiveEntryView:
    """Keep an entry until you delete it, however old it is; --off lets it go like the others."""
    entry = await _one(app, ask.entry)
    pinned = await keeping.pin(app.agents.systems, entry.snapshot, is_pinned=not ask.off)
    return _view(replace(entry, snapshot=pinned), app)


@operation(
    "archive.rm",
    route="POST /api/v1/archive/rm",
    gives=views.ArchiveRemovedView,
    text=lambda result, style: (
        f"deleted {counted(len(result.removed), 'archived session')}, {text.size(result.bytes)}\n"
    ),
    touch=Touch.DESTROY,
    command="archive rm",
)
async def rm(ask: RemoveEntries, app: App) -> views.ArchiveRemovedView:
    """Delete entries for good: logs, records, and the ref that keeps the files."""
    if not ask.entries:
        raise UsageError("which entry?", hint="See `envmgr archive list`.")
    known = await _all(app)
    chosen = {e.snapshot.id: e for e in (_exactly(known, reference) for reference in ask.entries)}
    for entry in chosen.values():
        await keeping.discard(app.agents.systems, app.agents.layout, entry.snapshot)
    return views.ArchiveRemovedView(
        removed=[e.name for e in chosen.values()], bytes=sum(e.manifest.bytes for e in chosen.values())
    )


async def _all(app: App) -> Sequence[Entry]:
    return await keeping.entries(app.agents.systems, app.agents.layout)


async def _one(app: App, reference: str) -> Entry:
    known = await _all(app)
    mine = [e for e in known if reference in (e.snapshot.name, e.snapshot.agent)]
    return mine[-1] if mine else _exactly(known, reference)


def _exactly(known: Sequence[Entry], reference: str) -> Entry:
    """By number or whole name; the newest when agents of one name had the same generation."""
    found = [
        e
        for e in known
        if reference in (e.name, str(e.snapshot.id), f"{e.snapshot.agent}@{e.snapshot.generation}")
    ]
    if not found:
        raise NotFound(
            f"the archive has no entry {reference}",
            hint="Give AGENT@GENERATION or a number, as deleting wants exactly one; see `envmgr archive list`.",
        )
    return found[-1]


def _folder(app: App, snapshot: Snapshot) -> Path:
    return app.agents.layout.archive / snapshot.folder


def _view(entry: Entry, app: App) -> views.ArchiveEntryView:
    snapshot, manifest = entry.snapshot, entry.manifest
    return views.ArchiveEntryView(
        entry=entry.name,
        number=snapshot.id,
        name=snapshot.name,
        generation=snapshot.generation,
        since_generation=manifest.generations[0],
        at=snapshot.at,
        reason=manifest.reason,
        template=manifest.template,
        assistant=manifest.assistant,
        repo=snapshot.repo,
        branch=snapshot.branch,
        ref=manifest.ref,
        pinned=snapshot.is_pinned,
        commits=manifest.commits,
        events=manifest.events,
        incidents=manifest.incidents,
        recordings=[recording.subject for recording in manifest.recordings],
        missing=[f"{lack.part}: {lack.why}" for lack in manifest.missing],
        bytes=manifest.bytes,
        folder=str(_folder(app, snapshot)),
    )


def _list_text(result: views.ArchiveList, style: text.Style) -> str:
    head = ["NUMBER", "ENTRY", "AGE", "COMMITS", "INCIDENTS", "SIZE", "KEPT", "BRANCH", "ENDED"]
    rows = [
        [str(e.number), e.entry, style.age(e.at), str(e.commits), str(e.incidents), text.size(e.bytes),
         "pinned" if e.pinned else "in part" if e.missing else "all", e.branch, e.reason]
        for e in result.entries
    ]  # fmt: skip
    return text.table(head, rows, style) if rows else "The archive is empty.\n"


def _show_text(result: views.ArchiveShowView, style: text.Style) -> str:
    if result.log is not None:
        return text.clean(result.log)
    entry = result.entry
    lines = [
        f"{entry.entry} ended {style.age(entry.at)} ago: {entry.reason}",
        f"  template {entry.template}, assistant {entry.assistant}, branch {entry.branch}",
        f"  kept {', '.join(entry.recordings) or 'no logs'}; {text.size(entry.bytes)} in {entry.folder}",
        f"  {counted(entry.events, 'event')}, {counted(entry.incidents, 'incident')}",
        *(f"  missing: {words}" for words in entry.missing),
        f"  {counted(entry.commits, 'commit')} made in it"
        + (f", and {counted(len(result.uncommitted), 'file')} not committed" if result.uncommitted else ""),
        *(f"    {commit.id[:10]} {commit.subject}" for commit in result.commits[:_SHOWN_COMMITS]),
        *(
            [f"    and {len(result.commits) - _SHOWN_COMMITS} more"]
            if len(result.commits) > _SHOWN_COMMITS
            else []
        ),
        *([f"  bring it back with `envmgr archive restore {entry.entry}`"] if entry.ref else []),
    ]
    return text.clean("\n".join(lines)) + "\n"
