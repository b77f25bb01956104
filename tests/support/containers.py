"""One generation of an agent with containers on the real engine; nothing of it stays there."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from envmgr.drivers.docker import DockerEngine
from envmgr.drivers.keeper.logfile import LogFile
from envmgr.model.container import ContainerSpec, VolumeSpec
from envmgr.model.ids import LABEL_AGENT, AgentId, InstanceId
from envmgr.model.service import LogPolicy, ServiceKind, ServiceSpec
from envmgr.protocols.logs import LogWriter
from envmgr.runtime.container_watch import ContainerWatch
from envmgr.runtime.incarnation import Incarnation
from tests.support.docker import BASE, nothing_in_engine
from tests.support.incarnations import incarnation

_DEADLINE_S = 5.0


def open_log(path: Path, policy: LogPolicy, base: int) -> LogWriter:
    return LogFile(str(path), max_bytes=policy.max_bytes, keep=policy.keep, base=base)


@asynccontextmanager
async def contained(
    folder: Path, *services: ServiceSpec, volumes: Sequence[VolumeSpec] = (), host: str = ""
) -> AsyncIterator[Incarnation]:
    """As `incarnation`, with an engine and a watch over its containers. `host`: where the engine is reached."""
    async with unattended(folder, *services, volumes=volumes) as inc, engaged(inc, host=host):
        yield inc


@asynccontextmanager
async def unattended(
    folder: Path, *services: ServiceSpec, volumes: Sequence[VolumeSpec] = ()
) -> AsyncIterator[Incarnation]:
    """As `incarnation`, of an agent of its own whose containers are gone in the end; each `engaged` is a daemon for it."""
    agent = AgentId(secrets.token_hex(4))
    async with incarnation(folder, *services, agent=agent, volumes=volumes) as inc:
        with nothing_in_engine({LABEL_AGENT: agent}):
            yield inc


@asynccontextmanager
async def engaged(inc: Incarnation, *, host: str = "") -> AsyncIterator[None]:
    """A daemon's hands on the engine, as long as the block lasts."""
    instance = InstanceId(f"test-{os.getpid()}-{inc.id}")
    reach = partial(DockerEngine, instance=instance, host=host, deadline_s=_DEADLINE_S)
    engine = await anyio.to_thread.run_sync(reach)  # it looks for sockets
    watch = ContainerWatch(engine, instance, open_log)
    inc.instance = instance
    inc.systems = replace(inc.systems, engine=engine, watch=watch)
    async with anyio.create_task_group() as group:
        await group.start(watch.run)
        try:
            yield
        finally:
            group.cancel_scope.cancel()
    engine.close()


def container(
    name: str,
    command: str | tuple[str, ...] = (),
    *,
    image: str = BASE,
    inside: ContainerSpec | None = None,
    **more: object,
) -> ServiceSpec:
    """A service in a container; a string is a line for its shell."""
    words = ("sh", "-c", command) if isinstance(command, str) else command
    # With a first process of its own a shell ends at the first signal.
    spec = replace(inside or ContainerSpec(init=True), image=image)
    return ServiceSpec(name=name, kind=ServiceKind.CONTAINER, command=words, container=spec, **more)  # type: ignore[arg-type]  # fields by name


def task(name: str, command: str, **more: object) -> ServiceSpec:
    """A task in a container."""
    return replace(container(name, command, **more), kind=ServiceKind.TASK)  # type: ignore[arg-type]  # fields by name
