"""Keep containers from running while what they write to is copied."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from envmgr.errors import EnvmgrError, Unavailable
from envmgr.model.observe import Absent, Present
from envmgr.runtime.incarnation import Incarnation, Systems

log = logging.getLogger(__name__)


@asynccontextmanager
async def frozen(inc: Incarnation, containers: Sequence[str]) -> AsyncIterator[None]:
    """They do not run inside this block, and go on after it, whatever happens."""
    if not containers:
        yield
        return
    inc.is_frozen = True
    try:
        for container in containers:
            await _pause(inc.systems, container)
        yield
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await thaw(inc.systems, containers)
        finally:
            inc.is_frozen = False


async def _pause(systems: Systems, container: str) -> None:
    """One that has ended since it was listed writes no more; that is as good."""
    try:
        await systems.containers.pause(container)
    except EnvmgrError:
        match await systems.containers.inspect(container):
            case Absent():
                return
            case Present(found) if not found.is_alive:
                return
        raise


async def thaw(systems: Systems, containers: Sequence[str]) -> None:
    """All of them, also when one cannot be; then the first reason is raised."""
    failures: list[EnvmgrError] = []
    for container in containers:
        try:
            await systems.containers.unpause(container)
        except EnvmgrError as error:
            failures.append(error)
            log.error("container still paused", extra={"container": container, "why": error.message})
    if failures:
        raise Unavailable(
            f"a container is still paused: {failures[0].message}",
            hint=failures[0].hint,
        )
