"""Make an entry of the archive: everything that tells what an agent's session was, from wherever it is kept.

The record in the store comes last, in the transaction that drops the note of what was made: an entry is there as a whole or not at
all. What cannot be kept is named in its manifest, and keeps nothing else from being kept.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.model.agent import AgentState
from envmgr.model.event import Event
from envmgr.model.incident import Incident
from envmgr.model.observe import Present
from envmgr.protocols.store import Snapshot, SnapshotKind, Transaction
from envmgr.protocols.workspaces import Commit, Worktree
from envmgr.runtime import saving
from envmgr.runtime.archiving import manifest as manifests
from envmgr.runtime.archiving.manifest import Manifest, Missing
from envmgr.runtime.archiving.packing import Log, Mark, Packer, finish, mark, size_of
from envmgr.runtime.archiving.screens import screen_of
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.saga import never
from envmgr.runtime.secrecy import Values, values_of

_MARKS = "archived/"
_PACKING_S = 20.0
_GIT_S = 20.0
_SECRETS_S = 10.0
_MOST_EVENTS = 20_000
_TEMPLATES = (".yaml", ".yml", ".toml")
_MOST_SOURCE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far an agent has been archived.

    Attributes:
        generation: Of the last entry; 0 when there is none.
        since: Generation after which that entry begins.
        begin, end: Where its logs begin and end, by file name.
    """

    generation: int = 0
    since: int = 0
    begin: dict[str, Mark] | None = None
    end: dict[str, Mark] | None = None

    def next(self, generation: int) -> Marks:
        """Where an entry of this generation begins; one that is made again begins where it began."""
        if generation == self.generation:
            return self
        return Marks(generation=generation, since=self.generation, begin=self.end, end=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What git knows and keeps of it."""

    worktree: Worktree
    head: str = ""
    ref: str = ""
    commits: Sequence[Commit] = ()
    changed: Sequence[str] = ()


async def archive(
    inc: Incarnation, state: AgentState, *, cause: str = "", reach: Callable[[str], None] = never
) -> Snapshot:
    """Make an entry of the generation that has ended; replaces an earlier one of the same generation.

    Raises:
        EnvmgrError, OSError: There is no room, or a system failed; nothing of the entry remains.
    """
    store, layout = inc.systems.store, inc.layout
    note, marks = saving.new_note(inc), (await read_marks(inc)).next(inc.generation)
    await store.write(lambda tx: saving.put(tx, note))
    folder, target = layout.archive / f".{note.folder}", layout.archive / note.folder
    packer = Packer(folder=folder, secrets=(), until=time.monotonic() + _PACKING_S)
    try:
        reach("archive-noted")
        secrets = await values_of(inc, within_s=_SECRETS_S)
        if secrets.unknown:
            packer.missing.append(Missing(part="logs and screens", why=secrets.unknown))
        work = await _save_work(inc, note, packer)
        events, incidents = await store.read(lambda tx: _told(tx, inc, marks))
        draft = _draft(inc, state, marks, work, cause=cause)
        reach("archive-gathered")
        ends = await blocking.act(
            "archive", _pack, inc, packer, secrets, draft, marks, work, events, incidents
        )
        await blocking.act("archive", finish, folder, target)
        reach("archive-packed")
        snapshot = saving.draft(inc, work.worktree, note, work.head, kind=SnapshotKind.ARCHIVE)
        snapshot = replace(snapshot, folder=note.folder, reason=state.reason)
        return await store.write(lambda tx: _record(tx, snapshot, note, replace(marks, end=ends)))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await blocking.act("archive", _discard, folder, target)
            await saving.give_up(inc.systems, layout, note)
        raise


async def read_marks(inc: Incarnation) -> Marks:
    """How far the agent has been archived."""
    text = await inc.systems.store.read(lambda tx: tx.get(f"{_MARKS}{inc.id}"))
    if text is None:
        return Marks()
    found = json.loads(text)
    return Marks(
        generation=found["generation"], since=found["since"],
        begin=_positions(found["begin"]), end=_positions(found["end"]),
    )  # fmt: skip


def count_as_archived(tx: Transaction, agent: str, generation: int) -> None:
    """What an agent that comes back was before has its entries, or had them."""
    tx.put(f"{_MARKS}{agent}", json.dumps(asdict(Marks(generation=generation, since=generation - 1))))


def forget_marks(tx: Transaction, agent: str) -> None:
    """The agent is gone, and its logs with it."""
    tx.drop(f"{_MARKS}{agent}")


def _positions(found: dict[str, list[int]] | None) -> dict[str, Mark] | None:
    return {name: (inode, size) for name, (inode, size) in found.items()} if found is not None else None


def _record(tx: Transaction, snapshot: Snapshot, note: saving.Note, marks: Marks) -> Snapshot:
    tx.put(f"{_MARKS}{snapshot.agent}", json.dumps(asdict(marks)))
    return saving.record(tx, snapshot, note)


async def _save_work(inc: Incarnation, note: saving.Note, packer: Packer) -> _Work:
    """The files as they are; without them the entry tells what there was."""
    git = inc.systems.workspaces
    work = _Work(worktree=Worktree(path=inc.path, branch=inc.spec.workspace.branch, base=""))
    try:
        with anyio.fail_after(_GIT_S):
            match await git.look(inc.repo, inc.path, inc.owner):
                case Present(worktree):
                    pass
                case _:
                    packer.missing.append(
                        Missing(part="files", why="there is no worktree, or it cannot be seen")
                    )
                    return work
            work = replace(work, worktree=worktree, commits=await git.history(worktree))
            work = replace(work, changed=(await git.work(worktree)).changed)
            await git.snapshot(worktree, note.ref)
            head = await git.resolve(inc.repo, f"refs/heads/{worktree.branch}")
            return replace(work, head=head, ref=note.ref)
    except EnvmgrError as error:
        packer.missing.append(Missing(part="files", why=error.message))
    except TimeoutError:
        packer.missing.append(Missing(part="files", why="there was no time left"))
    return work


def _told(tx: Transaction, inc: Incarnation, marks: Marks) -> tuple[list[Event], list[Incident]]:
    """Of the generations that the entry is about."""
    events = tx.last_events(agent=inc.id, limit=_MOST_EVENTS)
    incidents = tx.incidents(agent=inc.id)
    return (
        [event for event in events if marks.since < event.generation <= inc.generation],
        [one for one in incidents if marks.since < one.generation <= inc.generation],
    )


def _draft(inc: Incarnation, state: AgentState, marks: Marks, work: _Work, *, cause: str) -> Manifest:
    return Manifest(
        name=inc.name,
        agent=inc.id,
        generations=(marks.since + 1, inc.generation),
        at=inc.systems.now(),
        reason="; ".join(filter(None, (state.reason, f"then {cause}" if cause else ""))),
        template=inc.spec.template,
        assistant=inc.spec.assistant.kind,
        repo=inc.spec.repo,
        branch=work.worktree.branch,
        base=work.worktree.base,
        head=work.head,
        ref=work.ref,
        commits=len(work.commits),
    )


def _pack(
    inc: Incarnation,
    packer: Packer,
    secrets: Values,
    draft: Manifest,
    marks: Marks,
    work: _Work,
    events: Sequence[Event],
    incidents: Sequence[Incident],
) -> dict[str, Mark]:
    """Blocking; returns how far the logs have been kept."""
    packer = replace(packer, secrets=tuple(secrets.known))
    packer.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    packer.folder.mkdir(mode=0o700)
    ends: dict[str, Mark] = {}
    for log in _logs(inc.home, marks) if not secrets.unknown else ():
        ends[log.path.name] = mark(log.path)
        packer.log(log)
    packer.lines("events.jsonl.gz", map(asdict, events))
    packer.json("incidents.json", [asdict(incident) for incident in incidents])
    packer.json("template.json", asdict(inc.spec))
    for number, name in enumerate(inc.spec.files):
        _source(packer, Path(name), number)
    packer.json(
        "work.json",
        {
            "branch": work.worktree.branch, "base": work.worktree.base, "head": work.head, "ref": work.ref,
            "commits": [asdict(commit) for commit in work.commits], "uncommitted": list(work.changed),
        },
    )  # fmt: skip
    done = replace(
        draft,
        events=len(events),
        incidents=len(incidents),
        recordings=tuple(packer.recordings),
        missing=tuple(packer.missing),
        bytes=size_of(packer.folder),
    )
    manifests.write(packer.folder, done)
    return ends


def _logs(home: Path, marks: Marks) -> list[Log]:
    """Of services, hooks and the keeper; and the last screen."""
    begin = marks.begin or {}
    logs = sorted((home / "logs").glob("*.log"))
    keeper = home / "keeper.log"
    found = [Log(subject=path.stem, path=path, begin=begin.get(path.name)) for path in logs]
    if keeper.is_file():
        found.append(Log(subject="_keeper", path=keeper, begin=begin.get(keeper.name)))
    screen = screen_of(home)
    if screen.is_file():
        found.append(Log(subject="agent", path=screen, kind="screen"))
    return found


def _source(packer: Packer, path: Path, number: int) -> None:
    """A file that the template was made from, as it is now. Files of variables are left out: their values are in the spec."""
    if path.suffix not in _TEMPLATES:
        return
    try:
        if path.stat().st_size > _MOST_SOURCE_BYTES:
            packer.lack(f"template {path.name}", "it is too large")
            return
        packer.text(
            f"template/{number}-{path.name}", path.read_text(encoding="utf-8", errors="surrogateescape")
        )
    except OSError as error:
        packer.lack(f"template {path.name}", error.strerror or str(error))


def _discard(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
