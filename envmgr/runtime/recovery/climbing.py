"""Take the measure that was decided: wait its delay, act, and say how that went. Driven again after a crash of the daemon."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import anyio

from envmgr.core.ladder import delay_s
from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.incident import ClimbOutcome, Incident, Rung
from envmgr.model.recovery import MEASURES, RecoveryLimits
from envmgr.model.stimulus import RespawnPrepared, RungFailed
from envmgr.protocols.store import OwedEffect
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.clock import steady
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.measures import Measures, NotSaved
from envmgr.runtime.recovery.records import Incidents, ended, is_under_way, noted
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 30.0


class Climber:
    """Carries out the owed effect CLIMB.

    Attributes:
        acting: Agents a measure is being taken for, or is about to be; what is noticed of them meanwhile says nothing.
        at_once: Agents for which a person asked: no delay.
        acted_at: When the last measure of an agent ended, in steady time; what was seen before then is old.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        measures: Measures,
        incidents: Incidents,
        limits: RecoveryLimits,
        *,
        reach: Callable[[str], None],
        taken: Callable[[], None],
    ) -> None:
        """`reach` is called at each named crash point, `taken` after each measure, well or not."""
        self._supervisor, self._measures, self._incidents = supervisor, measures, incidents
        self._limits, self._reach, self._taken = limits, reach, taken
        self.acting: set[str] = set()
        self.at_once: set[str] = set()
        self._turns: dict[str, anyio.Lock] = {}
        self.acted_at: dict[str, float] = {}

    async def climb(self, actor: Actor, owed: OwedEffect) -> None:
        """Do it; when a stop or a person's request comes first, it is not done."""
        agent = actor.state.id
        self.acting.add(agent)
        with anyio.CancelScope() as scope:
            self.begins(actor, scope)
            self._reach("recover-owed")
            await self._climb(actor, owed)
        if scope.cancelled_caught:
            await self._give_up(actor, owed)
        self.over(actor)  # after an unforeseen error it is driven again, so that this is not yet so

    def turn(self, agent: AgentId) -> anyio.Lock:
        """Held while a measure is chosen, until it is owed: a person's choice and the ladder's never cross."""
        return self._turns.setdefault(agent, anyio.Lock())

    def begins(self, actor: Actor, scope: anyio.CancelScope) -> None:
        """From here on it can be cut off, by who may have waited for that."""
        actor.climbing = scope
        actor.changed()

    def over(self, actor: Actor) -> None:
        """A measure was taken, well or not."""
        actor.climbing = None
        self.acted_at[actor.state.id] = steady(self._supervisor.systems)
        self.acting.discard(actor.state.id)
        self._taken()
        actor.changed()

    async def cut_off(self, actor: Actor) -> None:
        """Also what has only just been chosen; returns when no measure is being taken for it."""
        while actor.state.id in self.acting:
            if actor.climbing is not None:
                actor.climbing.cancel()
            await actor.next_change()

    async def _climb(self, actor: Actor, owed: OwedEffect) -> None:
        incident = self._incidents.get(actor.state.incident)
        if incident is None or not _is_wanted(actor.state, owed) or not is_under_way(incident):
            await self._settle(owed)
            return
        rung = Rung(int(owed.effect.detail))
        await anyio.sleep(await self._delay(actor, rung))
        measure = Measure(
            rung=rung,
            incident=incident.id,
            key=f"{incident.id}/{incident.climbs[-1].at:.3f}",
            unit=incident.subject,
            failure=incident.diagnosis.failure,
            because=incident.climbs[-1].because,
        )
        self._reach("recover-before-act")
        try:
            done = await self._act(actor, measure)
        except EnvmgrError as error:
            await self._fail(actor, owed, incident, error)
        except Exception as error:  # whatever a measure stumbles over, the next rung is chosen
            log.exception("measure failed", extra={"agent": actor.state.id, "rung": rung.value})
            await self._fail(actor, owed, incident, EnvmgrError(f"{type(error).__name__}: {error}"))
        else:
            await self._done(actor, owed, incident, rung, done)

    async def _act(self, actor: Actor, measure: Measure) -> str:
        """What does not answer is asked again for some time: nothing was done then."""
        pause_s, deadline = _FIRST_PAUSE_S, anyio.current_time() + self._limits.patience_s
        while True:
            try:
                return await self._measures.act(actor, measure)
            except Unobservable as error:
                if anyio.current_time() + pause_s >= deadline:
                    raise
                log.warning("measure waits", extra={"agent": actor.state.id, "why": error.message})
            await anyio.sleep(pause_s)
            pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    async def _delay(self, actor: Actor, rung: Rung) -> float:
        if actor.state.id in self.at_once:
            self.at_once.discard(actor.state.id)
            return 0.0
        agent, now = actor.state.id, steady(self._supervisor.systems)
        acts = await self._supervisor.systems.store.read(lambda tx: ledger.acts(tx, agent))
        return delay_s(actor.spec.recovery, rung, acts, now=now, draw=random.random())

    async def _done(self, actor: Actor, owed: OwedEffect, incident: Incident, rung: Rung, done: str) -> None:
        with anyio.CancelScope(shield=True):
            self._reach("recover-acted")
            await self._incidents.amend(incident.id, noted(done))
            if rung is Rung.RESPAWN:
                fact = RespawnPrepared(generation=actor.state.generation, incident=incident.id)
                await self._supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)
            else:
                await self._settle(owed)
            self._reach("recover-settled")

    async def _fail(self, actor: Actor, owed: OwedEffect, incident: Incident, error: EnvmgrError) -> None:
        with anyio.CancelScope(shield=True):
            end = ended(
                ClimbOutcome.FAILED,
                at=self._supervisor.systems.now(),
                result=error.message,
                is_unsafe=isinstance(error, NotSaved),
            )
            await self._incidents.amend(incident.id, end)
            self._reach("recover-failed")
            fact = RungFailed(generation=actor.state.generation, incident=incident.id, reason=error.message)
            await self._supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)

    async def _give_up(self, actor: Actor, owed: OwedEffect) -> None:
        await self._settle(owed)
        incident = next((one for one in self._incidents.of(actor.state.id) if is_under_way(one)), None)
        if incident is not None:
            now = self._supervisor.systems.now()
            result = "a person's request came first"
            await self._incidents.amend(incident.id, ended(ClimbOutcome.GIVEN_UP, at=now, result=result))

    async def _settle(self, owed: OwedEffect) -> None:
        await self._supervisor.systems.store.write(lambda tx: tx.settle(owed.id))


def _is_wanted(state: AgentState, owed: OwedEffect) -> bool:
    return (
        state.lifecycle is Lifecycle.RUNNING
        and state.generation == owed.effect.generation
        and state.rung in MEASURES
        and str(int(state.rung or 0)) == owed.effect.detail
    )
