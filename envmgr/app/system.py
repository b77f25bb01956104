"""Operations on envmgr itself: daemon, version, doctor, down."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio

from envmgr.aio import blocking, oom
from envmgr.app import client, paths, text, views
from envmgr.app.agents import stop_agents
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, option
from envmgr.app.tail import Tail
from envmgr.core.counting import counted
from envmgr.errors import ConfigError, EnvmgrError, Unavailable
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import LABEL_AGENT, LABEL_STATE, AgentId, image_name
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.runtime import sharing, tiers

_LOW_DISK_BYTES = 2**30
_OLDEST_TMUX = (3, 2)
_OLDEST_GIT = (2, 36)


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


@operation("daemon.info", route="GET /v1/daemon", gives=views.DaemonView, text=_daemon_text)
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
        engine=await _whereabouts(app),
        engine_trouble=await _engine_trouble(app),
        pressure=await app.reaper.trouble() if app.reaper else "",
    )


async def _whereabouts(app: App) -> str:
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
    graves = await systems.store.read(lambda tx: tx.tombstones())
    sessions = (grave.name for grave in graves if grave.kind == "session")
    return [*found, *(f"session {name} is closed as soon as tmux answers" for name in sessions)]


@operation(
    "daemon.shutdown",
    route="POST /v1/daemon/stop",
    gives=views.Done,
    text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE,
)
async def shutdown(ask: Nothing, app: App) -> views.Done:
    """End the daemon after this answer; agents go on."""
    if app.stopping is not None:
        app.stopping.set()
    return views.Done(message="the daemon ends; agents go on")


@operation(
    "daemon.start", route="POST /v1/daemon/start", gives=views.DaemonView, text=_daemon_text, touch=Touch.WRITE,
    command="daemon start", is_local=True,
)  # fmt: skip
async def daemon_start(ask: Nothing, app: App) -> views.DaemonView:
    """Start the daemon if it does not run."""
    await anyio.to_thread.run_sync(client.ensure)
    return await daemon_status(ask, app)


@operation(
    "daemon.stop", route="POST /v1/daemon/end", gives=views.Done, text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE, command="daemon stop", is_local=True,
)  # fmt: skip
async def daemon_stop(ask: Nothing, app: App) -> views.Done:
    """Stop the daemon; agents go on, and the next command finds them again."""
    ran = await anyio.to_thread.run_sync(client.shut_down)
    return views.Done(message="the daemon has ended; agents go on" if ran else "the daemon did not run")


@operation(
    "daemon.status", route="GET /v1/daemon/status", gives=views.DaemonView, text=_daemon_text,
    command="daemon status", is_local=True,
)  # fmt: skip
async def daemon_status(ask: Nothing, app: App) -> views.DaemonView:
    """Tell whether the daemon runs."""
    try:
        answer = await anyio.to_thread.run_sync(lambda: client.request("GET", "/v1/daemon").body())
    except Unavailable:
        return views.DaemonView(running=False, state_dir=str(app.state_dir))
    return views.DaemonView.model_validate_json(answer)


@operation(
    "daemon.logs", route="GET /v1/daemon/logs", gives=views.LogLine, text=lambda item, style: item.text,
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
    "down", route="POST /v1/down", gives=views.Done, text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE, command="down",
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
    "version", route="GET /v1/version", gives=views.VersionView,
    text=lambda result, style: f"envmgr {result.envmgr} (Python {result.python}, {result.git}, {result.tmux})\n",
    command="version", is_local=True,
)  # fmt: skip
async def version(ask: Nothing, app: App) -> views.VersionView:
    """Print the versions of envmgr, Python, git and tmux."""
    return views.VersionView(
        envmgr=app.version,
        python=platform.python_version(),
        git=await anyio.to_thread.run_sync(_said, "git", "--version") or "no git",
        tmux=await anyio.to_thread.run_sync(_said, "tmux", "-V") or "no tmux",
    )


# --- doctor --------------------------------------------------------------------------------------------------


@operation(
    "doctor",
    route="GET /v1/doctor",
    gives=views.DoctorView,
    text=text.checks,
    command="doctor",
    is_local=True,
)
async def doctor(ask: Nothing, app: App) -> views.DoctorView:
    """Check what envmgr stands on, and say how to mend each finding."""
    checks = await anyio.to_thread.run_sync(lambda: list(_host_checks(app)))
    checks += await _engines(app)
    scopes = await anyio.to_thread.run_sync(app.find_scopes)
    checks.append(
        views.CheckView(check="limits", ok=True, found=f"containers: the engine; {tiers.described(scopes)}")
    )
    checks += [check async for check in _daemon_checks(app)]
    return views.DoctorView(ok=all(c.ok for c in checks), checks=checks)


def _host_checks(app: App) -> Iterator[views.CheckView]:
    yield _tool("git", ("git", "--version"), _OLDEST_GIT, "Install git: apt-get install git")
    yield _tool("tmux", ("tmux", "-V"), _OLDEST_TMUX, "Install tmux: apt-get install tmux")
    claude = shutil.which("claude")
    yield views.CheckView(
        check="claude", ok=True, found=claude or "not installed; only the claude_code assistant needs it"
    )
    yield views.CheckView(check="sqlite", ok=True, found=sqlite3.sqlite_version)
    yield _folder(app.state_dir)
    yield _socket_path(app.state_dir)
    free = shutil.disk_usage(_existing(app.worktree_root)).free
    yield views.CheckView(
        check="disk", ok=free > _LOW_DISK_BYTES, found=f"{free // 2**20} MB free for worktrees",
        fix="Remove agents you no longer need: envmgr ls, envmgr rm NAME",
    )  # fmt: skip
    yield _snapshots(app.state_dir / "snapshots")


def _snapshots(folder: Path) -> views.CheckView:
    """What copies of volumes take; the files of worktrees are in their repositories."""
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
    found = f"{text.size(sum(sizes))} of volumes: envmgr snapshot list" if sizes else "none with volumes"
    return views.CheckView(check="snapshots", ok=True, found=found)


async def _engines(app: App) -> list[views.CheckView]:
    """The one that a command here would use, and the daemon's, when that is another one or does not answer."""
    here, status = await _engine(app), await daemon_status(Nothing(), app)
    if not status.running or (status.engine == await _whereabouts(app) and not status.engine_trouble):
        return [here]
    theirs = status.engine or "none"
    trouble = f" does not answer: {status.engine_trouble}" if status.engine_trouble else ""
    check = views.CheckView(
        check="daemon's engine", ok=not trouble, found=f"{theirs}{trouble}; services in containers run there",
        fix="set DOCKER_HOST as it should be, then `envmgr daemon stop`; the next command starts the daemon with it",
    )  # fmt: skip
    return [here, check]


