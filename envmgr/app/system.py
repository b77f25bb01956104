"""Operations on envmgr itself: daemon, version, down."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import AsyncIterator

import anyio

from envmgr.aio import blocking
from envmgr.app import client, paths, text, views
from envmgr.app.agents import stop_agents
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, option
from envmgr.app.tail import Tail
from envmgr.core.counting import counted
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.observe import Unknown
from envmgr.model.principal import Scope
from envmgr.runtime import sharing


class Nothing(Ask):
    """Takes nothing."""


class Down(Ask):
    """How much to end."""

    agents: bool = option("Stop all agents first; without it they go on", default=False)


class Follow(Ask):
    """How much of the log."""

    follow: bool = option("Go on as it grows", short="-f", default=False)
    lines: int = option("Lines from the end to begin with", short="-l", default=100, ge=0, le=100_000)


def _daemon_text(result: views.DaemonView, style: text.Style) -> str:
    if not result.running:
        return f"the daemon does not run (state in {result.state_dir})\n"
    return (
        f"the daemon runs: pid {result.pid}, version {result.version}, {counted(result.agents, 'agent')}, "
        f"since {style.age(result.started_at)}\n  state  {result.state_dir}\n  socket {result.socket}\n"
    )


@operation("daemon.info", route="GET /api/v1/daemon", gives=views.DaemonView, text=_daemon_text)
async def info(ask: Nothing, app: App) -> views.DaemonView:
    """Describe the daemon that answers."""
    return views.DaemonView(
        running=True,
        pid=os.getpid(),
        version=app.version,
        state_dir=str(app.state_dir),
        socket=str(app.state_dir / paths.SOCKET),
        started_at=app.started_at,
        agents=len(app.agents.actors()),
        troubles=await _troubles_of_systems(app),
        shared=await _shared(app),
        code=app.code,
        engine=await whereabouts(app),
        engine_trouble=await _engine_trouble(app),
        pressure=await app.reaper.trouble() if app.reaper else "",
    )


async def whereabouts(app: App) -> str:
    """Where the container engine is looked for."""
    try:
        place = await app.engine.whereabouts()
    except ConfigError as error:
        return error.message
    return f"{place.url} ({place.source})" if place else ""


async def _engine_trouble(app: App) -> str:
    """As the daemon sees it. Only a knock: with no containers about, the engine's client is never loaded."""
    match await app.engine.knock():
        case Unknown(reason):
            return reason
    return ""


async def _shared(app: App) -> list[views.SharedView]:
    names = {actor.state.id: actor.state.name for actor in app.agents.actors()}
    shares = await app.agents.systems.store.read(sharing.everything)
    return [
        views.SharedView(
            service=share.service,
            repo=share.repo,
            runs=share.is_up,
            holders=sorted(names.get(AgentId(holder), holder) for holder in share.holders),
            volumes=share.keeps,
            id=share.id,
        )
        for share in shares
    ]


async def _troubles_of_systems(app: App) -> list[str]:
    """What the daemon's own systems do not answer or still owe."""
    systems = app.agents.systems
    found = []
    match await systems.terminals.panes():
        case Unknown(reason):
            found.append(f"tmux does not answer: {reason}")
    if app.coordination is not None and (trouble := app.coordination.audit.seals.trouble):
        found.append(f"the audit trail: {trouble}; see `envmgr audit --verify`")
    graves = await systems.store.read(lambda tx: tx.tombstones())
    sessions = (grave.name for grave in graves if grave.kind == "session")
    return [*found, *(f"session {name} is closed as soon as tmux answers" for name in sessions)]


@operation(
    "daemon.shutdown",
    route="POST /api/v1/daemon/stop",
    gives=views.Done,
    text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE,
    scope=Scope.ADMIN,
)
async def shutdown(ask: Nothing, app: App) -> views.Done:
    """End the daemon after this answer; agents go on."""
    if app.stopping is not None:
        app.stopping.set()
    return views.Done(message="the daemon ends; agents go on")


