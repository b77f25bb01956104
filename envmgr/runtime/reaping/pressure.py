"""Make room when the disk runs full: caches and copies first, then what stopped agents have allowed to go, oldest first."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.runtime import engine_use, supplies
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.maintenance.task import Limits
from envmgr.runtime.stopping import remove_if_clean
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_TASKS = ("logs", "temp", "copies", "incidents", "archive", "events", "vacuum")
_HOUR = 1.0 / 24
_FUTILE_BYTES = 10_000_000
_REST_S = 3600.0
_TIGHT = Limits(
    events_days=1.0,
    events_keep=10_000,
    incidents_days=7.0,
    copies_days=1.0,  # `undo` of the last day keeps its data
    logs_days=_HOUR,
    log_bytes=1_000_000,
    temp_days=_HOUR,
    free_percent=1.0,
    archive_share=0.25,
)
"""What is kept when there is no room for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fullness:
    """Of one file system, in per cent of what this user may use."""

    path: Path
    disk: float
    inodes: float
    free_bytes: int

    def exceeds(self, disk: float, inodes: float, *, free_bytes: int) -> str:
        """What is short, for people; empty when nothing is. A large disk may be nearly full and have room for all."""
        if self.disk > disk and self.free_bytes < free_bytes:
            return f"the disk of {self.path.name} is {self.disk:.0f} % full ({self.free_bytes / 1e6:.0f} MB free)"
        return (
            f"{self.inodes:.0f} % of the inodes of the disk of {self.path.name} are used"
            if self.inodes > inodes
            else ""
        )


def fullness(path: Path) -> Fullness:
    """Blocking, shortly."""
    while not path.exists():
        path = path.parent
    seen = os.statvfs(path)
    usable = seen.f_blocks - seen.f_bfree + seen.f_bavail
    used = seen.f_blocks - seen.f_bfree
    files = seen.f_files
    return Fullness(
        path=path,
        disk=100.0 * used / usable if usable else 0.0,
        inodes=100.0 * (files - seen.f_ffree) / files if files else 0.0,
        free_bytes=seen.f_bavail * seen.f_frsize,
    )


class Relief:
    """Frees space, step by step, until there is enough.

    Args:
        disk_percent, inodes_percent: Above which there is not.
        free_bytes: With so much there always is, however full the disk.
        look: How full the file system of a path is.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        maintenance: Maintenance,
        *,
        disk_percent: float,
        inodes_percent: float,
        free_bytes: int,
        look: Callable[[Path], Fullness] = fullness,
    ) -> None:
        self._supervisor = supervisor
        self._maintenance = maintenance
        self._disk_percent = disk_percent
        self._inodes_percent = inodes_percent
        self._free_limit_bytes = free_bytes
        self._look = look
        self._was_told = False
        self._rests_until = 0.0

    async def trouble(self) -> str:
        """What is short now; empty when nothing is."""
        layout = self._supervisor.layout
        places = dict.fromkeys((layout.state_dir, layout.worktree_root))
        seen = [await blocking.look("file", 5.0, self._look, place) for place in places]
        found = (
            one.exceeds(self._disk_percent, self._inodes_percent, free_bytes=self._free_limit_bytes)
            for one in seen
        )
        return next((trouble for trouble in found if trouble), "")

    async def make_room(self, *, is_asked: bool = False) -> int:
        """Until it is enough; returns the bytes that were freed. After a round that was in vain it rests: others fill this disk.

        Args:
            is_asked: Somebody has run out of space: begin although the figures do not say so.
        """
        why = await self.trouble() or ("asked for" if is_asked else "")
        if not why:
            self._was_told, self._rests_until = False, 0.0
            return 0
        steady = self._supervisor.systems.steady
        if steady() < self._rests_until and not is_asked:
            return 0
        before = await self._free_bytes()
        steps: list[str] = []
        async with aclosing(self._steps()) as done:
            async for step in done:
                steps.append(step)
                if not await self.trouble() and not is_asked:
                    break
        freed = max(0, await self._free_bytes() - before)
        self._rests_until = steady() + _REST_S if freed < _FUTILE_BYTES else 0.0
        data = {"reason": why, "bytes": freed, "steps": steps, "remains": await self.trouble()}
        if steps or is_asked or not self._was_told:
            await self._supervisor.record(NewEvent(kind="host.room_made", data=data))
        self._was_told = True  # a disk that stays full is no news
        return freed

    async def _free_bytes(self) -> int:
        return (await blocking.look("file", 5.0, self._look, self._supervisor.layout.state_dir)).free_bytes

    async def _steps(self) -> AsyncGenerator[str, None]:
        """What was done, one by one."""
        names = [name for name in _TASKS if name in self._maintenance.names]
        async with aclosing(self._maintenance.work(names, limits=_TIGHT)) as reports:
            async for report in reports:
                if report.done.count or report.done.bytes:
                    yield f"{report.task}: {report.done.count}, {report.done.bytes} bytes"
        for actor in self._stopped():
            if step := await self._shrink(actor):
                yield step

    def _stopped(self) -> Sequence[Actor]:
        """Oldest first."""
        stopped = [
            a
            for a in self._supervisor.actors()
            if a.state.lifecycle is Lifecycle.STOPPED and not a.unfinished
        ]
        return sorted(stopped, key=lambda actor: actor.state.since)

    async def _shrink(self, actor: Actor) -> str:
        """Images built for it, which its next start builds again; its worktree, if its template allows that and nothing is lost."""
        async with actor.busy:
            if actor.state.lifecycle is not Lifecycle.STOPPED:
                return ""
            try:
                inc = await self._supervisor.incarnation(actor)
                gone = [*await _drop_images(inc), *await _drop_worktree(inc)]
            except EnvmgrError as error:
                log.info("not shrunk", extra={"agent": actor.state.id, "why": error.message})
                return ""
        return f"{actor.state.name}: {', '.join(gone)}" if gone else ""


async def _drop_images(inc: Incarnation) -> list[str]:
    use = await engine_use.look(inc)
    if inc.systems.engine is None or use is None or not use.has_images:
        return []
    await supplies.remove_images(inc)
    return ["images built for it"]


async def _drop_worktree(inc: Incarnation) -> list[str]:
    if inc.spec.retention.worktree != "remove-if-clean" or not inc.path.exists():
        return []
    await remove_if_clean(inc)
    return [] if inc.path.exists() else ["its clean worktree"]