async def _engine(app: App) -> views.CheckView:
    where = await _whereabouts(app)
    match await app.engine.look():
        case Present(facts):
            found = f"Docker {facts.version}, API {facts.api}, cgroup v{facts.cgroup}, {facts.storage}, at {where}"
            return views.CheckView(check="engine", ok=True, found=found)
        case Absent():
            return views.CheckView(
                check="engine", ok=True, found="none; only services in containers need one"
            )
        case Unknown(reason):
            return views.CheckView(
                check="engine", ok=False, found=reason,
                fix="start Docker, and see that you may use it: docker version; only services in containers need it",
            )  # fmt: skip


def _tool(name: str, argv: tuple[str, ...], oldest: tuple[int, int], fix: str) -> views.CheckView:
    said = _said(*argv)
    digits = "".join(c if c.isdigit() else " " for c in said).split()
    number = tuple(int(part) for part in digits[:2])
    needs = ".".join(map(str, oldest))
    found = f"{said or 'not found'} (needs {needs} or newer)" if number < oldest else said
    return views.CheckView(check=name, ok=number >= oldest, found=found, fix=fix)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _folder(path: Path) -> views.CheckView:
    if not path.exists():
        return views.CheckView(check="state folder", ok=True, found=f"{path} (made at the first start)")
    mode = path.stat().st_mode & 0o777
    private = path.stat().st_uid == os.getuid() and not mode & 0o077
    return views.CheckView(
        check="state folder", ok=private, found=f"{path} mode {mode:o}", fix=f"chmod 700 {path}"
    )


def _socket_path(path: Path) -> views.CheckView:
    length = len(str(path / paths.SOCKET).encode())
    return views.CheckView(
        check="socket path", ok=length <= 100, found=f"{length} bytes",
        fix="Set ENVMGR_STATE_DIR to a shorter folder: Unix socket paths end at 107 bytes",
    )  # fmt: skip


async def _daemon_checks(app: App) -> AsyncIterator[views.CheckView]:
    status = await daemon_status(Nothing(), app)
    pid = await anyio.to_thread.run_sync(client.holder)
    if not status.running and pid is not None:
        yield views.CheckView(
            check="daemon", ok=False, found=f"pid {pid} holds the lock and does not answer",
            fix=f"kill {pid} (agents go on; the next command starts a new daemon)",
        )  # fmt: skip
        return
    same = not status.running or status.version == app.version
    found = (
        f"runs, pid {status.pid}, version {status.version}"
        if status.running
        else "does not run; starts when needed"
    )
    yield views.CheckView(
        check="daemon", ok=same, found=found, fix="envmgr daemon stop; the next command starts this version"
    )
    if status.running and status.pid is not None:
        yield await anyio.to_thread.run_sync(_shield, status.pid)
    for trouble in status.troubles:
        yield views.CheckView(
            check="terminals", ok=False, found=trouble,
            fix=f"look at the server: tmux -S {app.state_dir}/tmux.sock list-sessions; if it is stopped, `kill -CONT` its pid",
        )  # fmt: skip
    if status.pressure:
        yield views.CheckView(
            check="room", ok=False, found=status.pressure,
            fix="envmgr audit-resources, envmgr reap, envmgr maintain; then envmgr rm NAME for agents that nobody needs",
        )  # fmt: skip
    for one in status.shared:
        yield _share(one)
    if status.running:
        for check in await anyio.to_thread.run_sync(_agent_checks):
            yield check
        for check in await _images(app):
            yield check


