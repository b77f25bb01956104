"""What an agent itself has begun in the container engine, by `docker` or `docker compose` (docs/adr/0033).

Found by what cannot be changed by renaming: the compose project of the agent's environment, owner labels, and mounts of its
worktree. Whatever only looks similar is left alone, and so is what carries `envmgr.keep=true`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.ids import (
    LABEL_AGENT,
    LABEL_INSTANCE,
    LABEL_KEEP,
    LABEL_STATE,
    AgentId,
    InstanceId,
    compose_project,
    is_compose_project,
)
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.protocols.engine import Container, Engine, Found, Labels
from envmgr.runtime.incarnation import Incarnation

T = TypeVar("T")

PROJECT = "com.docker.compose.project"
GRAVE = "begun"
_GRACE_S = 10.0
_FILE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """By what an agent's own things are known."""

    agent: AgentId
    instance: InstanceId
    worktree: Path

    @property
    def project(self) -> str:
        """Name of its compose project."""
        return compose_project(self.agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What is there. `kept` is what its maker wants to keep; the rest goes with the agent's stop, volumes with its removal."""

    containers: tuple[Container, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    kept: tuple[Container, ...] = ()


def trace(inc: Incarnation) -> Trace:
    """Of an agent."""
    return Trace(agent=inc.id, instance=inc.instance, worktree=inc.path)


async def find(engine: Engine, of: Trace) -> Seen[Begun]:
    """Look; Absent where nobody can have begun anything, because no engine takes connections."""
    if not isinstance(await engine.knock(), Present):
        return Absent()
    try:
        return Present(await _find(engine, of))
    except Unobservable as error:
        return Unknown(error.message)


async def _find(engine: Engine, of: Trace) -> Begun:
    project = {PROJECT: of.project}
    found = {c.id: c for c in _answer(await engine.containers(project))}
    found |= {c.id: c for c in _answer(await engine.containers(_owner(of)))}
    for folder in await blocking.look("file", _FILE_S, _paths, of.worktree):
        found |= {c.id: c for c in _answer(await engine.mounting(folder))}
    mine = [container for container in found.values() if _is_its_own(container, of)]
    kept = tuple(container for container in mine if _is_kept(container.labels))
    is_in_use = any(container.labels.get(PROJECT) == of.project for container in kept)
    networks: Sequence[Found] = () if is_in_use else _answer(await engine.networks(project))
    volumes: Sequence[Found] = _answer(await engine.volumes(project))
    return Begun(
        containers=tuple(container for container in mine if container not in kept),
        networks=tuple(n.name for n in networks if not _is_kept(n.labels)),
        volumes=tuple(v.name for v in volumes if not _is_kept(v.labels)),
        kept=kept,
    )


def _paths(worktree: Path) -> Sequence[str]:
    """As it is known here, and as it is behind symbolic links. Blocking."""
    return list(dict.fromkeys((str(worktree), str(worktree.resolve()))))


def _owner(of: Trace) -> Labels:
    return {LABEL_INSTANCE: of.instance, LABEL_AGENT: of.agent}


def _is_its_own(container: Container, of: Trace) -> bool:
    """Not one of envmgr's, and not another agent's that looks into this worktree."""
    labels = container.labels
    if LABEL_STATE in labels:
        return False
    if LABEL_AGENT in labels:
        return all(labels.get(name) == value for name, value in _owner(of).items())
    project = labels.get(PROJECT, "")
    return project == of.project or not is_compose_project(project)


def _is_kept(labels: Labels) -> bool:
    return labels.get(LABEL_KEEP) == "true"


async def end(inc: Incarnation) -> None:
    """End and remove its containers and networks, verified.

    While nobody serves the engine nothing of it runs; what comes back with the engine is removed then.

    Raises:
        Unobservable: The engine gives no answer, which is never taken for "nothing there".
    """
    if inc.systems.engine is None:
        return
    match await inc.systems.engine.knock():
        case Present():
            await end_all(inc.systems.engine, trace(inc))
        case Unknown():
            grave = _grave(inc)
            await inc.systems.store.write(lambda tx: tx.bury(grave))


async def end_all(engine: Engine, of: Trace) -> None:
    """The same by its trace."""
    begun = await _find(engine, of)
    failures: list[EnvmgrError] = []

    async def end_one(container: Container) -> None:
        try:
            if container.is_alive:
                await engine.stop(container.id, signal="SIGTERM", grace_s=_GRACE_S)
            await engine.remove(container.id)
        except EnvmgrError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for container in begun.containers:
            group.start_soon(end_one, container)
    if failures:
        raise failures[0]
    for network in begun.networks:
        await engine.remove_network(network)


async def left(inc: Incarnation) -> Sequence[str]:
    """What a stop should have removed and is still there: for people."""
    if inc.systems.engine is None:
        return ()
    match await find(inc.systems.engine, trace(inc)):
        case Present(begun):
            containers = (f"container {c.name}, begun by the agent" for c in begun.containers)
            return (*containers, *(f"network {name}, begun by the agent" for name in begun.networks))
        case Unknown(reason):
            return (f"containers begun by the agent unknown: {reason}",)
    return ()


async def remove_volumes(inc: Incarnation) -> None:
    """With the agent go the volumes of its compose project. Raises Unobservable when the engine gives no answer."""
    engine = inc.systems.engine
    if engine is None or not isinstance(await engine.knock(), Present):
        return
    begun = await _find(engine, trace(inc))
    in_use = {source for container in begun.kept for source in container.sources}
    for volume in begun.volumes:
        if volume not in in_use:
            await engine.remove_volume(volume)


def _grave(inc: Incarnation) -> Tombstone:
    of = trace(inc)
    data = {"instance": of.instance, "worktree": str(of.worktree)}
    return Tombstone(
        kind=GRAVE,
        name=of.project,
        agent=inc.id,
        generation=inc.generation,
        since=inc.systems.now(),
        data=data,
    )


def of_grave(grave: Tombstone) -> Trace:
    """Whose things are watched for."""
    worktree = Path(grave.data["worktree"])
    return Trace(agent=grave.agent, instance=InstanceId(grave.data["instance"]), worktree=worktree)


def _answer(seen: Seen[Sequence[T]]) -> Sequence[T]:
    match seen:
        case Present(value):
            return value
        case Absent():
            return ()
        case Unknown(reason):
            raise Unobservable(
                f"what the agent may have begun in the container engine cannot be seen: {reason}",
                hint="Is Docker in order? `envmgr doctor` tells; then stop the agent again.",
            )
