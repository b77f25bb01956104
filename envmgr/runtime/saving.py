"""Save an agent's worktree and volumes as one snapshot, all of one moment.

Before anything is made a note says what there may be (`saving/...` in the store); the note goes in the transaction that records the
snapshot. What a crash leaves is found by its note at the next start: containers go on, files and ref go away.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

import anyio

from envmgr.aio import blocking
from envmgr.errors import Conflict, EnvmgrError, Unavailable, Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.store import SavedVolume, Snapshot, SnapshotKind, Transaction
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime import freezing, volumes
from envmgr.runtime.incarnation import Incarnation, Layout, Systems
from envmgr.runtime.saga import never

log = logging.getLogger(__name__)

_NOTES = "saving/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a snapshot under way may have made, and whom it keeps waiting."""

    repo: str
    ref: str
    folder: str
    paused: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{_NOTES}{self.folder}"


async def save(
    inc: Incarnation,
    *,
    kind: SnapshotKind,
    label: str = "",
    reason: str = "",
    only: Collection[str] | None = None,
    reach: Callable[[str], None] = never,
) -> Snapshot:
    """Take a snapshot of a running or stopped agent; containers that mount its volumes are paused meanwhile.

    Args:
        label: A name; the caller has made sure that the agent has no other snapshot of it.
        reason: What is about to be done, in words that finish "before ...".
        only: Volumes to save; None for all that the agent has.

    Raises:
        Conflict: There is no worktree, or it holds what git cannot save.
        Unavailable: The disk has no room (with numbers), or a system failed; nothing of the snapshot remains.
    """
    worktree = await worktree_of(inc)
    there = await volumes.present(inc) if only is None or only else ()
    names = [name for name in there if only is None or name in only]
    note = new_note(inc)
    await _make_room(inc, inc.layout.snapshots / note.folder, names)
    note = replace(note, paused=tuple(await volumes.users(inc, names)))
    await inc.systems.store.write(lambda tx: put(tx, note))
    reach("save-noted")
    try:
        head = await inc.systems.workspaces.resolve(inc.repo, f"refs/heads/{worktree.branch}")
        saved = await _copy(inc, worktree, note, names, reach)
        snapshot = replace(draft(inc, worktree, note, head, kind=kind), label=label, reason=reason)
        if saved:
            snapshot = replace(snapshot, folder=note.folder, volumes=saved)
        return await inc.systems.store.write(lambda tx: record(tx, snapshot, note))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await give_up(inc.systems, inc.layout, note)
        raise


def file_of(layout: Layout, snapshot: Snapshot, volume: SavedVolume) -> Path:
    """Where one of its volumes lies."""
    return layout.snapshots / snapshot.folder / volume.file


async def discard(systems: Systems, layout: Layout, snapshot: Snapshot) -> None:
    """Delete a snapshot: record first, so that a crash leaves no record of what is half gone; then files and ref."""
    note = Note(
        repo=snapshot.repo, ref=snapshot.ref, folder=snapshot.folder or f"{snapshot.agent}-{snapshot.id}"
    )

    def forget(tx: Transaction) -> None:
        put(tx, note)
        tx.delete_snapshot(snapshot.id)

    await systems.store.write(forget)
    await _forget(systems, layout, note)


async def drop_volumes(systems: Systems, layout: Layout, snapshot: Snapshot) -> None:
    """Delete the copies of its volumes; the files stay."""
    if not snapshot.volumes:
        return
    note = Note(repo="", ref="", folder=snapshot.folder)

    def forget(tx: Transaction) -> None:
        put(tx, note)
        tx.replace_snapshot(replace(snapshot, folder="", volumes=()))

    await systems.store.write(forget)
    await _forget(systems, layout, note)


async def notes(systems: Systems) -> Sequence[Note]:
    """Of snapshots under way; at start-up those that a crash cut off."""
    found = await systems.store.read(lambda tx: dict(tx.under(_NOTES)))
    read = (json.loads(text) for text in found.values())
    return [Note(**{**each, "paused": tuple(each["paused"])}) for each in read]


async def give_up(systems: Systems, layout: Layout, note: Note) -> bool:
    """Undo a snapshot that is not whole; whether that is done. Otherwise its note stays."""
    try:
        await freezing.thaw(systems, note.paused)
        await _forget(systems, layout, note)
    except EnvmgrError as error:
        log.error("snapshot not tidied up", extra={"ref": note.ref, "why": error.message})
        return False
    return True


