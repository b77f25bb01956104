"""Room on a disk that runs full: as much as is needed, never what may be missed, and not in vain again and again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from envmgr.model.agent import Lifecycle
from envmgr.model.ids import AgentId
from envmgr.protocols.store import SavedVolume, Snapshot, SnapshotKind
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.maintenance.task import Limits
from envmgr.runtime.reaping.pressure import Fullness, Relief
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over

pytestmark = pytest.mark.anyio
GB = 10**9
FULL = Fullness(path=Path("/disk"), disk=95.0, inodes=1.0, free_bytes=GB)


@dataclass
class Disk:
    """Of which a test says how full it is; `relieved_by` is a file without which it is not."""

    now: Fullness = FULL
    relieved_by: Path | None = None
    looks: list[Path] = field(default_factory=list)

    def look(self, path: Path) -> Fullness:
        self.looks.append(path)
        is_full = self.relieved_by is None or self.relieved_by.exists()
        return self.now if is_full else Fullness(path=path, disk=10.0, inodes=1.0, free_bytes=900 * GB)


@asynccontextmanager
async def relieved(folder: Path, disk: Disk) -> AsyncIterator[tuple[Incarnation, Maintenance, Relief]]:
    async with incarnation(folder) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.RUNNING)
        maintenance = Maintenance(supervisor, Limits())
        relief = Relief(
            supervisor,
            maintenance,
            disk_percent=80.0,
            inodes_percent=70.0,
            free_bytes=20 * GB,
            look=disk.look,
        )
        yield inc, maintenance, relief


def old_log(inc: Incarnation, name: str) -> Path:
    log = inc.home / "logs" / name
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("x" * 1000)
    os.utime(log, (1.0, 1.0))
    return log


async def rounds(inc: Incarnation) -> int:
    events = await inc.systems.store.read(lambda tx: tx.events())
    return sum(event.kind == "host.room_made" for event in events)


@proves("ROOM-010")
async def test_after_room_was_made_maintenance_goes_on(tmp_path: Path) -> None:
    disk = Disk()
    async with relieved(tmp_path, disk) as (inc, maintenance, relief):
        disk.relieved_by = old_log(inc, "web.log.1")
        await relief.make_room()
        assert not disk.relieved_by.exists()

        with anyio.fail_after(5):
            names = [report.task async for report in maintenance.work()]

        assert names == list(maintenance.names)


@proves("ROOM-010")
async def test_who_stops_listening_to_maintenance_keeps_nobody_from_it(tmp_path: Path) -> None:
    async with relieved(tmp_path, Disk()) as (_, maintenance, _relief):
        half = maintenance.work()
        assert (await anext(half)).task == "events"

        with anyio.fail_after(5):
            assert [report.task async for report in maintenance.work(["events"])] == ["events"]

        await half.aclose()


@proves("ROOM-011")
async def test_a_large_disk_that_is_nearly_full_has_room(tmp_path: Path) -> None:
    disk = Disk(now=Fullness(path=Path("/disk"), disk=95.0, inodes=1.0, free_bytes=200 * GB))
    async with relieved(tmp_path, disk) as (inc, _, relief):
        log = old_log(inc, "web.log.1")

        assert await relief.make_room() == 0
        assert (await relief.trouble(), log.exists()) == ("", True)

        disk.now = Fullness(path=Path("/disk"), disk=1.0, inodes=95.0, free_bytes=200 * GB)
        assert "95 % of the inodes" in await relief.trouble()


@proves("ROOM-011")
async def test_what_undo_needs_stays_for_a_day(tmp_path: Path) -> None:
    async with relieved(tmp_path, Disk()) as (inc, _, relief):
        for days in (0.9, 1.1):
            copy = Snapshot(
                id=0, agent=AgentId("gone0000"), name="otter", repo="/r", ref="refs/envmgr/gone0000/1-1", branch="b",
                head="h", path="p", at=inc.systems.now() - days * 86_400, spec=inc.spec, kind=SnapshotKind.REMOVAL,
                folder=f"removal-{days}", volumes=(SavedVolume(name="data", file="data.tar", bytes=4),),
            )  # fmt: skip
            await inc.systems.store.write(lambda tx, copy=copy: tx.add_snapshot(copy))  # type: ignore[misc]

        await relief.make_room()

        known = await inc.systems.store.read(lambda tx: tx.snapshots())
        assert [one.folder for one in known if one.volumes] == ["removal-0.9"]


@proves("ROOM-011")
async def test_a_round_in_vain_is_repeated_only_when_somebody_asks(tmp_path: Path) -> None:
    async with relieved(tmp_path, Disk()) as (inc, _, relief):
        await relief.make_room()
        assert await rounds(inc) == 1
        log = old_log(inc, "web.log.1")

        await relief.make_room()
        assert log.exists()
        await relief.make_room(is_asked=True)

        assert not log.exists()
        assert await rounds(inc) == 2
