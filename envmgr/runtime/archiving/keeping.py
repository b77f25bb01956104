"""Archive sessions as they end, and forget old entries; and what may be done with entries."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import blocking, tasks
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import saving
from envmgr.runtime.actor import Actor
from envmgr.runtime.archiving import manifest as manifests
from envmgr.runtime.archiving.gathering import archive, read_marks
from envmgr.runtime.archiving.manifest import Manifest, Missing
from envmgr.runtime.incarnation import Incarnation, Layout, Systems
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_READ_S = 10.0
_REMOVAL_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long entries stay. Pinned ones always do.

    Attributes:
        max_bytes: Of all files below the archive's folder; the oldest entries go first.
        every_s: Seconds between two looks at what a crash, or a silent git, has kept from being archived.
    """

    age_s: float = 30 * 86400.0
    max_bytes: int = 5 * 2**30
    every_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One of the archive's. Its name for people is `AGENT@GENERATION`."""

    snapshot: Snapshot
    manifest: Manifest

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.snapshot.name}@{self.snapshot.generation}"


class Archive:
    """Sessions that have ended are archived in the background; nobody waits for it but a start or a removal that comes at once."""

    def __init__(self, supervisor: Supervisor, group: TaskGroup, keep: Keep) -> None:
        self._supervisor, self._group, self._keep = supervisor, group, keep

    async def run(self) -> None:
        """Until cancelled: archive what no daemon was there to archive. What is too old is for maintenance to see to."""
        try:
            await self._sweep_strays()
        except EnvmgrError as error:  # maintenance comes again
            log.warning("archive not swept", extra={"why": error.message})
        while True:
            for actor in self._supervisor.actors():
                self.ended(actor)
            await anyio.sleep(self._keep.every_s)

    def ended(self, actor: Actor) -> None:
        """Its session is over: archive it soon, unless that was done, or it has begun another one meanwhile."""
        if _is_over(actor):
            tasks.start(self._group, "archiving", self._soon, actor)

    async def _soon(self, actor: Actor) -> None:
        async with actor.busy:
            if not actor.is_gone and _is_over(actor):
                inc = await self._supervisor.incarnation(actor)
                if inc.generation > (await read_marks(inc)).generation:
                    await self._archive(actor, inc, cause="")

    async def before_removal(self, actor: Actor, inc: Incarnation, *, cause: str) -> None:
        """What its owner has done since it stopped counts, too. The caller holds `actor.busy`; this never fails."""
        with anyio.move_on_after(_REMOVAL_S) as scope:
            await self._archive(actor, inc, cause=cause)
        if scope.cancelled_caught:
            await self._tell(inc, f"it took longer than {_REMOVAL_S:.0f} s")

    async def _archive(self, actor: Actor, inc: Incarnation, *, cause: str) -> None:
        try:
            made = await archive(inc, actor.state, cause=cause, reach=self._supervisor.reach)
            for old in await entries_of(inc.systems):
                is_same = (old.agent, old.generation) == (made.agent, made.generation)
                if is_same and old.id != made.id and not old.is_pinned:
                    await discard(inc.systems, inc.layout, old)
        except Exception as error:  # noqa: BLE001 - no stop and no removal fails because of a record of it
            why = error.message if isinstance(error, EnvmgrError) else f"{type(error).__name__}: {error}"
            await self._tell(inc, why)

    async def _tell(self, inc: Incarnation, why: str) -> None:
        log.warning("session not archived", extra={"agent": inc.id, "why": why})
        text = f"the session of generation {inc.generation} was not archived: {why}"
        await self._supervisor.record(
            NewEvent(kind="notice", agent=inc.id, generation=inc.generation, data={"text": text})
        )

    async def tidy(self, *, share: float = 1.0) -> tuple[int, int]:
        """Remove entries that are too old or too many, and what a crash left of others; how many went, and their bytes.

        Args:
            share: Of the usual age and size, when the disk is full.
        """
        systems, layout = self._supervisor.systems, self._supervisor.layout
        await self._sweep_strays()
        known = sorted(await entries_of(systems), key=lambda s: s.at, reverse=True)
        total, before_at = 0, systems.now() - self._keep.age_s * share
        await self._forget_checkpoints(before_at)
        gone = gone_bytes = 0
        for snapshot in known:
            size = (await _entry(layout, snapshot)).manifest.bytes
            total += size
            if not snapshot.is_pinned and (snapshot.at < before_at or total > self._keep.max_bytes * share):
                await discard(systems, layout, snapshot)
                gone, gone_bytes = gone + 1, gone_bytes + size
        return gone, gone_bytes

    async def _sweep_strays(self) -> None:
        """What a crash kept from being recorded, or cut off while it was deleted."""
        systems = self._supervisor.systems
        # In this order: what is there and neither being made nor recorded later on is nobody's.
        folders = await blocking.look("archive", _READ_S, _folders, self._supervisor.layout)
        begun = {note.folder for note in await saving.notes(systems)}
        known = {snapshot.folder for snapshot in await entries_of(systems)}
        await blocking.act("archive", _sweep, folders, begun | known)

    async def _forget_checkpoints(self, before_at: float) -> None:
        """Of agents that are gone, and have not come back by `undo` in all this time."""
        systems = self._supervisor.systems
        for snapshot in await systems.store.read(lambda tx: tx.snapshots()):
            is_old = snapshot.kind is SnapshotKind.CHECKPOINT and snapshot.at < before_at
            if is_old and self._supervisor.actor(snapshot.agent) is None:
                await saving.discard(systems, self._supervisor.layout, snapshot)


