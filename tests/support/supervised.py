"""A supervisor over one running agent, as a daemon that has just started finds it; effects are not carried out."""

from __future__ import annotations

from dataclasses import replace

from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.protocols.store import AgentRecord, OwedEffect
from envmgr.runtime.actor import Actor
from envmgr.runtime.bus import Bus
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supervisor import Policy, Supervisor


async def take_over(inc: Incarnation, lifecycle: Lifecycle = Lifecycle.RUNNING) -> tuple[Supervisor, Actor]:
    """The agent of `inc`, which the store knows, in its first generation."""
    supervisor = Supervisor(
        inc.systems, inc.layout, inc.instance, bus=Bus(), policy=Policy(validate=True), perform=_perform
    )
    (known,) = await inc.systems.store.read(lambda tx: tx.agents())
    state = replace(known.state, generation=1, lifecycle=lifecycle, desired=Desired.RUNNING)
    return supervisor, supervisor.take_over(await _saved(inc, known, state))


async def _saved(inc: Incarnation, known: AgentRecord, state: AgentState) -> AgentRecord:
    version = await inc.systems.store.write(lambda tx: tx.save_state(state, expect=known.version))
    return AgentRecord(state=state, spec=inc.spec, version=version)


async def _perform(actor: Actor, owed: OwedEffect, *, was_cut_off: bool = False) -> None:
    """Nothing."""