def _shield(daemon: int) -> views.CheckView:
    """Whether the kernel would end who supervises when memory runs out."""
    score = oom.score(daemon) or 0
    if score < 0:
        found = f"the supervisor stays (score {score}); services go first, then assistants"
    else:
        found = (
            f"the supervisor is not shielded (score {score}): that needs root or CAP_SYS_RESOURCE;"
            " services go first, then assistants"
        )
    return views.CheckView(check="out of memory", ok=True, found=found)


async def _images(app: App) -> list[views.CheckView]:
    """Built for agents that are no more, as when one was in use at the removal."""
    match await app.engine.images({LABEL_STATE: str(app.state_dir)}):
        case Present(found) if found:
            answer = await anyio.to_thread.run_sync(lambda: client.request("GET", "/v1/agents").body())
            known = {agent.id for agent in views.AgentList.model_validate_json(answer).agents}
        case _:
            return []
    # Those of shared services and with a tag of the template's are for whoever comes next.
    left = [
        image.name
        for image in found
        if (owner := image.labels.get(LABEL_AGENT, "")) not in known
        and not owner.startswith("sh")
        and image.name.startswith(("sha256:", image_name(AgentId(owner), "")))
    ]
    if not left:
        return []
    names = " ".join(
        name.removeprefix("sha256:")[:12] if name.startswith("sha256:") else name for name in left
    )
    return [
        views.CheckView(
            check="images", ok=False, found=f"built for agents that are no more: {names}",
            fix=f"docker image rm {names}",
        )
    ]  # fmt: skip


def _share(one: views.SharedView) -> views.CheckView:
    """Without holders it must not run; what it keeps in the engine is the person's to remove."""
    if one.holders:
        found = f"in {one.repo} for {', '.join(one.holders)}"
    else:
        kept = f"; its volumes: docker volume ls -f name=envmgr-{one.id}" if one.volumes else ""
        found = f"in {one.repo}, {'still runs for nobody' if one.runs else 'used by nobody'}{kept}"
    return views.CheckView(
        check=f"{one.service} (shared)", ok=bool(one.holders) or not one.runs, found=found,
        fix="envmgr daemon stop; the next command ends it",
    )  # fmt: skip


def _agent_checks() -> list[views.CheckView]:
    with contextlib.suppress(EnvmgrError):
        agents = views.AgentList.model_validate_json(client.request("GET", "/v1/agents").body()).agents
        return [*_troubles(agents), *(check for agent in agents for check in _begun(agent))]
    return []


def _begun(agent: views.AgentView) -> Iterator[views.CheckView]:
    """What an agent has begun itself in the container engine: its own affair while it runs, of nobody's when it is stopped."""
    shown = views.AgentView.model_validate_json(client.request("GET", f"/v1/agents/{agent.id}").body())
    mortal = [one for one in shown.begun if not one.kept and one.kind != "volume"]
    if not shown.begun:
        return
    found = ", ".join(f"{one.kind} {one.name}{' (kept)' if one.kept else ''}" for one in shown.begun)
    yield views.CheckView(
        check=agent.name, ok=agent.lifecycle != "stopped" or not mortal, found=f"started by the agent: {found}",
        fix=f"envmgr start {agent.name} && envmgr stop {agent.name}, or docker rm them",
    )  # fmt: skip


def _troubles(agents: list[views.AgentView]) -> Iterator[views.CheckView]:
    fixes: dict[str, Callable[[views.AgentView], str]] = {
        "error": lambda a: f"envmgr why {a.name}",
        "running": lambda a: f"envmgr why {a.name}; envmgr logs {a.name}",
    }
    for agent in agents:
        if agent.conditions and all(one.type == "Drifted" for one in agent.conditions):
            # Nothing is broken: edits of a template wait for whoever made them.
            yield views.CheckView(check=agent.name, ok=True, found=text.note(agent))
        elif agent.lifecycle in fixes and (agent.conditions or agent.lifecycle == "error"):
            yield views.CheckView(
                check=agent.name,
                ok=False,
                found=text.note(agent) or agent.reason,
                fix=fixes[agent.lifecycle](agent),
            )