@operation(
    "daemon.start", route="POST /api/v1/daemon/start", gives=views.DaemonView, text=_daemon_text, touch=Touch.WRITE,
    command="daemon start", is_local=True,
)  # fmt: skip
async def daemon_start(ask: Nothing, app: App) -> views.DaemonView:
    """Start the daemon if it does not run."""
    await anyio.to_thread.run_sync(client.ensure)
    return await daemon_status(ask, app)


@operation(
    "daemon.stop", route="POST /api/v1/daemon/end", gives=views.Done, text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE, command="daemon stop", is_local=True,
)  # fmt: skip
async def daemon_stop(ask: Nothing, app: App) -> views.Done:
    """Stop the daemon; agents go on, and the next command finds them again."""
    ran = await anyio.to_thread.run_sync(client.shut_down)
    return views.Done(message="the daemon has ended; agents go on" if ran else "the daemon did not run")


@operation(
    "daemon.status", route="GET /api/v1/daemon/status", gives=views.DaemonView, text=_daemon_text,
    command="daemon status", is_local=True,
)  # fmt: skip
async def daemon_status(ask: Nothing, app: App) -> views.DaemonView:
    """Tell whether the daemon runs."""
    try:
        answer = await anyio.to_thread.run_sync(lambda: client.request("GET", "/api/v1/daemon").body())
    except Unavailable:
        return views.DaemonView(running=False, state_dir=str(app.state_dir))
    return views.DaemonView.model_validate_json(answer)


@operation(
    "daemon.logs", route="GET /api/v1/daemon/logs", gives=views.LogLine, text=lambda item, style: item.text,
    command="daemon logs", is_local=True,
)  # fmt: skip
async def daemon_logs(ask: Follow, app: App) -> AsyncIterator[views.LogLine]:
    """Print the daemon's log."""
    tail = Tail("daemon", app.state_dir / paths.LOG, ask.lines)
    yield views.LogLine(service="daemon", text=await blocking.look("file", 5.0, tail.more))
    while ask.follow:
        await anyio.sleep(0.1)
        if piece := await blocking.look("file", 5.0, tail.more):
            yield views.LogLine(service="daemon", text=piece)


@operation(
    "down", route="POST /api/v1/down", gives=views.Done, text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE, command="down", scope=Scope.ADMIN,
)  # fmt: skip
async def down(ask: Down, app: App) -> views.Done:
    """End the daemon; with --agents all agents are stopped first, verified."""
    actors = [a for a in app.agents.actors() if not _is_over(a.state)]
    if ask.agents:
        await stop_agents(actors, app)
    await shutdown(Nothing(), app)
    count = counted(len(actors), "agent")
    goes = "goes" if len(actors) == 1 else "go"
    stopped = f"stopped {count}; " if ask.agents else f"{count} {goes} on; "
    return views.Done(message=f"{stopped}the daemon ends")


def _is_over(state: AgentState) -> bool:
    """Nothing of it is left to stop; an error whose steps were taken back stays one, for people to read."""
    return state.lifecycle is Lifecycle.STOPPED or (state.lifecycle is Lifecycle.ERROR and not state.holds)


@operation(
    "version", route="GET /api/v1/version", gives=views.VersionView,
    text=lambda result, style: f"envmgr {result.envmgr} (Python {result.python}, {result.git}, {result.tmux})\n",
    command="version", is_local=True,
)  # fmt: skip
async def version(ask: Nothing, app: App) -> views.VersionView:
    """Print the versions of envmgr, Python, git and tmux."""
    return views.VersionView(
        envmgr=app.version,
        python=platform.python_version(),
        git=await anyio.to_thread.run_sync(said, "git", "--version") or "no git",
        tmux=await anyio.to_thread.run_sync(said, "tmux", "-V") or "no tmux",
    )


def said(*argv: str) -> str:
    """What a program prints about itself; empty when it is not there or takes longer than 5 s. Blocking."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
