"""Ask the ladder about what presses, and commit its choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from envmgr.core.decision import Decision
from envmgr.core.ladder import WAITED_OUT, Act, Case, Choice, choose, remembered
from envmgr.model.agent import Activity
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, ClimbOutcome, FailureClass, Incident, Part, Rung, Symptom
from envmgr.model.observe import Present
from envmgr.model.recovery import MEASURES, RecoveryLimits
from envmgr.model.stimulus import RungChosen, RungHeld
from envmgr.protocols.store import Transaction
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.climbing import Climber
from envmgr.runtime.recovery.clock import steady
from envmgr.runtime.recovery.gate import Gate
from envmgr.runtime.recovery.pace import Pace
from envmgr.runtime.recovery.records import (
    Incidents,
    climbing,
    ended,
    has_held,
    is_for_person,
    is_under_way,
    is_waiting,
)
from envmgr.runtime.recovery.retrying import Edits
from envmgr.runtime.recovery.wellness import is_down, is_left, is_minor, roots_are_well
from envmgr.runtime.supervisor import Supervisor

CAUSE = "recovery"
ASKED = "asked for by a person"
ASKED_ONLY = f"{ASKED}, and nothing beyond it"
ORDER = (Part.HOST, Part.ENGINE, Part.WORKSPACE, Part.SESSION, Part.ASSISTANT, Part.SERVICE)
_UNKNOWN_AGAIN_S = 3600.0
_FRESH_S = 60.0
_PROVIDER_S = 900.0
_CALM = 10
_UNSAFE = "the work could not be saved first"


class Chooser:
    """Knows what presses: incidents about which something is to be done.

    Attributes:
        is_resting: The daemon is ending; the next one goes on.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        incidents: Incidents,
        gate: Gate,
        climber: Climber,
        limits: RecoveryLimits,
        *,
        edits: Edits,
        reach: Callable[[str], None],
    ) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor, self._incidents, self._gate = supervisor, incidents, gate
        self._climber, self._limits, self._reach, self._edits = climber, limits, reach, edits
        self._pressing: dict[int, Symptom | None] = {}
        self._pace = Pace(supervisor, gate, calm_s=_CALM * limits.look_s)
        self.is_resting = False

    def load(self) -> None:
        """What earlier daemons had not mended presses still."""
        for incident in self._incidents.all():
            if not has_held(incident):
                self._pressing[incident.id] = None

    def is_pressing(self, incident: Incident) -> bool:
        """Whether something is to be done about it."""
        return incident.id in self._pressing

    async def press(self, incident: Incident, symptom: Symptom) -> None:
        """It was reported."""
        if incident.id not in self._pressing:
            await self._gate.noticed(incident.agent, incident.diagnosis.failure)
        self._pressing[incident.id] = symptom
        self._edits.forget(incident.agent)
        if symptom.part is Part.SERVICE:  # told once; the others are said again for as long as they are so
            self._pace.hurry(incident)

    def hurry(self) -> None:
        """What waits may have to wait no longer."""
        self._pace.hurry()

    def press_again(self, incident: Incident) -> None:
        """Something else is seen to first, by a person's word; it is this one's turn later."""
        self._pressing[incident.id] = None

    def forget(self, agent: AgentId) -> None:
        """Nothing of it presses any more."""
        mine = {incident.id for incident in self._incidents.of(agent)}
        self._pressing = {
            number: symptom
            for number, symptom in self._pressing.items()
            if number not in mine and self._incidents.get(number) is not None
        }

    def ailing(self) -> Sequence[tuple[str, str]]:
        """(agent, class) of all that is not mended yet and waits for no person."""
        return [
            (incident.agent, incident.diagnosis.failure.value)
            for incident in self._incidents.all()
            if (incident.id in self._pressing or is_under_way(incident)) and not is_for_person(incident)
        ]

    async def look(self, actor: Actor) -> None:
        """Choose for one incident of an agent that runs, unless a measure is still being watched."""
        mine = sorted(self._incidents.of(actor.state.id), key=lambda one: ORDER.index(one.part))
        under_way = next((one for one in mine if one.id == actor.state.incident), None)
        if under_way is not None and not has_held(under_way) and not is_left(actor, under_way):
            if not is_under_way(under_way) or is_waiting(under_way):
                await self._choose(actor, under_way)
            return
        if (
            actor.state.rung is not None
        ):  # what it was taken against is over; a daemon may have died before it could say so
            state, reason = actor.state, "its incident is over"
            over = RungHeld(generation=state.generation, incident=state.incident, reason=reason)
            await self._supervisor.apply(actor, over, cause=CAUSE)
            return
        for incident in mine:
            if incident.id not in self._pressing or is_left(actor, incident):
                continue
            if await self._still_presses(actor, incident):
                await self._choose(actor, incident)
                return

    async def _still_presses(self, actor: Actor, incident: Incident) -> bool:
        """What became well by itself, or by a person, needs nothing. What was not seen since a restart of the daemon waits for that."""
        seen, now = is_down(actor, incident), self._supervisor.systems.now()
        symptom = self._pressing[incident.id]
        if seen is None and symptom is not None and steady(self._supervisor.systems) - symptom.at > _FRESH_S:
            seen = False  # who reports such things says so again while it is so
        if seen is False:
            del self._pressing[incident.id]
            end = ended(ClimbOutcome.HELD, at=now, result="it is well again")
            await self._incidents.amend(incident.id, end)
            return False
        return seen is True or symptom is not None

    async def _choose(self, actor: Actor, incident: Incident) -> None:
        if not self._pace.is_due(incident):
            return
        if _is_asked_only(incident) and incident.diagnosis.fingerprint == ASKED:
            await self._incidents.close(incident, "what a person asked for did not help")
            return
        choice = choose(await self.case(actor, incident))
        if choice.rung is Rung.WAIT:
            await self._wait(incident, choice)
        else:
            await self._begin(actor, incident, choice)

    async def case(self, actor: Actor, incident: Incident) -> Case:
        """All that the ladder is told."""
        inc = await self._supervisor.incarnation(actor)
        state = actor.state
        acts = await self._supervisor.systems.store.read(lambda tx: ledger.acts(tx, state.id))
        unsafe = any(climb.is_unsafe for climb in incident.climbs)
        return Case(
            incident=incident,
            policy=actor.spec.recovery,
            acts=acts,
            now=steady(self._supervisor.systems),
            is_mid_edit=await self._edits.is_mid_edit(actor, incident),
            is_cause_gone=await self._is_cause_gone(actor, inc, incident),
            is_unknown_again=await self._is_unknown_again(incident),
            is_talking=state.activity is Activity.AWAITING_INPUT,
            is_critical=not is_minor(actor, incident),
            is_asked_only=_is_asked_only(incident),
            pause=self._pause(incident),
            forbidden=dict.fromkeys(MEASURES[1:], _UNSAFE) if unsafe else {},
        )

    def _pause(self, incident: Incident) -> str:
        if self.is_resting:
            return "the daemon is ending"
        if not self._limits.is_on:
            return "recovery is switched off (`recovery.enabled`)"
        climbing_now = self._climber.acting
        return self._gate.refuses(incident.agent, incident.diagnosis.failure, climbing_now)

    async def _is_cause_gone(self, actor: Actor, inc: Incarnation, incident: Incident) -> bool:
        failure = incident.diagnosis.failure
        if failure not in WAITED_OUT:  # such as a limit of the provider: tried again now and then
            return is_waiting(incident) and self._pace.waited_s(incident) >= _PROVIDER_S
        if failure is FailureClass.DEPENDENCY:
            return roots_are_well(actor, inc, incident.subject)
        if failure is FailureClass.ENGINE:
            engine = self._supervisor.systems.engine
            return engine is not None and isinstance(await engine.knock(), Present)
        if failure is FailureClass.HOST:
            return not await self._supervisor.pulse.look()
        return is_waiting(incident)  # the network: tried again as its breaker allows

    async def _is_unknown_again(self, incident: Incident) -> bool:
        if incident.diagnosis.failure is not FailureClass.UNKNOWN:
            return False
        since = incident.opened_at - _UNKNOWN_AGAIN_S
        before = await self._supervisor.systems.store.read(
            lambda tx: tx.incidents(agent=incident.agent, after_at=since, limit=10)
        )
        return any(one.id != incident.id and one.diagnosis.failure is FailureClass.UNKNOWN for one in before)

    async def _wait(self, incident: Incident, choice: Choice) -> None:
        now = self._supervisor.systems.now()
        if is_waiting(incident) and incident.climbs[-1].because == choice.because:
            return
        if is_waiting(incident):  # the same wait, for another reason
            last = replace(incident.climbs[-1], because=choice.because)
            await self._incidents.amend(
                incident.id, lambda known: replace(known, climbs=(*known.climbs[:-1], last))
            )
            return
        wait = Climb(rung=Rung.WAIT, at=now, because=choice.because)
        await self._incidents.amend(incident.id, climbing(wait))

    async def _begin(self, actor: Actor, incident: Incident, choice: Choice) -> None:
        now = self._supervisor.systems.now()
        if is_under_way(incident):
            result = "the wait is over" if is_waiting(incident) else "it was cut off"
            end = ended(ClimbOutcome.GIVEN_UP, at=now, result=result)
            incident = await self._incidents.amend(incident.id, end)
        if choice.rung is Rung.PERSON and (restart := actor.pending.get(incident.subject)) is not None:
            restart.cancel()
        if choice.rung is Rung.PERSON and is_minor(actor, incident):
            await self._leave(actor, incident, choice)
            return
        await self.count(incident, Climb(rung=choice.rung, at=now, because=choice.because))
        self._reach("recover-recorded")
        if choice.rung is Rung.PERSON:
            await self._gate.asks_person(incident)
            await self._gate.was_lost(incident.agent, incident.diagnosis.failure)
        else:
            await self._gate.goes(incident.agent, incident.diagnosis.failure)
        fact = RungChosen(
            generation=actor.state.generation, incident=incident.id, rung=choice.rung, reason=choice.because
        )
        decision = await self._apply(actor, fact)
        self._pressing.pop(incident.id, None)
        if decision.ignored:
            end = ended(ClimbOutcome.GIVEN_UP, at=now, result=decision.ignored)
            await self._incidents.amend(incident.id, end)
        self._reach("recover-chosen")

    async def _leave(self, actor: Actor, incident: Incident, choice: Choice) -> None:
        """What is not critical stays down, and a person is told. Rather twice than never, if the daemon dies in between."""
        state = actor.state
        data = {"text": f"{state.name}: {choice.because}"}
        await self._supervisor.record(
            NewEvent(kind="notice", agent=state.id, generation=state.generation, data=data)
        )
        asks = Climb(rung=Rung.PERSON, at=self._supervisor.systems.now(), because=choice.because)
        await self._incidents.amend(incident.id, climbing(asks))
        await self._gate.was_lost(incident.agent, incident.diagnosis.failure)

    async def _apply(self, actor: Actor, fact: RungChosen) -> Decision:
        """What is noticed of the agent says nothing from here on, unless the measure is not owed after all."""
        is_owed = False
        if fact.rung is not Rung.PERSON:
            self._climber.acting.add(actor.state.id)
        try:
            decision = await self._supervisor.apply(actor, fact, cause=CAUSE)
            is_owed = not decision.ignored
        finally:
            if not is_owed:
                self._climber.acting.discard(actor.state.id)
                actor.changed()
        return decision

    async def count(self, incident: Incident, climb: Climb) -> None:
        """Record a measure, and charge the budget in the same commit."""
        agent, now = incident.agent, steady(self._supervisor.systems)
        actor = self._supervisor.actor(agent)

        def charge(tx: Transaction) -> None:
            if climb.rung in MEASURES and actor is not None:
                act = Act(rung=climb.rung, at=now, subject=incident.subject)
                taken = (*ledger.acts(tx, agent), act)
                ledger.write_acts(tx, agent, remembered(actor.spec.recovery, taken, now=now))

        await self._incidents.amend(incident.id, climbing(climb), charge)


def _is_asked_only(incident: Incident) -> bool:
    last = incident.climbs[-1] if incident.climbs else None
    return last is not None and last.because == ASKED_ONLY and last.outcome is ClimbOutcome.FAILED
