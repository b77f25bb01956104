"""What is forgotten and given back with time, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from envmgr.errors import UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Diagnosis, Evidence, FailureClass, Incident, Part, Rung
from envmgr.model.lease import PortLease
from envmgr.protocols.store import SavedVolume, Snapshot, SnapshotKind, Transaction
from envmgr.runtime import restoring
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.maintenance.maintenance import Maintenance, Report
from envmgr.runtime.maintenance.task import Done, Limits, Order
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over

pytestmark = pytest.mark.anyio
_DAY_S = 86400.0


@asynccontextmanager
async def upkeep(
    folder: Path, limits: Limits | None = None, *, lifecycle: Lifecycle = Lifecycle.STOPPED
) -> AsyncIterator[tuple[Incarnation, Maintenance]]:
    async with incarnation(folder) as inc:
        supervisor, _ = await take_over(inc, lifecycle)
        yield inc, Maintenance(supervisor, limits or Limits())


async def did(maintenance: Maintenance, *names: str, is_dry: bool = False) -> Sequence[Report]:
    return [report async for report in maintenance.work(names, is_dry=is_dry)]


async def only(maintenance: Maintenance, name: str, *, is_dry: bool = False) -> Report:
    (report,) = await did(maintenance, name, is_dry=is_dry)
    assert not report.error
    return report


def age(path: Path, days: float) -> None:
    at = time.time() - days * _DAY_S
    os.utime(path, (at, at))


# --- copies of volumes --------------------------------------------------------------------------------------------


async def saved(inc: Incarnation, kind: SnapshotKind, *, days: float, agent: str = "") -> int:
    """A snapshot with a volume's copy, taken so many days ago; its number."""
    snapshot = Snapshot(
        id=0, agent=AgentId(agent or inc.id), name="otter", repo=str(inc.repo.root), ref="refs/envmgr/0tter000/1-1",
        branch="b", head="h", path="p", at=inc.systems.now() - days * _DAY_S, spec=inc.spec, kind=kind,
        folder=f"{kind.value}-{days}", volumes=(SavedVolume(name="data", file="data.tar", bytes=4),),
    )  # fmt: skip
    folder = anyio.Path(inc.layout.snapshots / snapshot.folder)
    await folder.mkdir(parents=True)
    await (folder / "data.tar").write_text("data")
    return await inc.systems.store.write(lambda tx: tx.add_snapshot(snapshot))


@proves("DATA-043", "MAINT-003")
async def test_copies_of_removals_and_restores_go_after_a_week_and_nothing_else(tmp_path: Path) -> None:
    async with upkeep(tmp_path) as (inc, maintenance):
        for kind in SnapshotKind:
            await saved(inc, kind, days=6.9)
            await saved(inc, kind, days=7.1)
        needed = await saved(inc, SnapshotKind.REMOVAL, days=8, agent="half0000")
        await restoring.begin(replace(inc, id=AgentId("half0000")), restoring.Restoring(snapshot=needed))

        report = await only(maintenance, "copies")

        left = {s.folder for s in await inc.systems.store.read(lambda tx: tx.snapshots()) if s.volumes}
        folders = {path.name async for path in anyio.Path(inc.layout.snapshots).iterdir()}
        gone = {"removal-7.1", "restore-7.1"}
        made = {f"{kind.value}-{days}" for kind in SnapshotKind for days in (6.9, 7.1)} | {"removal-8"}
        assert left == folders == made - gone
        assert (report.done.count, report.done.bytes) == (2, 8)


# --- records ------------------------------------------------------------------------------------------------------


def _tell(tx: Transaction, *, at: float, count: int) -> None:
    for _ in range(count):
        tx.append(NewEvent(kind="x", data={"text": "y" * 200}), at=at)


