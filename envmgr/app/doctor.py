"""Look whether everything that envmgr stands on is well, with a fix for each finding."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio

from envmgr.aio import oom
from envmgr.app import client, paths, text, views
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.system import Nothing, daemon_status, said, whereabouts
from envmgr.errors import EnvmgrError
from envmgr.model.ids import LABEL_AGENT, LABEL_STATE, AgentId, image_name
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.runtime import tiers

_LOW_DISK_BYTES = 2**30
_ASSISTANTS = {"claude": "claude_code", "codex": "codex", "gemini": "gemini", "opencode": "opencode"}
_OLDEST_TMUX = (3, 2)
_OLDEST_GIT = (2, 36)


@operation(
    "doctor",
    route="GET /api/v1/doctor",
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
    checks += await anyio.to_thread.run_sync(lambda: list(_safe_mode()))
    return views.DoctorView(ok=all(c.ok for c in checks), checks=checks)


def _host_checks(app: App) -> Iterator[views.CheckView]:
    yield _tool("git", ("git", "--version"), _OLDEST_GIT, "Install git: apt-get install git")
    yield _tool("tmux", ("tmux", "-V"), _OLDEST_TMUX, "Install tmux: apt-get install tmux")
    for program, kind in _ASSISTANTS.items():
        found = shutil.which(program) or f"not installed; only the {kind} assistant needs it"
        yield views.CheckView(check=program, ok=True, found=found)
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
    if not status.running or (status.engine == await whereabouts(app) and not status.engine_trouble):
        return [here]
    theirs = status.engine or "none"
    trouble = f" does not answer: {status.engine_trouble}" if status.engine_trouble else ""
    check = views.CheckView(
        check="daemon's engine", ok=not trouble, found=f"{theirs}{trouble}; services in containers run there",
        fix="set DOCKER_HOST as it should be, then `envmgr daemon stop`; the next command starts the daemon with it",
    )  # fmt: skip
    return [here, check]


async def _engine(app: App) -> views.CheckView:
    where = await whereabouts(app)
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
    words = said(*argv)
    digits = "".join(c if c.isdigit() else " " for c in words).split()
    number = tuple(int(part) for part in digits[:2])
    needs = ".".join(map(str, oldest))
    found = f"{words or 'not found'} (needs {needs} or newer)" if number < oldest else words
    return views.CheckView(check=name, ok=number >= oldest, found=found, fix=fix)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


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
            answer = await anyio.to_thread.run_sync(lambda: client.request("GET", "/api/v1/agents").body())
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


def _safe_mode() -> Iterator[views.CheckView]:
    with contextlib.suppress(EnvmgrError):
        state = json.loads(client.request("POST", "/api/v1/safe-mode", {}).body())
        if state["on"]:
            found = f"nothing is spawned, started, restarted or mended by itself: {state['reason']}"
            yield views.CheckView(check="safe mode", ok=False, found=found, fix="envmgr safe-mode off")


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
        agents = views.AgentList.model_validate_json(client.request("GET", "/api/v1/agents").body()).agents
        return [*_troubles(agents), *(check for agent in agents for check in _begun(agent))]
    return []


def _begun(agent: views.AgentView) -> Iterator[views.CheckView]:
    """What an agent has begun itself in the container engine: its own affair while it runs, of nobody's when it is stopped."""
    shown = views.AgentView.model_validate_json(client.request("GET", f"/api/v1/agents/{agent.id}").body())
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