async def worktree_of(inc: Incarnation) -> Worktree:
    """Raises Conflict when there is none, Unobservable when that cannot be told."""
    match await inc.systems.workspaces.look(inc.repo, inc.path, inc.owner):
        case Present(worktree):
            return worktree
        case Absent():
            raise Conflict(f"{inc.name} has no worktree", hint=f"Start it once: `envmgr start {inc.name}`.")
        case Unknown(reason):
            raise Unobservable(f"cannot see {inc.name}'s worktree: {reason}", hint="Run `envmgr doctor`.")


def new_note(inc: Incarnation) -> Note:
    """`<generation>-<milliseconds>`; two snapshots of one agent never share a millisecond: each takes longer."""
    stamp = f"{inc.generation}-{int(inc.systems.now() * 1000)}"
    return Note(repo=inc.spec.repo, ref=f"refs/envmgr/{inc.id}/{stamp}", folder=f"{inc.id}-{stamp}")


def put(tx: Transaction, note: Note) -> None:
    """Before anything that it tells of is made."""
    tx.put(note.key, json.dumps(asdict(note)))


async def _make_room(inc: Incarnation, folder: Path, names: Sequence[str]) -> None:
    if not names:
        return
    needed = await volumes.total_bytes(inc, names)
    free = await blocking.look("file", 5.0, _make_folder, folder)
    spare = inc.layout.keep_free_bytes
    if needed + spare > free:
        await blocking.act("file", shutil.rmtree, folder, ignore_errors=True)
        raise Unavailable(
            f"the volumes of {inc.name} need {needed // 10**6} MB; {free // 10**6} MB are free where snapshots are kept,"
            f" and {spare // 10**6} MB must remain",
            hint="Delete snapshots (`envmgr snapshot list`), or leave the volumes out with --no-volumes.",
            details={"needed_bytes": needed, "free_bytes": free},
        )


def _make_folder(folder: Path) -> int:
    """Free bytes in it. What databases hold is for the owner only."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    return shutil.disk_usage(folder).free


async def _copy(
    inc: Incarnation, worktree: Worktree, note: Note, names: Sequence[str], reach: Callable[[str], None]
) -> tuple[SavedVolume, ...]:
    """Files and volumes side by side, while nobody writes to the volumes."""
    saved: list[SavedVolume] = []
    failures: list[Exception] = []

    async def files() -> None:
        try:
            await inc.systems.workspaces.snapshot(worktree, note.ref)
        except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
            failures.append(error)
            group.cancel_scope.cancel()

    async with freezing.frozen(inc, note.paused):
        reach("save-paused")
        async with anyio.create_task_group() as group:
            group.start_soon(files)
            try:
                for name in names:
                    saved.append(await _copy_volume(inc, name, inc.layout.snapshots / note.folder))
                    reach("save-volume")
            except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
                failures.append(error)
                group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    reach("save-copied")
    return tuple(saved)


async def _copy_volume(inc: Incarnation, name: str, folder: Path) -> SavedVolume:
    target = folder / f"{quote(name, safe='')}.tar"
    try:
        image = await volumes.save_to(inc, name, target)
        size = await blocking.act("file", _harden, target)
    except OSError as error:
        raise Unavailable(
            f"the copy of volume {name} cannot be written: {error.strerror}",
            hint="Make room where snapshots are kept (`envmgr snapshot list`), then try again.",
        ) from error
    return SavedVolume(name=name, file=target.name, bytes=size, image=image)


def _harden(file: Path) -> int:
    """Durable and private before a record says that it is there."""
    file.chmod(0o600)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        return os.fstat(opened.fileno()).st_size


def draft(inc: Incarnation, worktree: Worktree, note: Note, head: str, *, kind: SnapshotKind) -> Snapshot:
    """What will be recorded of a snapshot of the files."""
    return Snapshot(
        id=0,
        agent=inc.id,
        name=inc.name,
        repo=inc.spec.repo,
        ref=note.ref,
        branch=worktree.branch,
        head=head,
        path=str(worktree.path),
        at=inc.systems.now(),
        spec=inc.spec,
        kind=kind,
    )


def record(tx: Transaction, snapshot: Snapshot, note: Note) -> Snapshot:
    """It is whole; returned with its number."""
    number = tx.add_snapshot(snapshot)
    tx.drop(note.key)
    return replace(snapshot, id=number)


async def _forget(systems: Systems, layout: Layout, note: Note) -> None:
    """Files, ref and note of a snapshot that is none (any more)."""
    await blocking.act("file", shutil.rmtree, layout.snapshots / note.folder, ignore_errors=True)
    if note.ref and await anyio.Path(note.repo).exists():
        repo = await systems.workspaces.find(Path(note.repo))
        await systems.workspaces.drop_snapshot(repo, note.ref)
    await systems.store.write(lambda tx: tx.drop(note.key))
