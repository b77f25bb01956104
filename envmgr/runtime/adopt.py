"""At start-up: load every agent, finish what a crash cut off, take over what still runs."""

from __future__ import annotations

import logging
from functools import partial

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.protocols.store import Transaction
from envmgr.runtime.actor import Actor
from envmgr.runtime.effects import Performer
from envmgr.runtime.missed import replay
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)


async def adopt(supervisor: Supervisor, performer: Performer) -> None:
    """Take over this host's agents.

    Spawns that a crash cut off are rolled back before anything new is accepted; stops and removals go on side by side.
    """
    store = supervisor.systems.store
    records = await store.read(lambda tx: tx.agents())
    owed = await store.read(lambda tx: tx.owed())
    for record in records:
        supervisor.take_over(record)
    for effect in owed:
        actor = supervisor.actor(effect.agent)
        if actor is None:
            await store.write(partial(_settle, effect=effect.id))
        elif effect.effect.kind is EffectKind.SPAWN:
            await performer.roll_back(actor, effect)
        else:
            supervisor.drive(actor, effect)
    for actor in supervisor.actors():
        if actor.state.lifecycle is Lifecycle.RUNNING:
            await _resume(supervisor, performer, actor)


async def _resume(supervisor: Supervisor, performer: Performer, actor: Actor) -> None:
    """Rebuild the handles; what is missing is noticed by the status loop, which looks twice."""
    try:
        inc = await supervisor.incarnation(actor)
        await inc.find_terminal()
        await replay(supervisor, actor, inc)
        performer.health.watch(actor, inc)
    except EnvmgrError as error:
        log.error("agent not adopted", extra={"agent": actor.state.id, "why": error.message})


def _settle(tx: Transaction, effect: int) -> None:
    tx.settle(effect)
