"""At start-up: load every agent, finish what a crash cut off, take over what still runs."""

from __future__ import annotations

import logging
import time
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.model.agent import Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceState
from envmgr.protocols.store import Transaction
from envmgr.runtime import restoring, run_when, tidying
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.effects import Performer
from envmgr.runtime.missed import replay
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.rebooting import Rebooting
from envmgr.runtime.reclaiming import reclaim
from envmgr.runtime.reporting import Report, unheard
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_ROLL_BACK_S = 10.0


async def adopt(
    supervisor: Supervisor,
    performer: Performer,
    control: Control,
    rebooting: Rebooting,
    *,
    group: TaskGroup,
    report: Report = unheard,
) -> None:
    """Take over this host's agents.

    Spawns that a crash cut off are rolled back side by side, before anything new is accepted if that takes less than
    10 s; stops, removals and changes of services go on. One agent's trouble keeps neither the others nor the daemon from
    starting, and neither does a system that is silent: what needs keepers, git, tmux or the engine goes on in `group`.
    """
    began = time.monotonic()
    store = supervisor.systems.store
    records = await store.read(lambda tx: tx.agents())
    owed = await store.read(lambda tx: tx.owed())
    for record in records:
        supervisor.take_over(record)
    await tidying.tidy_copies(supervisor, group)
    await restoring.mark(supervisor)
    await rebooting.mark()
    cut_off = [a for a in supervisor.actors() if a.state.lifecycle is Lifecycle.SPAWNING]
    spawning = [a for a in cut_off if a.restoring or a.state.rung is not Rung.RESPAWN]  # a respawn goes on
    for effect in owed:
        actor = supervisor.actor(effect.agent)
        # Against what failed before the machine was restarted nothing is to be done any more.
        if actor is None or (actor.restoring and effect.effect.kind is EffectKind.CLIMB):
            await store.write(partial(_settle, effect=effect.id))
        else:
            supervisor.drive(actor, effect, was_cut_off=True)
    with anyio.move_on_after(_ROLL_BACK_S):
        for actor in spawning:
            await actor.settled()
    async with anyio.create_task_group() as looks:
        for actor in supervisor.actors():
            if _is_watched(actor):
                looks.start_soon(_resume, supervisor, performer, control, actor)
    log.info("agents adopted", extra={"agents": len(records), "took_s": round(time.monotonic() - began, 3)})
    tasks.start(group, "reclaiming worktrees", _reclaim_all, supervisor, report)
    tasks.start(group, "bringing agents back", rebooting.run)
    await tidying.tidy_engine(supervisor, group)


def _is_watched(actor: Actor) -> bool:
    """One that waits for a person is, too: what is left of it runs on."""
    is_there = actor.state.lifecycle is Lifecycle.RUNNING or actor.state.rung is Rung.PERSON
    return is_there and not actor.restoring


async def _resume(supervisor: Supervisor, performer: Performer, control: Control, actor: Actor) -> None:
    """Rebuild the handles; what is missing is noticed by those who watch from here on, and who look twice."""
    try:
        inc = await supervisor.incarnation(actor)
        for task, word in (await run_when.recall(inc)).items():
            actor.services[task] = Outcome(state=ServiceState.DONE, detail=word)
        moves = await control.cut_off(actor)
        try:
            performer.health.watch(actor, inc)
            await replay(supervisor, actor, inc)
        finally:
            if moves is not None:
                control.finish(actor, moves)
    except Exception:  # one agent owns its boundary here
        log.exception("agent not adopted in full", extra={"agent": actor.state.id})


async def _reclaim_all(supervisor: Supervisor, report: Report) -> None:
    """One after the other: git's marks can wait, who asks something cannot."""
    for actor in supervisor.actors():
        if _is_watched(actor) and actor.incarnation is not None:
            await reclaim(supervisor, actor, actor.incarnation, report=report)


def _settle(tx: Transaction, effect: int) -> None:
    tx.settle(effect)
