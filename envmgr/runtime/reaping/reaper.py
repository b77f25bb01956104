"""Look at everything, judge it, and remove what two looks have found to be nobody's (docs/adr/0042).

A pass that a crash cuts off has at most left a thing half removed, which the next pass finds and ends.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import anyio

from envmgr.core import reaping
from envmgr.core.reaping import Policy
from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.resource import Judged, Kind, Sighting, Verdict
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.reaping import engine
from envmgr.runtime.reaping.files import Files
from envmgr.runtime.reaping.ground import Ground, Sort, records, survey
from envmgr.runtime.reaping.ports import Ports
from envmgr.runtime.reaping.pressure import Relief
from envmgr.runtime.reaping.processes import Processes
from envmgr.runtime.reaping.sessions import Sessions
from envmgr.runtime.reaping.worktrees import Worktrees
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)


def _sorts() -> tuple[Sort, ...]:
    return (
        Processes(),
        engine.Containers(),
        engine.Networks(),
        Ports(),
        Sessions(),
        engine.Images(),
        engine.Volumes(),
        Files(),
        Worktrees(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the reaper works.

    Attributes:
        is_on: Whether it removes anything by itself.
        first_s: After the start of the daemon, and never less than the grace.
        again_s: Between the two looks of a pass that a person asked for.
        call_s: What one removal may take.
        disk_percent, inodes_percent: In use, above which room is made.
    """

    policy: Policy = Policy()
    is_on: bool = True
    first_s: float = 300.0
    period_s: float = 300.0
    again_s: float = 2.0
    call_s: float = 30.0
    disk_percent: float = 80.0
    inodes_percent: float = 70.0
    free_bytes: int = 20 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """What a pass came to.

    Attributes:
        removed: What is gone.
        failed: (what stayed, why).
        judged: Everything as it was seen before.
        left: Orphans that were not touched: only a person may, or too many for one pass.
    """

    removed: tuple[Judged, ...] = ()
    failed: tuple[tuple[Judged, str], ...] = ()
    judged: tuple[Judged, ...] = ()
    left: tuple[Judged, ...] = ()

    @property
    def freed_bytes(self) -> int:
        """As far as it was counted; memory of processes is not."""
        return sum(
            one.sighting.size_bytes or 0 for one in self.removed if one.sighting.kind is not Kind.PROCESS
        )


@dataclass(slots=True)
class _Memory:
    """What earlier passes saw; a restart of the daemon forgets it, and the grace begins anew."""

    first_seen: dict[str, float] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)


