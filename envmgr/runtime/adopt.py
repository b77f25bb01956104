"""At start-up: load every agent, finish what a crash cut off, take over what still runs."""

from __future__ import annotations

import logging
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.model.agent import Lifecycle
from envmgr.model.service import ServiceState
from envmgr.protocols.store import Transaction
from envmgr.runtime import restoring, run_when, tidying
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.effects import Performer
from envmgr.runtime.missed import replay
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_ROLL_BACK_S = 10.0


async def adopt(supervisor: Supervisor, performer: Performer, control: Control, *, group: TaskGroup) -> None:
    """Take over this host's agents.

    Spawns that a crash cut off are rolled back side by side, before anything new is accepted if that takes less than
    10 s; stops, removals and changes of services go on. One agent's trouble keeps neither the others nor the daemon from
    starting, and a silent engine neither: what waits for it goes on in `group`.
    """
    store = supervisor.systems.store
    records = await store.read(lambda tx: tx.agents())
    owed = await store.read(lambda tx: tx.owed())
    for record in records:
        supervisor.take_over(record)
    await tidying.tidy_copies(supervisor, group)
    await restoring.mark(supervisor)
    spawning = [a for a in supervisor.actors() if a.state.lifecycle is Lifecycle.SPAWNING]
    for effect in owed:
        actor = supervisor.actor(effect.agent)
        if actor is None:
            await store.write(partial(_settle, effect=effect.id))
        else:
            supervisor.drive(actor, effect, was_cut_off=True)
    with anyio.move_on_after(_ROLL_BACK_S):
        for actor in spawning:
            await actor.settled()
    for actor in supervisor.actors():
        if actor.state.lifecycle is Lifecycle.RUNNING:
            await _resume(supervisor, performer, actor)
            control.finish(actor)
    await tidying.tidy_shared(supervisor, group)


async def _resume(supervisor: Supervisor, performer: Performer, actor: Actor) -> None:
    """Rebuild the handles; what is missing is noticed by the status loop, which looks twice."""
    try:
        inc = await supervisor.incarnation(actor)
        for task, word in (await run_when.recall(inc)).items():
            actor.services[task] = Outcome(state=ServiceState.DONE, detail=word)
        performer.health.watch(actor, inc)
        await inc.find_terminal()
        await replay(supervisor, actor, inc)
    except Exception:  # one agent owns its boundary here
        log.exception("agent not adopted in full", extra={"agent": actor.state.id})


def _settle(tx: Transaction, effect: int) -> None:
    tx.settle(effect)
