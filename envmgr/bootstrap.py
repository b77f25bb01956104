"""The composition root: the only place that chooses implementations."""

from __future__ import annotations

import logging
import os
import secrets as randomness
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio

from envmgr.app.code import fingerprint
from envmgr.app.context import App
from envmgr.app.paths import SOCKET, state_dir
from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.command import CommandAssistant
from envmgr.assistants.hooks import hook_command
from envmgr.config import settings as configuration
from envmgr.config.settings import Settings
from envmgr.config.source import TemplateFiles
from envmgr.config.templates.environment import Secrets
from envmgr.core.reaping import SHARED_DAEMONS
from envmgr.core.reaping import Policy as Spare
from envmgr.drivers import command, scopes
from envmgr.drivers.balancer import program as balancer
from envmgr.drivers.docker import DockerEngine
from envmgr.drivers.ending import boot_id
from envmgr.drivers.gauges import LinuxGauges
from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.drivers.keeper.logfile import LogFile
from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.drivers.tmux.sessions import TmuxTerminals
from envmgr.drivers.trees import FolderWatcher
from envmgr.drivers.watch import FileWatcher
from envmgr.errors import Unobservable
from envmgr.model.agent import Lifecycle
from envmgr.model.ids import AgentId, InstanceId
from envmgr.model.recovery import RecoveryLimits
from envmgr.model.service import LogPolicy
from envmgr.model.spec import AgentSpec, PortsPolicy
from envmgr.protocols.logs import LogWriter
from envmgr.protocols.store import Store, Transaction
from envmgr.runtime import restoring
from envmgr.runtime.adopt import adopt
from envmgr.runtime.archiving.keeping import Archive, Keep
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
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.maintenance.task import Limits
from envmgr.runtime.prevention.prevention import Prevention, PreventionPolicy
from envmgr.runtime.pulse import Pulse
from envmgr.runtime.reaping.reaper import Reaper, Schedule
from envmgr.runtime.rebooting import Rebooting
from envmgr.runtime.recovery.conductor import Conductor
from envmgr.runtime.recovery.ground import GroundWatch
from envmgr.runtime.recovery.rungs import Rungs
from envmgr.runtime.restarting import Restarts
from envmgr.runtime.room import HostLimits
from envmgr.runtime.saga import never
from envmgr.runtime.sampler import Sampler
from envmgr.runtime.steady import anchored
from envmgr.runtime.supervisor import Policy, Supervisor
from envmgr.runtime.watching import Watches
from envmgr.store.series import SqliteSeries
from envmgr.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

_DRAIN_S = 10.0
_KEPT_CHARS = 1 << 18


def package_version() -> str:
    """The installed version; `0+source` when run from files alone."""
    try:
        return version("envmgr")
    except PackageNotFoundError:
        return "0+source"


def local(*, settings: Settings | None = None) -> App:
    """What operations that need no daemon work with."""
    settings = settings or configuration.load().settings
    folder = Path(state_dir())
    return App(
        state_dir=folder,
        worktree_root=(settings.git.worktree_root or folder / "worktrees").expanduser().absolute(),
        version=package_version(),
        templates=TemplateFiles(settings),
        engine=_engine(settings, InstanceId("")),
        find_scopes=scopes.detect,
    )


def _engine(settings: Settings, instance: InstanceId) -> DockerEngine:
    return DockerEngine(instance=instance, host=settings.docker.host, deadline_s=settings.docker.deadline_s)


