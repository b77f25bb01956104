"""Carry out one change of an agent's services: lease, commit, act, give back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Act, Done, Moves, Settling, as_before, change_key
from envmgr.runtime.steps import shared
from envmgr.runtime.steps.session import show_viewers
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

POLICY = "restart policy"
RECOVERY = "recovery"
"""Causes of restarts that nobody asked for: they leave the count of attempts as it is."""


class Mover:
    """Carries out changes; that there is only one at a time per agent is the caller's business."""

    def __init__(
        self, supervisor: Supervisor, health: Health, *, reach: Callable[[str], None] = never
    ) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor = supervisor
        self._health = health
        self._reach = reach

    async def carry_out(
        self, actor: Actor, inc: Incarnation, spec: AgentSpec | None, moves: Moves, cause: str
    ) -> tuple[Done, ...]:
        """Do it; an error before the commit leaves all as it was."""
        await inc.secrets()  # a missing one is told before anything is stopped
        before = inc.spec
        if spec is not None:
            await self._lease(inc, spec)
        await self._commit(actor, inc, spec, moves, cause)
        old = as_before(inc, moves, before)
        if spec is not None:
            actor.spec = inc.spec = spec
        done = await self.move(actor, inc, moves, old)
        await self._part(actor, inc, old)
        return done

    async def _part(self, actor: Actor, inc: Incarnation, old: Incarnation) -> None:
        """Leave the shared services that the agent no longer uses."""
        try:
            await shared.leave(old, staying=[s.name for s in sharing.shared_services(inc)])
        except EnvmgrError as error:  # tried again when the agent stops
            await self._tell(actor, "notice", {"text": f"a shared service was not ended: {error.message}"})

    async def _lease(self, inc: Incarnation, spec: AgentSpec) -> None:
        """Ports for new units, before anything else changes."""
        trial = replace(inc, spec=spec, ports=dict(inc.ports))
        try:
            await claim_ports(trial)
            await shared.hold(trial)
        except EnvmgrError:
            kept = set(inc.ports)
            await inc.systems.store.write(partial(_release, agent=inc.id, kept=kept))
            await shared.leave(trial, staying=[s.name for s in sharing.shared_services(inc)])
            raise
        inc.ports.update(trial.ports)

    async def _commit(
        self, actor: Actor, inc: Incarnation, spec: AgentSpec | None, moves: Moves, cause: str
    ) -> None:
        data = {
            "stop": [one.name for one in moves.gone],
            "start": list(moves.come),
            "restart": list(moves.again),
        }
        event = NewEvent(
            kind="change.started", agent=inc.id, generation=inc.generation, cause=cause, data=data
        )

        def change(tx: Transaction) -> None:
            tx.put(change_key(inc.id), moves.to_json())
            if spec is not None:
                tx.save_spec(inc.id, spec)
            for name in moves.again if cause not in (POLICY, RECOVERY) else ():
                restart_history.begin_anew(tx, inc.id, name)

        with anyio.CancelScope(shield=True):
            await inc.systems.store.write(change)
            await self._supervisor.record(event)
        self._reach("change-committed")

    async def move(self, actor: Actor, inc: Incarnation, moves: Moves, old: Incarnation) -> tuple[Done, ...]:
        """What was committed; `old` is the generation as it was, see `as_before`."""
        actor.in_hand |= moves.touched
        for name in moves.touched & actor.pending.keys():
            actor.pending.pop(name).cancel()
        try:
            settling = Settling(
                actor, inc, moves, self._health, secrets=await inc.secrets(), reach=self._reach
            )
            done = await settling.run(old)
            # Afresh: an end that was under way is not taken for one of the new launches.
            self._health.watch(actor, inc)
        except Exception:
            self._health.watch(actor, inc)  # whatever went wrong here, what runs is looked at
            raise
        finally:
            actor.in_hand -= moves.touched
        await self._end(actor, inc, done)
        if moves.gone or moves.come:
            await self._view(inc)
        return done

    def look_afresh(self, actor: Actor) -> None:
        """What ended while it was in hand, and was not started again, is noticed now."""
        if actor.state.lifecycle is Lifecycle.RUNNING and actor.incarnation is not None:
            self._health.watch(actor, actor.incarnation)

    async def _view(self, inc: Incarnation) -> None:
        try:
            await show_viewers(inc)
        except EnvmgrError as error:  # a convenience
            log.warning("viewers not changed", extra={"agent": inc.id, "why": error.message})

    async def _end(self, actor: Actor, inc: Incarnation, done: Sequence[Done]) -> None:
        """Give back the ports of what is gone."""
        kept = {(unit.name, port.name) for unit in inc.services for port in unit.ports}
        for key in [key for key in inc.ports if key not in kept]:
            del inc.ports[key]

        def settle(tx: Transaction) -> None:
            _release(tx, agent=inc.id, kept=kept)
            tx.drop(change_key(inc.id))

        self._reach("change-before-end")
        await inc.systems.store.write(settle)
        failed = {one.unit: one.detail for one in done if one.act is Act.FAILED}
        await self._tell(actor, "change.finished", {"failed": failed} if failed else {})

    async def _tell(self, actor: Actor, kind: str, data: Mapping[str, object], *, cause: str = "") -> None:
        state = actor.state
        event = NewEvent(kind=kind, agent=state.id, generation=state.generation, cause=cause, data=data)
        await self._supervisor.record(event)


def _release(tx: Transaction, *, agent: AgentId, kept: Collection[tuple[str, str]]) -> None:
    """Numbers stay remembered, for when the unit comes back."""
    idle = [x for x in tx.leases(agent) if x.held and (x.service, x.name) not in kept]
    tx.save_leases([replace(lease, held=False) for lease in idle])
