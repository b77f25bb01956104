"""Find what envmgr left behind: processes, listening ports, sockets, tmux servers, worktrees, and things in the engine.

Looks at the system itself, never at envmgr's own records, so that a wrong record cannot hide a leak.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from envmgr.model.ids import LABEL_KEEP, LABEL_STATE, is_compose_project

STATE_VARIABLE = "ENVMGR_STATE_DIR"
PORTS = range(20000, 30000)
_ENGINE_S = 30.0
_PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One thing that is still there.

    Attributes:
        kind: `process`, `listener`, `tmux`, `socket`, `worktree`, `container`, `network`, `volume` or `image`; or
            `unknown`, when the engine did not answer.
        what: Enough to find it by hand: pid and command, address, path, or name.
    """

    kind: str
    what: str


def audit(*roots: Path, repositories: Iterable[Path] = (), engine: bool = True) -> list[Finding]:
    """List everything under `roots` that is alive or registered; empty means nothing was left.

    Ours is a process that says so in its environment (`ENVMGR_STATE_DIR` at or below a root), works in a folder
    below a root, or listens on a Unix socket below one. In the container engine it is what carries a label with such a
    state directory, mounts a folder below it, or is of the compose project of an agent whose folder is there. The caller and its ancestors are never findings.
    Blocks, for some milliseconds per hundred processes.

    Args:
        roots: State directories, and whatever other folders envmgr was given.
        repositories: Where worktrees may still be registered although their folder is gone.
        engine: Whether to look into the container engine, too.
    """
    real = [root.resolve() for root in roots]
    processes = list(_processes(real))
    return sorted(
        {
            *(Finding(kind=_kind(process), what=_describe(process)) for process in processes),
            *_listeners(processes),
            *_files(real),
            *_registrations(real, repositories),
            *(_in_engine(real) if engine else ()),
        }
    )


def _processes(roots: list[Path]) -> Iterator[psutil.Process]:
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    serving = _socket_owners(roots)
    for process in psutil.process_iter():
        if process.pid not in spared and (process.pid in serving or _belongs(process, roots)):
            yield process


def _belongs(process: psutil.Process, roots: list[Path]) -> bool:
    # Unreadable means another user's, or gone by now: neither is ours.
    try:
        if _is_under(process.environ().get(STATE_VARIABLE, ""), roots):
            return True
        return _is_under(process.cwd().removesuffix(" (deleted)"), roots)
    except (psutil.Error, OSError):
        return False


def _is_under(path: str, roots: list[Path]) -> bool:
    if not os.path.isabs(path):  # noqa: PTH117 - an empty Path would mean the current folder
        return False
    real = Path(path).resolve()
    return any(real.is_relative_to(root) for root in roots)


def _socket_owners(roots: list[Path]) -> set[int]:
    try:
        connections = psutil.net_connections(kind="unix")
    except psutil.AccessDenied:  # macOS shows them to root only; environment and folder must do there
        return set()
    return {link.pid for link in connections if link.pid and _is_under(str(link.laddr), roots)}


def _kind(process: psutil.Process) -> str:
    try:
        return "tmux" if process.name().startswith("tmux") else "process"
    except psutil.Error:
        return "process"


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (ended while being looked at)"


def _listeners(processes: list[psutil.Process]) -> Iterator[Finding]:
    for process in processes:
        try:
            links = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        for link in links:
            if link.status == psutil.CONN_LISTEN and link.laddr.port in PORTS:
                yield Finding(kind="listener", what=f"{link.laddr.ip}:{link.laddr.port} of pid {process.pid}")


def _files(roots: list[Path]) -> Iterator[Finding]:
    for root in roots:
        for folder, names, files in os.walk(root):
            here = Path(folder)
            # A worktree has a `.git` file where a repository has a folder.
            if ".git" in files and (here / ".git").read_bytes().startswith(b"gitdir:"):
                yield Finding(kind="worktree", what=folder)
            names[:] = [name for name in names if name != ".git"]
            for name in files:
                if stat.S_ISSOCK((here / name).lstat().st_mode):
                    yield Finding(kind="socket", what=str(here / name))