@proves("MAINT-001", "MAINT-002")
async def test_events_go_by_age_but_not_the_newest_and_a_dry_run_only_counts(tmp_path: Path) -> None:
    async with upkeep(tmp_path, Limits(events_days=1.0, events_keep=3)) as (inc, maintenance):
        old = inc.systems.now() - 2 * _DAY_S
        await inc.systems.store.write(partial(_tell, at=old, count=12))

        dry = await only(maintenance, "events", is_dry=True)
        assert dry.done.count == 9
        assert len(await inc.systems.store.read(lambda tx: tx.events())) == 12

        assert (await only(maintenance, "events")).done.count == 9
        events = await inc.systems.store.read(lambda tx: tx.events())
        assert [event.kind for event in events] == ["x", "x", "x", "maintenance.done"]
        assert events[-1].data == {"task": "events", "count": 9, "bytes": 0}


def _incident(*, closed_days: float | None, now: float, bundle: str) -> Incident:
    diagnosis = Diagnosis(
        failure=FailureClass.CRASH, entry=Rung.SERVICE, confidence=1.0,
        evidence=(Evidence(source="exit", text="1"),), fingerprint="f",
    )  # fmt: skip
    return Incident(
        agent=AgentId("0tter000"), name="otter", generation=1, part=Part.SERVICE, subject="web", words="it ended",
        diagnosis=diagnosis, opened_at=now - 200 * _DAY_S, seen_at=now - 200 * _DAY_S, bundle=bundle,
        closed_at=None if closed_days is None else now - closed_days * _DAY_S,
    )  # fmt: skip


@proves("MAINT-004")
async def test_incidents_go_with_their_bundles_long_after_they_were_closed(tmp_path: Path) -> None:
    async with upkeep(tmp_path) as (inc, maintenance):
        now = inc.systems.now()
        inc.layout.incidents.mkdir()
        for name, closed_days in (("open", None), ("recent", 89.0), ("old", 91.0)):
            incident = _incident(closed_days=closed_days, now=now, bundle=f"{name}.json")
            await inc.systems.store.write(lambda tx, one=incident: tx.add_incident(one))  # type: ignore[misc]
        for name in ("open", "recent", "old", "stray"):
            path = inc.layout.incidents / f"{name}.json"
            path.write_text("{}")
            age(path, 100.0)
        (inc.layout.incidents / "fresh.json").write_text("being written")

        report = await only(maintenance, "incidents")

        assert report.done.count == 1
        left = await inc.systems.store.read(lambda tx: tx.incidents())
        assert {one.bundle for one in left} == {"open.json", "recent.json"}
        assert {path.name for path in inc.layout.incidents.iterdir()} == {
            "open.json",
            "recent.json",
            "fresh.json",
        }


def _lease(agent: str, port: int, *, held: bool) -> PortLease:
    return PortLease(agent=AgentId(agent), service="web", name=str(port), port=port, block=port, held=held)


@proves("MAINT-005")
@pytest.mark.parametrize(
    ("lifecycle", "held", "days", "stays"),
    [
        (Lifecycle.STOPPED, False, 8.0, False),
        (Lifecycle.STOPPED, False, 6.0, True),
        (Lifecycle.STOPPED, True, 8.0, True),
        (Lifecycle.RUNNING, False, 8.0, True),
    ],
)
async def test_blocks_of_agents_that_have_been_stopped_for_long_are_for_others(
    tmp_path: Path,
    lifecycle: Lifecycle,
    *,
    held: bool,
    days: float,
    stays: bool,
) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, actor = await take_over(inc, lifecycle)
        actor.state = replace(actor.state, since=inc.systems.now() - days * _DAY_S)
        await inc.systems.store.write(lambda tx: tx.save_leases([_lease(inc.id, 20100, held=held)]))

        report = await only(Maintenance(supervisor, Limits()), "ports")

        assert bool(await inc.systems.store.read(lambda tx: tx.leases())) is stays
        assert report.done.count == (0 if stays else 1)


# --- files --------------------------------------------------------------------------------------------------------


