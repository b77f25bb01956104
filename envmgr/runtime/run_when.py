"""Skip a task that has succeeded before on the same content (`run_when`).

What it stands on: its definition, the files it follows (their content, not their times), the variables it names, and the
very volumes of the containers it depends on: a database that was made anew must be migrated again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets as randomness
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envmgr.aio import blocking
from envmgr.core import content, globs, graph
from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.container import MountKind
from envmgr.model.ids import LABEL_INSTANCE, AgentId
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import rendering, sharing, tenancy, volumes
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

_FILES_S = 60.0
_SALT = "salt"
_PLACE = "place in "
_ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a task stands on just now.

    Attributes:
        key: Of its content; empty when it could not be told, and then the task runs.
        volumes: Name -> when it was made.
        skip: Why it need not run; empty when it must.
    """

    key: str
    volumes: Mapping[str, str]
    skip: str = ""


async def look(inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str]) -> Standing | None:
    """Where a task stands, compared with its last success; None for one without `run_when`."""
    if service.run_when is None:
        return None
    try:
        now = await _stands_on(inc, service, secrets)
    except EnvmgrError as error:
        log.warning("content unknown", extra={"agent": inc.id, "service": service.name, "why": error.message})
        return Standing(key="", volumes={})
    known = await inc.systems.store.read(lambda tx: _known(tx, inc.id, service.name))
    if known is None or known["key"] != now.key or not _are_same(known["volumes"], now.volumes):
        return now
    return Standing(key=now.key, volumes=now.volumes, skip=f"skipped: unchanged since {_moment(known)}")


async def remember(
    inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str], before: Standing | None
) -> None:
    """It succeeded. Kept only if what it stands on is still what it was `before`: a change in between was not seen by it."""
    if before is None or not before.key:
        return
    try:
        after = await _stands_on(inc, service, secrets)
    except EnvmgrError as error:
        log.warning("content unknown", extra={"agent": inc.id, "service": service.name, "why": error.message})
        return
    if after.key == before.key:
        fact = json.dumps({"key": after.key, "volumes": dict(after.volumes), "at": inc.systems.now()})
        await inc.systems.store.write(lambda tx: tx.put(_name(inc.id, service.name), fact))


async def forget(inc: Incarnation, service: str) -> None:
    """The next start runs this task whatever it stands on."""
    await inc.systems.store.write(lambda tx: tx.drop(_name(inc.id, service)))


def forget_all(tx: Transaction, agent: AgentId) -> None:
    """The agent is removed."""
    for name in tx.under(f"run/{agent}/"):
        tx.drop(name)


async def recall(inc: Incarnation) -> Mapping[str, str]:
    """Tasks that have succeeded, with a word on when; after a restart of the daemon nobody else can tell."""
    known = await inc.systems.store.read(lambda tx: tx.under(f"run/{inc.id}/"))
    tasks = {s.name for s in inc.services if s.kind is ServiceKind.TASK and s.run_when is not None}
    by_task = {name.rpartition("/")[2]: json.loads(fact) for name, fact in known.items()}
    return {task: f"succeeded {_moment(fact)}" for task, fact in by_task.items() if task in tasks}


def recalled(tx: Transaction, agent: AgentId) -> Mapping[str, str]:
    """What an agent remembers, for forks of what it is now."""
    return tx.under(f"run/{agent}/")


def inherit(tx: Transaction, agent: AgentId, known: Mapping[str, str], *, volumes: bool) -> None:
    """A fork begins with what its origin remembered when its state was saved.

    Args:
        volumes: Whether volumes were saved, too: then the fork's own, whenever they are made, stand for the origin's.
    """
    for name, said in known.items():
        fact = json.loads(said)
        if volumes:
            fact["volumes"] = {
                v: made if v.startswith(_PLACE) else _ANY for v, made in fact["volumes"].items()
            }
        tx.put(_name(agent, name.rpartition("/")[2]), json.dumps(fact))


def _name(agent: AgentId, service: str) -> str:
    return f"run/{agent}/{service}"


def _known(tx: Transaction, agent: AgentId, service: str) -> Mapping[str, Any] | None:
    fact = tx.get(_name(agent, service))
    return None if fact is None else dict(json.loads(fact))


def _moment(known: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known["at"]))


async def _stands_on(inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str]) -> Standing:
    assert service.run_when is not None
    env = rendering.service_env(inc, service, secrets)
    files = await blocking.look("file", _FILES_S, digests, inc.path, service.run_when.changed)
    key = content.key(
        service,
        files=files,
        env={name: env.get(name, "") for name in service.run_when.env},
        salt=await _salt(inc),
    )
    return Standing(key=key, volumes=await _volumes(inc, service))


def _are_same(known: Mapping[str, str], now: Mapping[str, str]) -> bool:
    return known.keys() == now.keys() and all(known[name] in (_ANY, now[name]) for name in now)


async def _volumes(inc: Incarnation, service: ServiceSpec) -> Mapping[str, str]:
    """Of the task's own container and of those it depends on, directly or not; with its place in shared ones."""
    edges = {s.name: [edge.service for edge in s.depends_on] for s in inc.services}
    wanted: dict[str, str] = {}
    found: dict[str, str] = {}
    for unit in map(inc.service, sorted(graph.closure(edges, [service.name]))):
        if unit.is_shared:
            found[f"{_PLACE}{unit.name}"] = await tenancy.since(inc, unit)
        for mount in unit.container.mounts if unit.container else ():
            if mount.kind is MountKind.VOLUME and mount.source:
                wanted[volumes.name_of(sharing.runs_in(inc, unit), mount.source)] = mount.source
    if not wanted:
        return found
    match await inc.systems.containers.volumes({LABEL_INSTANCE: inc.instance}):
        case Present(existing):
            return found | {wanted[v.name]: v.created_at for v in existing if v.name in wanted}
        case Unknown(reason):
            raise Unobservable(f"the engine does not tell its volumes: {reason}", hint="Run `envmgr doctor`.")
    return found


async def _salt(inc: Incarnation) -> bytes:
    def make(tx: Transaction) -> str:
        salt = tx.get(_SALT) or randomness.token_hex(32)
        tx.put(_SALT, salt)
        return salt

    known = await inc.systems.store.read(lambda tx: tx.get(_SALT))
    return bytes.fromhex(await inc.systems.store.write(make) if known is None else known)


def digests(root: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Path -> digest of every file below `root` that the globs name; git's own files never count. Blocking.

    A link counts by where it points to, and what can be neither read nor named by a link does not count.
    """
    matches = globs.matcher(patterns)
    found: dict[str, str] = {}
    for start in globs.beginnings(patterns):
        for path in _files(root / start):
            name = path.relative_to(root).as_posix()
            if matches(name) and (digest := _digest(path)):
                found[name] = digest
    return found


def _files(start: Path) -> Iterator[Path]:
    if not start.is_dir() or start.is_symlink():
        yield start
        return
    for folder, names, files in os.walk(start):
        names[:] = [name for name in names if name != ".git"]
        here = Path(folder)
        yield from (here / name for name in files if name != ".git")
        yield from (here / name for name in names if (here / name).is_symlink())


def _digest(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"link to {path.readlink()}"
        if not stat.S_ISREG(mode):  # a pipe would never end
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