@asynccontextmanager
async def daemon() -> AsyncIterator[App]:
    """Everything the daemon needs, started first to last and ended last to first.

    Agents that ran are adopted before this yields; its end stops none of them.
    """
    settings = configuration.load().settings
    logging.getLogger().setLevel(settings.log.level)
    app = local(settings=settings)
    app.code = await anyio.to_thread.run_sync(fingerprint)
    store = await SqliteStore.open(app.state_dir / "envmgr.db")
    series = _series(app.state_dir / "series.db", settings)
    terminals = TmuxTerminals(app.state_dir / "tmux.sock", app.state_dir, deadline_s=settings.tmux.deadline_s)
    workspaces = GitWorkspaces(app.state_dir, checkout_deadline_s=settings.git.checkout_deadline_s)
    try:
        instance = await store.write(_instance)
        engine = _engine(settings, instance)
        watch = ContainerWatch(engine, instance, _open_log)
        systems = replace(
            _systems(app.state_dir, store, terminals, workspaces),
            engine=engine,
            watch=watch,
            steady=await store.write(partial(anchored, boot=boot_id(), wall=time.time())),
            series=series,
            gauges=LinuxGauges(),
            scopes=await anyio.to_thread.run_sync(app.find_scopes),
        )
        layout = Layout(
            state_dir=app.state_dir,
            worktree_root=app.worktree_root,
            keep_free_bytes=settings.host.min_free_disk_bytes,
        )
        reach, bus = _crash_point(), Bus()
        performer = Performer(reach=reach)
        supervisor = Supervisor(
            systems, layout, instance, bus=bus, policy=_policy(settings), perform=performer, reach=reach,
            pulse=Pulse(load_per_cpu=settings.health.overload_per_cpu),
        )  # fmt: skip
        async with anyio.create_task_group() as group:
            supervisor.start(group)
            await group.start(watch.run)
            health = Health(supervisor, group)
            archive = Archive(supervisor, group, _archive_policy(settings))
            app.control = Control(supervisor, health, group, reach=reach)
            measures = Rungs(
                supervisor,
                app.control,
                keep_memory_bytes=settings.host.min_free_memory_bytes,
                relieve=lambda: app.leftovers.relieve(),
                reach=reach,
            )
            app.recovery = Conductor(supervisor, measures, _recovery(settings), reach=reach)
            performer.attach(supervisor, health, app.recovery.climb, archive)
            app.recovery.on_opened = Bundles(supervisor, group).begin
            await app.recovery.load()
            restarts = Restarts(
                supervisor, app.control, group, report=app.recovery.report, restarted=app.recovery.restarted
            )
            health.on_end, health.on_hang = restarts.ended, restarts.hung
            health.report = app.recovery.report
            health.keepers = KeeperLoss(
                supervisor, app.control, health, group, report=app.recovery.report
            )  # fmt: skip
            await adopt(
                supervisor, performer, app.control, _rebooting(supervisor, settings), group=group,
                report=app.recovery.report,
            )  # fmt: skip
            group.start_soon(restoring.finish_all, supervisor)
            app.recovery.start(group)
            group.start_soon(Sampler(supervisor, app.recovery.report).run)
            group.start_soon(GroundWatch(supervisor, app.recovery.report).run)
            Prevention(supervisor, _prevention(settings)).start(group)
            watcher = FileWatcher(polls=settings.watch.polling)
            app.drift = DriftLoop(supervisor, app.templates, watcher, environment=dict(os.environ))
            group.start_soon(app.drift.run)
            folders = FolderWatcher(polls=settings.watch.polling)
            group.start_soon(Watches(supervisor, app.control, folders).run)
            group.start_soon(Graves(systems).run)
            group.start_soon(Expiry(supervisor).run)
            group.start_soon(archive.run)
            app.maintenance = _maintenance(supervisor, settings, archive)
            app.reaper = Reaper(supervisor, _reaping(settings), app.maintenance)
            group.start_soon(app.reaper.run)
            if settings.maintenance.enabled:
                group.start_soon(app.maintenance.run)
            app.supervisor, app.stopping, app.started_at = supervisor, anyio.Event(), time.time()
            yield app
            bus.close()
            app.recovery.rest()
            await _drain(supervisor)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await workspaces.drain()
            await terminals.retire()
            await terminals.stop()
            await series.close()
            await store.close()


def _pool(settings: Settings) -> PortsPolicy:
    said = settings.ports
    return PortsPolicy(first=said.first, last=said.last, block=said.block)


def _prevention(settings: Settings) -> PreventionPolicy:
    return PreventionPolicy(
        period_s=settings.prevention.period_s,
        guard_period_s=settings.limits.guard_period_s,
        ports=_pool(settings),
        keep_memory_bytes=settings.host.min_free_memory_bytes,
        keep_disk_bytes=settings.host.min_free_disk_bytes,
    )


def _recovery(settings: Settings) -> RecoveryLimits:
    return RecoveryLimits(
        is_on=settings.recovery.enabled,
        per_hour=settings.recovery.per_hour,
        look_s=settings.recovery.look_s,
        cool_down_s=settings.recovery.cool_down_s,
        close_after_s=settings.recovery.close_after_s,
        patience_s=settings.recovery.patience_s,
        canary_s=settings.recovery.canary_s,
        safe_mode_s=settings.recovery.safe_mode_s,
    )


def _series(path: Path, settings: Settings) -> SqliteSeries:
    return SqliteSeries(
        path,
        raw_s=settings.prevention.raw_hours * 3600,
        minutes_s=settings.prevention.minute_days * 86_400,
        max_bytes=settings.prevention.max_history_bytes,
    )


