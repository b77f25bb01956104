"""Watch whether a measure helped, and whether what waits for a person is well again."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from envmgr.aio import blocking
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, ClimbOutcome, FailureClass, Incident, Part, Rung
from envmgr.model.observe import Absent, Present
from envmgr.model.recovery import RecoveryLimits
from envmgr.model.stimulus import RungFailed, RungHeld
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.recovery.gate import Gate
from envmgr.runtime.recovery.ground import wrong_with
from envmgr.runtime.recovery.records import Incidents, climbing, ended, is_under_way, is_waiting
from envmgr.runtime.recovery.wellness import is_down, is_in_hand, is_left, is_quarantined, trouble
from envmgr.runtime.supervisor import Supervisor

CAUSE = "recovery"
_FILE_S = 5.0


class _Watch:
    """One measure under observation; of the next one it says nothing. Times are monotonic: a new daemon begins to watch anew."""

    def __init__(self, climb: Climb) -> None:
        self.of = (climb.rung, climb.at)
        self.since = self.looked_at = anyio.current_time()
        self.well_since: float | None = None
        self.is_proven = False
        self.failure = ""


class Verifier:
    """Everything critical well, without a break, for as long as the template says: then a measure has held."""

    def __init__(
        self,
        supervisor: Supervisor,
        incidents: Incidents,
        gate: Gate,
        limits: RecoveryLimits,
        *,
        reach: Callable[[str], None],
    ) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor, self._incidents, self._gate = supervisor, incidents, gate
        self._limits, self._reach = limits, reach
        self._watches: dict[int, _Watch] = {}
        self._unchanged: dict[int, tuple[Incident, float]] = {}

    def recurred(self, incident: Incident) -> None:
        """What the measure under way was taken against is reported again."""
        watch = self._watch(incident)
        watch.failure = watch.failure or f"it failed again: {incident.words}"

    def _watch(self, incident: Incident) -> _Watch:
        """The present measure's."""
        last, known = incident.climbs[-1], self._watches.get(incident.id)
        if known is None or known.of != (last.rung, last.at):
            known = self._watches[incident.id] = _Watch(last)
        return known

    async def look(self, actor: Actor) -> None:
        """At one agent whose measures have been taken."""
        state = actor.state
        for incident in self._incidents.of(state.id):
            if state.rung is Rung.PERSON:
                if incident.id == state.incident:
                    await self._look_again(actor, incident)
            elif incident.id == state.incident and is_under_way(incident) and not is_waiting(incident):
                await self._verify(actor, incident)
            elif incident.id != state.incident:
                await self._tidy(actor, incident)

    async def _verify(self, actor: Actor, incident: Incident) -> None:
        watch = self._watch(incident)
        inc, now = await self._supervisor.incarnation(actor), anyio.current_time()
        seen = trouble(actor, inc, incident)
        match seen:
            case Absent() if not watch.failure:
                watch.well_since = now if watch.well_since is None else watch.well_since
            case Present(words):
                watch.well_since = None
                if not is_in_hand(actor) and is_down(actor, incident):
                    watch.failure = watch.failure or words
            case _:
                watch.well_since = None
        well_s = now - watch.well_since if watch.well_since is not None else 0.0
        if watch.failure:
            await self._failed(actor, incident, watch.failure)
        elif watch.well_since is None and now - watch.since > self._limits.patience_s:
            words = seen.value if isinstance(seen, Present) else "it could not be seen that all is well"
            await self._failed(actor, incident, words)
        elif watch.well_since is not None and well_s >= actor.spec.recovery.stabilize_s:
            await self._held(actor, incident, f"everything critical was well for {well_s:.0f} s")
        elif not watch.is_proven and watch.well_since is not None and well_s >= self._limits.canary_s:
            watch.is_proven = True
            await self._gate.is_well(incident.agent, incident.diagnosis.failure)

    async def _held(self, actor: Actor, incident: Incident, reason: str) -> None:
        now = self._supervisor.systems.now()
        await self._incidents.amend(incident.id, ended(ClimbOutcome.HELD, at=now, result=reason))
        self._reach("recover-held")
        fact = RungHeld(generation=actor.state.generation, incident=incident.id, reason=reason)
        await self._supervisor.apply(actor, fact, cause=CAUSE)
        watch = self._watches.pop(incident.id, None)
        if watch is None or not watch.is_proven:
            await self._gate.is_well(incident.agent, incident.diagnosis.failure)

    async def _failed(self, actor: Actor, incident: Incident, reason: str) -> None:
        now = self._supervisor.systems.now()
        await self._incidents.amend(incident.id, ended(ClimbOutcome.FAILED, at=now, result=reason))
        self._reach("recover-not-held")
        fact = RungFailed(generation=actor.state.generation, incident=incident.id, reason=reason)
        await self._supervisor.apply(actor, fact, cause=CAUSE)
        self._watches.pop(incident.id, None)
        await self._gate.was_lost(incident.agent, incident.diagnosis.failure)

    async def _look_again(self, actor: Actor, incident: Incident) -> None:
        """A person may have mended it. What was misconfigured is well again only by a person, so that is not waited for."""
        watch, now, pause_s = self._watch(incident), anyio.current_time(), self._limits.cool_down_s
        is_tried = bool(incident.climbs) and incident.climbs[-1].rung is Rung.SERVICE
        if is_tried or incident.diagnosis.failure is FailureClass.CONFIGURATION:
            pause_s = min(pause_s, actor.spec.recovery.stabilize_s)
        if now - watch.looked_at < pause_s:
            return
        watch.looked_at = now
        inc = await self._supervisor.incarnation(actor)
        if await self._is_over(actor, inc, incident):
            await self._held(actor, incident, "everything critical is well again")

    async def _is_over(self, actor: Actor, inc: Incarnation, incident: Incident) -> bool:
        """Not only what is critical must be well, but what a person was asked about: otherwise that is asked again and again."""
        if is_down(actor, incident) or is_quarantined(actor, incident):
            return False
        if incident.part is Part.WORKSPACE:
            wrong = await blocking.look("file", _FILE_S, wrong_with, inc.path)
            if wrong:
                return False
        return isinstance(trouble(actor, inc, incident), Absent)

    async def _tidy(self, actor: Actor, incident: Incident) -> None:
        """A restart by the policy that held; an incident after which all was well for long."""
        now = self._supervisor.systems.now()
        if is_under_way(incident) and not is_waiting(incident):
            last = incident.climbs[-1]
            is_well = is_down(actor, incident) is False
            if is_left(actor, incident) and not is_well:
                return
            if last.rung is Rung.PERSON:
                end = ended(ClimbOutcome.HELD, at=now, result="a person has started it again")
                await self._incidents.amend(incident.id, end)
            elif last.rung is not Rung.SERVICE:
                end = ended(ClimbOutcome.GIVEN_UP, at=now, result="it was cut off")
                await self._incidents.amend(incident.id, end)
            elif is_well and self._unchanged_s(incident) >= actor.spec.recovery.stabilize_s:
                await self._incidents.amend(incident.id, ended(ClimbOutcome.HELD, at=now))
            return
        if is_waiting(incident) or is_down(actor, incident):
            return
        if self._unchanged_s(incident) >= self._limits.close_after_s:
            await self._incidents.close(incident, "it has been well since")
            self._unchanged.pop(incident.id, None)

    def _unchanged_s(self, incident: Incident) -> float:
        """For how long nothing was seen of it or done about it, under this daemon."""
        now = anyio.current_time()
        known, since = self._unchanged.get(incident.id, (None, now))
        self._unchanged[incident.id] = (incident, since if known is incident else now)
        return now - self._unchanged[incident.id][1]

    # --- the end ----------------------------------------------------------------------------------------------

    async def abandon(self, agent: AgentId, reason: str) -> None:
        """Nothing that its incidents were about is there any more."""
        now = self._supervisor.systems.now()
        for incident in self._incidents.of(agent):
            await self._incidents.amend(incident.id, ended(ClimbOutcome.GIVEN_UP, at=now, result=reason))
            await self._incidents.close(incident, reason)
            self._watches.pop(incident.id, None)
            self._unchanged.pop(incident.id, None)
        await self._gate.is_gone(agent)

    async def respawn_failed(self, actor: Actor) -> None:
        """Nothing of it runs; the incident stays open, for the person who was asked."""
        for incident in self._incidents.of(actor.state.id):
            last = incident.climbs[-1] if incident.climbs else None
            if last is not None and last.rung is Rung.RESPAWN and is_under_way(incident):
                await self._ask(actor, incident)

    async def _ask(self, actor: Actor, incident: Incident) -> None:
        now, reason = self._supervisor.systems.now(), actor.state.reason
        await self._incidents.amend(incident.id, ended(ClimbOutcome.FAILED, at=now, result=reason))
        await self._incidents.amend(incident.id, climbing(Climb(rung=Rung.PERSON, at=now, because=reason)))
        await self._gate.asks_person(incident)
        await self._gate.was_lost(incident.agent, incident.diagnosis.failure)