class Reaper:
    """The loop, and the doors for those who ask."""

    def __init__(self, supervisor: Supervisor, schedule: Schedule, maintenance: Maintenance) -> None:
        self._supervisor = supervisor
        self._schedule = schedule
        self._relief = Relief(
            supervisor,
            maintenance,
            disk_percent=schedule.disk_percent,
            inodes_percent=schedule.inodes_percent,
            free_bytes=schedule.free_bytes,
        )
        self._sorts = {sort.kind: sort for sort in _sorts()}
        self._memory = _Memory()
        self._turn = anyio.Lock()

    async def run(self) -> None:
        """Until cancelled. To be started when adoption has finished."""
        await anyio.sleep(max(self._schedule.first_s, self._schedule.policy.grace_s))
        while True:
            try:
                await self.work()
                if self._schedule.is_on:
                    await self._relief.make_room()
            except EnvmgrError as error:  # looked at again soon
                log.warning("leftovers not looked for", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("leftovers not looked for")
            await anyio.sleep(self._schedule.period_s)

    async def work(self) -> Reaped:
        """One pass of the loop: remove what an earlier one has seen, remember the rest, tell what a person must see to."""
        async with self._turn:
            judged = await self._look()
            now = self._supervisor.systems.steady()  # the grace does not shrink when somebody sets the clock
            due = reaping.due(judged, self._memory.first_seen, now=now, policy=self._policy)
            self._memory.first_seen = reaping.again(judged, self._memory.first_seen, now=now)
            await self._tell(judged)
            return await self._remove(due if self._schedule.is_on else (), judged)

    async def audit(self, kinds: Collection[Kind] = ()) -> Sequence[Judged]:
        """What there is, with verdicts; changes nothing."""
        return await self._look(kinds)

    async def reap(self, names: Collection[str] = (), *, is_dry: bool = False) -> Reaped:
        """Two looks now, a short grace apart, and the removal of what both found; of these names only, if any are given."""
        async with self._turn:
            first = {one.sighting.key for one in await self._look() if one.is_removable}
            await anyio.sleep(self._schedule.again_s)
            judged = reaping.named(await self._look(), names)
            seen = [one for one in judged if one.is_removable and one.sighting.key in first]
            due = reaping.in_order(seen)[: self._policy.at_most]
            if is_dry:
                return Reaped(judged=tuple(judged), left=tuple(reaping.leaked(judged)), removed=())
            return await self._remove(due, judged)

    async def relieve(self) -> int:
        """Somebody has run out of disk: remove orphans, then whatever may go early; returns the bytes that were freed."""
        reaped = await self.reap()
        return reaped.freed_bytes + await self._relief.make_room(is_asked=True)

    async def trouble(self) -> str:
        """Which disk is too full; empty when none is."""
        return await self._relief.trouble()

    @property
    def _policy(self) -> Policy:
        shared = {glob for actor in self._supervisor.actors() for glob in actor.spec.shared_daemons}
        return reaping.sparing(self._schedule.policy, sorted(shared))

    async def _look(self, kinds: Collection[Kind] = ()) -> list[Judged]:
        ground = await survey(self._supervisor, self._policy)
        found: list[Sighting] = []
        for kind, sort in self._sorts.items():
            if not kinds or kind in kinds:
                found += await sort.look(ground)
        known = await records(self._supervisor, {seen.agent for seen in found})
        judged = [reaping.judge(seen, known, ground.policy) for seen in found]
        return [await self._weighed(one, ground) for one in judged]

    async def _weighed(self, one: Judged, ground: Ground) -> Judged:
        """What seems to be an orphan is looked at more closely."""
        if one.verdict is not Verdict.ORPHAN:
            return one
        try:
            with anyio.fail_after(self._schedule.call_s):
                seen = await self._sorts[one.sighting.kind].weigh(one.sighting, ground)
        except (EnvmgrError, TimeoutError) as error:
            log.info("not weighed", extra={"what": one.sighting.name, "why": str(error)})
            seen = replace(one.sighting, unsure="it could not be looked at closely")
        known = await records(self._supervisor, {seen.agent})
        return reaping.judge(seen, known, ground.policy)

    async def _remove(self, due: Sequence[Judged], judged: Sequence[Judged]) -> Reaped:
        removed: list[Judged] = []
        failed: list[tuple[Judged, str]] = []
        ground = await survey(self._supervisor, self._policy)
        for one in due:
            why = await self._remove_one(one, ground)
            if why:
                failed.append((one, why))
            else:
                removed.append(one)
                self._memory.first_seen.pop(one.sighting.key, None)
            await self._record(one, why)
        gone = {one.sighting.key for one in removed}
        left = tuple(one for one in reaping.leaked(judged) if one.sighting.key not in gone)
        return Reaped(removed=tuple(removed), failed=tuple(failed), judged=tuple(judged), left=left)

    async def _remove_one(self, one: Judged, ground: Ground) -> str:
        """Why it stayed; empty when it is gone. Its owner may have come back since it was looked at."""
        kind, sort = one.sighting.kind, self._sorts[one.sighting.kind]
        known = await records(self._supervisor, {one.sighting.agent})
        if not reaping.judge(one.sighting, known, ground.policy).is_removable:
            return "its owner is back"
        self._supervisor.reach(f"reap-before-{kind.value}")
        try:
            with anyio.fail_after(self._schedule.call_s):
                await sort.remove(one.sighting, ground)
        except TimeoutError:
            return f"not removed within {self._schedule.call_s:g} s"
        except EnvmgrError as error:
            return error.message
        self._supervisor.reach(f"reap-after-{kind.value}")
        return ""

    async def _record(self, one: Judged, why: str) -> None:
        seen = one.sighting
        data: dict[str, object] = {"kind": seen.kind.value, "name": seen.name, "reason": one.reason}
        if seen.size_bytes is not None:
            data["bytes"] = seen.size_bytes
        event = NewEvent(kind="reaper.removed", agent=seen.agent, data=data)
        if why:
            event = NewEvent(kind="reaper.failed", agent=seen.agent, data={**data, "error": why})
        await self._supervisor.record(event)

    async def _tell(self, judged: Sequence[Judged]) -> None:
        """Once of each thing that only a person removes."""
        kept = [one for one in judged if one.is_quarantined]
        for one in kept:
            if one.sighting.key not in self._memory.told:
                data = {
                    "kind": one.sighting.kind.value,
                    "name": one.sighting.name,
                    "reason": one.reason,
                    "next": one.sighting.advice,
                }
                await self._supervisor.record(
                    NewEvent(kind="reaper.quarantined", agent=one.sighting.agent, data=data)
                )
        self._memory.told = {one.sighting.key for one in kept}