async def _drain(supervisor: Supervisor) -> None:
    """Let spawns and stops that are under way end; what takes longer is finished by the next daemon."""
    busy = (Lifecycle.SPAWNING, Lifecycle.STOPPING)
    with anyio.move_on_after(_DRAIN_S):
        for actor in supervisor.actors():
            if actor.state.lifecycle in busy:
                await actor.settled()


def _systems(folder: Path, store: Store, terminals: TmuxTerminals, workspaces: GitWorkspaces) -> Systems:
    sockets = HostSockets()

    def hooks(agent: AgentId, generation: int, home: Path) -> Sequence[str]:
        return hook_command(sys.executable, folder / SOCKET, agent=agent, generation=generation, home=home)

    assistants = (CommandAssistant(), ClaudeCodeAssistant())
    remembered = Secrets()
    return Systems(
        store=store,
        workspaces=workspaces,
        terminals=terminals,
        keepers=UnixKeepers(),
        processes=ProcProcesses(sockets),
        sockets=sockets,
        assistants={assistant.kind: assistant for assistant in assistants},
        secrets=partial(_secrets, remembered),
        hook_command=hooks,
        balancer_command=lambda file: (sys.executable, "-I", "-S", balancer.__file__, str(file)),
        execute=_execute,
        open_log=_open_log,
    )


def _open_log(path: Path, policy: LogPolicy, base: int) -> LogWriter:
    return LogFile(str(path), max_bytes=policy.max_bytes, keep=policy.keep, base=base)


def _secrets(remembered: Secrets, spec: AgentSpec, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Blocking only for secrets from files and commands; most specs have none."""
    return remembered.of(spec, {**os.environ, **environment}, Path(spec.repo)) if spec.secrets else {}


async def _execute(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], deadline_s: float
) -> tuple[int, str]:
    try:
        ended = await command.run(argv, cwd=cwd, env=env, deadline_s=deadline_s, in_one=True)
    except Unobservable as error:
        return 124, f"{error.details.get('output', '')}\n{error.message}"
    return ended.code, ended.stdout[-_KEPT_CHARS:]


def _instance(tx: Transaction) -> InstanceId:
    known = tx.get("instance")
    if known is None:
        known = randomness.token_hex(4)
        tx.put("instance", known)
    return InstanceId(known)


def _policy(settings: Settings) -> Policy:
    limits = HostLimits(
        max_agents=settings.host.max_agents,
        min_free_memory_bytes=settings.host.min_free_memory_bytes,
        min_free_disk_bytes=settings.host.min_free_disk_bytes,
    )
    return Policy(limits=limits, ports=_pool(settings), validate=os.environ.get("ENVMGR_VALIDATE") == "1")


def _rebooting(supervisor: Supervisor, settings: Settings) -> Rebooting:
    return Rebooting(
        supervisor,
        boot=boot_id(),
        restores=settings.recovery.after_reboot == "restore",
        at_once=settings.recovery.restore_at_once,
        reach=supervisor.reach,
    )


def _maintenance(supervisor: Supervisor, settings: Settings, archive: Archive) -> Maintenance:
    limits = Limits(
        events_days=settings.maintenance.events_days,
        events_keep=settings.maintenance.events_keep,
        incidents_days=settings.maintenance.incidents_days,
        copies_days=settings.maintenance.copies_days,
        logs_days=settings.maintenance.logs_days,
        log_bytes=settings.maintenance.log_bytes,
        logs_keep=settings.maintenance.logs_keep,
        temp_days=settings.maintenance.temp_days,
        ports_days=settings.maintenance.ports_days,
        free_percent=settings.maintenance.free_percent,
    )
    more = (Archives(archive),)
    return Maintenance(supervisor, limits, period_s=settings.maintenance.period_s, more=more)


def _reaping(settings: Settings) -> Schedule:
    policy = Spare(
        young_s=settings.reaper.young_s,
        grace_s=settings.reaper.grace_s,
        at_most=settings.reaper.at_most,
        shared_daemons=(*SHARED_DAEMONS, *settings.reaper.shared_daemons),
    )
    return Schedule(
        policy=policy,
        is_on=settings.reaper.enabled,
        first_s=settings.reaper.first_s,
        period_s=settings.reaper.period_s,
        again_s=settings.reaper.again_s,
        call_s=settings.reaper.call_s,
        disk_percent=settings.reaper.disk_percent,
        inodes_percent=settings.reaper.inodes_percent,
    )


def _archive_policy(settings: Settings) -> Keep:
    return Keep(
        age_s=settings.archive.keep_days * 86_400.0,
        max_bytes=settings.archive.max_bytes,
        every_s=settings.archive.period_s,
    )


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
