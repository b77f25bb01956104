"""The daemon: everything it needs, started first to last and ended last to first."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.app.code import fingerprint
from envmgr.app.context import App
from envmgr.bootstrap import coordination, observing, outside, policies
from envmgr.bootstrap.local import engine as container_engine
from envmgr.bootstrap.local import local
from envmgr.bootstrap.own_command import own_command
from envmgr.config import settings as configuration
from envmgr.config.settings import Settings
from envmgr.drivers.ending import boot_id
from envmgr.drivers.gauges import LinuxGauges
from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.drivers.tmux.sessions import TmuxTerminals
from envmgr.drivers.trees import FolderWatcher
from envmgr.drivers.watch import FileWatcher
from envmgr.model.agent import Lifecycle
from envmgr.runtime import restoring
from envmgr.runtime.adopt import adopt
from envmgr.runtime.archiving.keeping import Archive
from envmgr.runtime.bundle import Bundles
from envmgr.runtime.bus import Bus
from envmgr.runtime.container_watch import ContainerWatch
from envmgr.runtime.control import Control
from envmgr.runtime.drift import DriftLoop
from envmgr.runtime.effects import Performer
from envmgr.runtime.expiry import Expiry
from envmgr.runtime.graves import Graves
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Layout, Systems
from envmgr.runtime.keeper_loss import KeeperLoss
from envmgr.runtime.maintenance.archives import Archives
from envmgr.runtime.maintenance.keys import OldKeys
from envmgr.runtime.maintenance.leavings import OldLeavings
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.maintenance.trail import Trail as AuditTrail
from envmgr.runtime.prevention.prevention import Prevention
from envmgr.runtime.pulse import Pulse
from envmgr.runtime.reaping.reaper import Reaper
from envmgr.runtime.rebooting import Rebooting
from envmgr.runtime.recovery.conductor import Conductor
from envmgr.runtime.recovery.ground import GroundWatch
from envmgr.runtime.recovery.rungs import Rungs
from envmgr.runtime.restarting import Restarts
from envmgr.runtime.saga import never
from envmgr.runtime.sampler import Sampler
from envmgr.runtime.steady import anchored
from envmgr.runtime.supervisor import Supervisor
from envmgr.runtime.watching import Watches
from envmgr.services.audit.recording import AuditedStore
from envmgr.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

_DRAIN_S = 10.0


@asynccontextmanager
async def daemon() -> AsyncIterator[App]:
    """Agents that ran are adopted before this yields; its end stops none of them."""
    settings = configuration.load().settings
    logging.getLogger().setLevel(settings.log.level)
    app = local(settings=settings)
    app.door = policies.door(settings)
    app.code = await anyio.to_thread.run_sync(fingerprint)
    async with _systems(app, settings) as systems, anyio.create_task_group() as group:
        supervisor, performer = await _supervisor(app, systems, settings)
        app.coordination = await coordination.coordination(supervisor, settings)
        supervisor.start(group)
        await group.start(systems.container_watch.run)
        archive = Archive(supervisor, group, policies.archive(settings))
        await _adopt(app, supervisor, performer, archive, settings, group=group)
        coordination.start(app.coordination, supervisor, settings, group=group)
        observing.start(app.coordination.changes, supervisor, settings, group)
        _look_after(app, supervisor, archive, settings, group=group)
        app.supervisor, app.stopping, app.started_at = supervisor, anyio.Event(), time.time()
        yield app
        supervisor.bus.close()
        app.conductor.rest()
        await _drain(supervisor)
        await coordination.end(app.coordination)
        group.cancel_scope.cancel()


@asynccontextmanager
async def _systems(app: App, settings: Settings) -> AsyncIterator[Systems]:
    """The outside world; what is held open of it is let go of at the end, whatever went wrong."""
    told: set[str] = set()
    opened = await SqliteStore.open(app.state_dir / "envmgr.db")
    store = app.recorder = AuditedStore(opened, told, behind_s=settings.audit.behind_s)
    series = outside.series(app.state_dir / "series.db", settings)
    terminals = TmuxTerminals(app.state_dir / "tmux.sock", app.state_dir, deadline_s=settings.tmux.deadline_s)
    workspaces = GitWorkspaces(app.state_dir, checkout_deadline_s=settings.git.checkout_deadline_s)
    try:
        instance = await store.write(outside.instance)
        engine = container_engine(settings, instance)
        commands = await anyio.to_thread.run_sync(own_command, app.state_dir, sys.executable)
        yield replace(
            outside.systems(app.state_dir, store, terminals, workspaces, told=told),
            command_folder=commands,
            engine=engine,
            watch=ContainerWatch(engine, instance, outside.open_log),
            steady=await store.write(partial(anchored, boot=boot_id(), wall=time.time())),
            series=series,
            gauges=LinuxGauges(),
            scopes=await anyio.to_thread.run_sync(app.find_scopes),
        )
    finally:
        with anyio.CancelScope(shield=True):
            await workspaces.drain()
            await terminals.retire()
            await terminals.stop()
            await series.close()
            await store.close()


async def _supervisor(app: App, systems: Systems, settings: Settings) -> tuple[Supervisor, Performer]:
    layout = Layout(
        state_dir=app.state_dir,
        worktree_root=app.worktree_root,
        keep_free_bytes=settings.host.min_free_disk_bytes,
    )
    reach = _crash_point()
    performer = Performer(reach=reach)
    supervisor = Supervisor(
        systems,
        layout,
        await systems.store.write(outside.instance),
        bus=Bus(),
        policy=policies.host(settings),
        perform=performer,
        reach=reach,
        pulse=Pulse(load_per_cpu=settings.health.overload_per_cpu),
    )
    return supervisor, performer


async def _adopt(
    app: App,
    supervisor: Supervisor,
    performer: Performer,
    archive: Archive,
    settings: Settings,
    *,
    group: TaskGroup,
) -> None:
    """Who notices failures and who mends them are put together first: what is adopted may need both."""
    reach = supervisor.reach
    health = Health(supervisor, group)
    app.control = Control(supervisor, health, group, reach=reach)
    measures = Rungs(
        supervisor,
        app.control,
        keep_memory_bytes=settings.host.min_free_memory_bytes,
        relieve=lambda: app.leftovers.relieve(),
        reach=reach,
    )
    app.recovery = Conductor(supervisor, measures, policies.recovery(settings), reach=reach)
    report = app.recovery.report
    performer.attach(supervisor, health, app.recovery.climb, archive)
    app.recovery.on_opened = Bundles(supervisor, group).begin
    await app.recovery.load()
    restarts = Restarts(supervisor, app.control, group, report=report, restarted=app.recovery.restarted)
    health.on_end, health.on_hang, health.report = restarts.ended, restarts.hung, report
    health.keepers = KeeperLoss(
        supervisor, app.control, health, group, report=report, restarted=app.recovery.restarted
    )
    rebooting = Rebooting(
        supervisor,
        boot=boot_id(),
        restores=settings.recovery.after_reboot == "restore",
        at_once=settings.recovery.restore_at_once,
        over=app.recovery.over,
        reach=reach,
    )
    await adopt(supervisor, performer, app.control, rebooting, group=group, report=report)


def _look_after(
    app: App, supervisor: Supervisor, archive: Archive, settings: Settings, *, group: TaskGroup
) -> None:
    """The loops of the daemon. Each owns its boundary: a bad turn of one ends neither it nor the others."""
    tasks.start(group, "finishing restores", restoring.finish_all, supervisor)
    report = app.conductor.report
    app.conductor.start(group)
    Prevention(supervisor, policies.prevention(settings)).start(group)
    polls = settings.watch.polling
    app.drift = DriftLoop(supervisor, app.templates, FileWatcher(polls=polls), environment=dict(os.environ))
    app.maintenance = Maintenance(
        supervisor,
        policies.maintenance(settings),
        period_s=settings.maintenance.period_s,
        more=(
            Archives(archive),
            AuditTrail(app.coordinator.audit.keeping),
            OldKeys(),
            OldLeavings(settings.sessions.keep_days),
        ),
    )
    app.reaper = Reaper(supervisor, policies.reaping(settings), app.maintenance)
    loops = {
        "sampling": Sampler(supervisor, report).run,
        "watching worktrees": GroundWatch(supervisor, report).run,
        "looking for drift": app.drift.run,
        "watching files": Watches(supervisor, app.services, FolderWatcher(polls=polls)).run,
        "visiting graves": Graves(supervisor.systems).run,
        "expiry": Expiry(supervisor).run,
        "the archive": archive.run,
        "reaping": app.reaper.run,
    }
    if settings.maintenance.enabled:
        loops["maintenance"] = app.maintenance.run
    for what, loop in loops.items():
        tasks.keep(group, what, loop)


async def _drain(supervisor: Supervisor) -> None:
    """Let spawns and stops that are under way end; what takes longer is finished by the next daemon."""
    busy = (Lifecycle.SPAWNING, Lifecycle.STOPPING)
    with anyio.move_on_after(_DRAIN_S):
        for actor in supervisor.actors():
            if actor.state.lifecycle in busy:
                await actor.settled()


def _crash_point() -> Callable[[str], None]:
    """`ENVMGR_CRASH_AT=POINT` kills the daemon there, `ENVMGR_CRASH_LOG=FILE` lists the points that are reached."""
    wanted, listing = os.environ.get("ENVMGR_CRASH_AT"), os.environ.get("ENVMGR_CRASH_LOG")
    if not wanted and not listing:
        return never

    def reach(point: str) -> None:
        if listing:
            with Path(listing).open("a", encoding="utf-8") as file:
                file.write(f"{point}\n")
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