def _is_over(actor: Actor) -> bool:
    state = actor.state
    return state.lifecycle is Lifecycle.STOPPED and state.generation > 0 and not state.holds


async def entries_of(systems: Systems) -> Sequence[Snapshot]:
    """Records of all entries, oldest first."""
    known = await systems.store.read(lambda tx: tx.snapshots())
    return [s for s in known if s.kind is SnapshotKind.ARCHIVE]


async def entries(systems: Systems, layout: Layout) -> Sequence[Entry]:
    """All of them, oldest first."""
    return [await _entry(layout, snapshot) for snapshot in await entries_of(systems)]


async def _entry(layout: Layout, snapshot: Snapshot) -> Entry:
    """What cannot be read says so, and can be deleted like the others."""
    folder = layout.archive / snapshot.folder
    try:
        manifest = await blocking.look("archive", _READ_S, manifests.read, folder)
    except EnvmgrError as error:
        manifest = _unreadable(snapshot, error.message)
    return Entry(snapshot=snapshot, manifest=manifest)


def _unreadable(snapshot: Snapshot, why: str) -> Manifest:
    return Manifest(
        name=snapshot.name,
        agent=snapshot.agent,
        generations=(snapshot.generation, snapshot.generation),
        at=snapshot.at,
        reason=snapshot.reason,
        template=snapshot.spec.template,
        assistant=snapshot.spec.assistant.kind,
        repo=snapshot.repo,
        branch=snapshot.branch,
        head=snapshot.head,
        ref=snapshot.ref if snapshot.head else "",
        missing=(Missing(part="its files", why=why),),
    )


async def pin(systems: Systems, snapshot: Snapshot, *, is_pinned: bool) -> Snapshot:
    """Keep it until a person removes it, or no longer."""
    changed = replace(snapshot, is_pinned=is_pinned)
    await systems.store.write(lambda tx: tx.replace_snapshot(changed))
    return changed


async def discard(systems: Systems, layout: Layout, snapshot: Snapshot) -> None:
    """Record first, so that a crash leaves no record of what is half gone; then the ref, then the files."""
    await saving.discard(systems, layout, snapshot)
    await blocking.act("archive", shutil.rmtree, layout.archive / snapshot.folder, ignore_errors=True)


def _folders(layout: Layout) -> list[Path]:
    return list(layout.archive.iterdir()) if layout.archive.is_dir() else []


def _sweep(folders: Sequence[Path], owned: Collection[str]) -> None:
    """Delete those of entries that a crash kept from being recorded, or cut off while they were deleted."""
    for folder in folders:
        if folder.name.removeprefix(".") not in owned:
            shutil.rmtree(folder, ignore_errors=True)