@proves("MAINT-006")
async def test_logs_that_nobody_rotates_are_rotated_and_old_ones_go(tmp_path: Path) -> None:
    async with upkeep(tmp_path, Limits(log_bytes=1000, logs_keep=2)) as (inc, maintenance):
        daemon, keeper = inc.layout.state_dir / "daemon.log", inc.home / "keeper.log"
        (inc.home / "logs").mkdir(parents=True)
        old, recent = inc.home / "logs" / "web.log.1", inc.home / "logs" / "web.log.2"
        for path in (daemon, keeper, old, recent):
            path.write_text("x" * 2000)
        (inc.home / "logs" / "web.log").write_text("current")
        age(old, 15.0)
        age(recent, 13.0)
        age(inc.home / "logs" / "web.log", 99.0)
        with keeper.open("a") as writer:
            await did(maintenance, "logs")
            writer.write("goes on\n")

        assert daemon.read_text() == ""
        assert (inc.layout.state_dir / "daemon.log.1").stat().st_size == 2000
        assert keeper.read_text() == "goes on\n"
        assert {path.name for path in (inc.home / "logs").iterdir()} == {"web.log", "web.log.2"}

        for _ in range(4):
            daemon.write_text("y" * 2000)
            await did(maintenance, "logs")
        names = {path.name for path in inc.layout.state_dir.glob("daemon.log*")}
        assert names == {"daemon.log", "daemon.log.1", "daemon.log.2"}


@proves("MAINT-007")
async def test_half_written_files_go_when_they_are_old_and_never_below_a_worktree(tmp_path: Path) -> None:
    async with upkeep(tmp_path) as (inc, maintenance):
        worktree = inc.path
        (inc.layout.snapshots / "s").mkdir(parents=True)
        inc.home.mkdir(parents=True)
        old, fresh = inc.layout.snapshots / "s" / "data.tar.part", inc.home / "settings.json.new"
        own = worktree / "notes.tmp"
        for path in (old, fresh, own):
            path.write_text("half")
        age(old, 2.0)
        age(own, 2.0)

        report = await only(maintenance, "temp")

        assert (report.done.count, report.done.bytes) == (1, 4)
        assert (old.exists(), fresh.exists(), own.exists()) == (False, True, True)


# --- the database -------------------------------------------------------------------------------------------------


@proves("MAINT-008")
async def test_the_database_gives_back_what_deleted_rows_left_and_nobody_waits_for_it(tmp_path: Path) -> None:
    limits = Limits(events_days=1.0, events_keep=10)
    async with upkeep(tmp_path, limits) as (inc, maintenance):
        store, file = inc.systems.store, tmp_path / "state.db"
        await store.write(partial(_tell, at=1.0, count=20_000))
        before = file.stat().st_size
        waits: list[float] = []

        async def write_on() -> None:
            while True:
                begun = time.perf_counter()
                await store.write(lambda tx: tx.put("k", "v"))
                waits.append(time.perf_counter() - begun)

        async with anyio.create_task_group() as group:
            group.start_soon(write_on)
            reports = await did(maintenance, "events", "vacuum")
            group.cancel_scope.cancel()

        assert [report.error for report in reports] == ["", ""]
        room = await store.read(lambda tx: tx.room())
        assert room.free_pages <= 10
        await store.close()
        assert file.stat().st_size < before / 4
        assert sorted(waits)[int(len(waits) * 0.95)] < 0.1


# --- all of them --------------------------------------------------------------------------------------------------


@proves("MAINT-001")
async def test_a_task_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async with upkeep(tmp_path) as (_, maintenance):
        with pytest.raises(UsageError, match="no task tidy"):
            await did(maintenance, "tidy")


class Broken:
    """A task of another area, with a bug."""

    name, says = "broken", "fail"

    async def do(self, order: Order) -> Done:
        raise ZeroDivisionError("so it is")


@proves("MAINT-001")
async def test_a_task_that_fails_keeps_no_other_from_its_work(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.STOPPED)
        maintenance = Maintenance(supervisor, Limits(), more=(Broken(),))

        reports = {report.task: report for report in await did(maintenance)}

        assert list(reports) == list(maintenance.names)
        assert [name for name, report in reports.items() if report.error] == ["broken"]
        assert list(reports)[-1] == "vacuum"
