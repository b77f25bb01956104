"""At start-up: end what a killed daemon left of copies, snapshots and shared services, when the engine answers again.

All of it is of the past: what is begun from now on is left alone, so that nobody need wait for a silent engine.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.ids import LABEL_AGENT, LABEL_GENERATION, LABEL_INSTANCE, AgentId
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.engine import Container
from envmgr.runtime import engine_use, saving
from envmgr.runtime.incarnation import Systems
from envmgr.runtime.steps import shared
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_RETRY_S, _CALM_S = 2.0, 60.0
_WAIT_S = 3.0
_GRACE_S = 10.0
_OVER = (Lifecycle.STOPPED, Lifecycle.ERROR)

Work = Callable[[], Awaitable[bool]]
"""Tries to tidy; whether nothing is left to do."""


async def tidy_copies(supervisor: Supervisor, group: TaskGroup) -> None:
    """Containers that carried volumes, and snapshots that were cut off: they stand in the way of removals."""
    notes = await saving.notes(supervisor.systems)
    parts = (partial(_carriers, supervisor.systems), partial(_snapshots, supervisor, list(notes)))
    await _begin(group, parts)


async def tidy_engine(supervisor: Supervisor, group: TaskGroup) -> None:
    """Shared services that nobody holds any more, and containers of an earlier generation of an agent that runs."""
    is_alive = partial(_is_alive, supervisor)
    work = partial(shared.tidy, supervisor.systems, supervisor.layout, supervisor.instance, is_alive=is_alive)
    await _begin(group, (work, partial(_older, supervisor)))


async def _older(supervisor: Supervisor) -> bool:
    systems = supervisor.systems
    if systems.engine is None or not await systems.store.read(engine_use.anybody):
        return True
    match await systems.engine.containers({LABEL_INSTANCE: supervisor.instance}):
        case Unknown():
            return False
        case Absent():
            return True
        case Present(found):
            try:
                for container in (one for one in found if _is_older(supervisor, one)):
                    await systems.engine.stop(container.id, signal="SIGTERM", grace_s=_GRACE_S)
                    await systems.engine.remove(container.id)
            except EnvmgrError as error:
                log.warning("old container not ended", extra={"why": error.message})
                return False
    return True


def _is_older(supervisor: Supervisor, container: Container) -> bool:
    """Only of an agent that runs: what others have left is judged by the reaper."""
    actor = supervisor.actor(AgentId(container.labels.get(LABEL_AGENT, "")))
    generation = container.labels.get(LABEL_GENERATION, "")
    if actor is None or actor.state.lifecycle is not Lifecycle.RUNNING or not generation.isdigit():
        return False
    return int(generation) < actor.state.generation


def _is_alive(supervisor: Supervisor, holder: str) -> bool:
    """Asked as late as possible: an agent may have been started meanwhile."""
    actor = supervisor.actor(AgentId(holder))
    return actor is not None and (actor.state.lifecycle not in _OVER or bool(actor.state.holds))


async def _carriers(systems: Systems) -> bool:
    engine = systems.containers
    if not await systems.store.read(engine_use.anybody) or isinstance(await engine.knock(), Absent):
        return True
    try:
        await engine.clear_copies()
    except EnvmgrError as error:
        log.warning("copies not tidied up", extra={"why": error.message})
        return False
    return True


async def _snapshots(supervisor: Supervisor, notes: list[saving.Note]) -> bool:
    notes[:] = [n for n in notes if not await saving.give_up(supervisor.systems, supervisor.layout, n)]
    return not notes


async def _begin(group: TaskGroup, parts: Sequence[Work]) -> None:
    """Begin them all, and wait a moment: usually that is all it takes."""
    tried = [anyio.Event() for _ in parts]
    for work, event in zip(parts, tried, strict=True):
        tasks.start(group, "tidying at start-up", _insist, work, event)
    with anyio.move_on_after(_WAIT_S):
        for event in tried:
            await event.wait()


async def _insist(work: Work, tried: anyio.Event) -> None:
    pause_s = _RETRY_S
    while True:
        try:
            is_done = await work()
        except Exception:  # a task of the daemon owns its boundary
            log.exception("start-up not tidied in full")
            is_done = False
        tried.set()
        if is_done:
            return
        await anyio.sleep(pause_s)
        pause_s = min(pause_s * 2, _CALM_S)