def _registrations(roots: list[Path], repositories: Iterable[Path]) -> Iterator[Finding]:
    for repository in repositories:
        listing = subprocess.run(
            ["git", "-C", str(repository), "worktree", "list", "--porcelain", "-z"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
        for field in listing.split("\0"):
            path = field.removeprefix("worktree ")
            if path != field and _is_under(path, roots) and Path(path).resolve() != repository.resolve():
                yield Finding(kind="worktree", what=path)


def _in_engine(roots: list[Path]) -> Iterator[Finding]:
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if address.startswith("unix:") and not Path(address.removeprefix("unix://")).exists():
        return
    import docker  # slow, and of no use to who has no engine
    import docker.errors
    import requests

    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=_ENGINE_S)
        with contextlib.closing(client):
            for kind, found in _labelled(client):
                if _is_under((found.get("Labels") or {}).get(LABEL_STATE, ""), roots):
                    yield Finding(kind=kind, what=_name(kind, found))
            for kind, found in _begun_by_agents(client, roots):
                yield Finding(kind=kind, what=_name(kind, found))
    except (docker.errors.DockerException, requests.RequestException) as error:
        yield Finding(kind="unknown", what=f"the container engine did not answer: {error}")


def _labelled(client: Any) -> Iterator[tuple[str, dict[str, Any]]]:  # the SDK ships no types
    wanted = {"label": [LABEL_STATE]}
    yield from (("container", each) for each in client.containers(all=True, filters=wanted))
    yield from (("network", each) for each in client.networks(filters=wanted))
    yield from (("volume", each) for each in client.volumes(filters=wanted)["Volumes"] or ())
    yield from (("image", each) for each in client.images(filters=wanted))


def _begun_by_agents(client: Any, roots: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What agents of these state directories have begun themselves, unless it is to be kept."""
    containers = [c for c in client.containers(all=True) if LABEL_STATE not in (c.get("Labels") or {})]
    begun = [c for c in containers if any(_is_under(place, roots) for place in _places(c))]
    projects = {f"envmgr-{home.name}" for root in roots for home in _homes(root)}
    projects = (projects | {_project(c) for c in begun}) - {""}
    wanted = {"label": [_PROJECT]}
    found = [
        *(("container", c) for c in containers if c in begun or _project(c) in projects),
        *(("network", n) for n in client.networks(filters=wanted) if _project(n) in projects),
        *(("volume", v) for v in client.volumes(filters=wanted)["Volumes"] or () if _project(v) in projects),
    ]
    yield from ((kind, one) for kind, one in found if (one.get("Labels") or {}).get(LABEL_KEEP) != "true")


def _homes(root: Path) -> Iterator[Path]:
    """Agents' folders, of a state directory and of those directly below."""
    yield from root.glob("agents/*")
    yield from root.glob("*/agents/*")


def _places(container: dict[str, Any]) -> Iterator[str]:
    """Folders that tie a container to this host: what it mounts, and where its compose file was."""
    yield (container.get("Labels") or {}).get("com.docker.compose.project.working_dir", "")
    yield from (mount.get("Source") or "" for mount in container.get("Mounts") or ())


def _project(found: dict[str, Any]) -> str:
    """An agent's compose project; other names are nobody's here."""
    name = (found.get("Labels") or {}).get(_PROJECT, "")
    return name if is_compose_project(name) else ""


def _name(kind: str, found: dict[str, Any]) -> str:
    match kind:
        case "container":
            return f"{found['Names'][0].removeprefix('/')} ({found['State']})"
        case "image":
            tags = [tag for tag in found["RepoTags"] or () if tag != "<none>:<none>"]
            return str((tags or [found["Id"]])[0])  # a later build has taken its tag
        case _:
            return str(found["Name"])
