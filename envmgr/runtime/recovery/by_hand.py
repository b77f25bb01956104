"""What a person may ask of recovery: a measure now, the next one foretold, budgets filled again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from envmgr.core.ladder import HELPS, Case, choose
from envmgr.core.lifecycle import decide
from envmgr.errors import IllegalTransition
from envmgr.model.incident import (
    Climb,
    ClimbOutcome,
    Diagnosis,
    Evidence,
    FailureClass,
    Incident,
    Part,
    Rung,
    Symptom,
)
from envmgr.model.recovery import MEASURES
from envmgr.model.stimulus import RecoverRequested, RungHeld
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.choosing import ASKED, ASKED_ONLY, ORDER, Chooser
from envmgr.runtime.recovery.climbing import Climber
from envmgr.runtime.recovery.records import Incidents, climbing, ended, is_for_person, is_under_way
from envmgr.runtime.recovery.wellness import failed_units, has_lost_session, is_down, is_left
from envmgr.runtime.supervisor import Supervisor

_PARTS = {Rung.SERVICE: (Part.SERVICE,), Rung.SESSION: (Part.SESSION, Part.ASSISTANT)}
_NOTHING = "nothing is wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What would be done now, and what is left of the budgets: (rung, left, of how many)."""

    rung: Rung
    because: str
    incident: Incident | None
    left: tuple[tuple[Rung, int, int], ...]


class ByHand:
    """A person's words come before the ladder's."""

    def __init__(
        self, supervisor: Supervisor, incidents: Incidents, chooser: Chooser, climber: Climber
    ) -> None:
        self._supervisor, self._incidents = supervisor, incidents
        self._chooser, self._climber = chooser, climber

    async def foretell(self, actor: Actor, rung: Rung | None) -> Foretold:
        """What `recover` would do, and why; nothing is changed."""
        incident = self._wrong(actor, rung)
        acts = await self._supervisor.systems.store.read(lambda tx: ledger.acts(tx, actor.state.id))
        now, policy = self._supervisor.systems.steady(), actor.spec.recovery
        left = []
        for one in MEASURES:
            budget = policy.of(one).budget
            used = sum(act.rung is one and act.at > now - budget.window_s for act in acts)
            left.append((one, max(0, budget.count - used), budget.count))
        chosen, because = (rung, _words(rung)) if rung else await self._next(actor, incident)
        return Foretold(rung=chosen, because=because, incident=incident, left=tuple(left))

    async def _next(self, actor: Actor, incident: Incident | None) -> tuple[Rung, str]:
        """A person need not heed budgets. What nobody has reported is seen here at the latest."""
        if incident is not None:
            return _mildest(await self._chooser.case(actor, incident))
        if has_lost_session(actor):
            return Rung.SESSION, ASKED
        return (Rung.SERVICE, ASKED) if failed_units(actor) else (Rung.WAIT, _NOTHING)

    async def recover(self, actor: Actor, rung: Rung | None, *, cause: str) -> Incident | None:
        """Take a measure now; the ladder's choice without budgets and pauses when none is named. None: nothing is wrong.

        Raises:
            IllegalTransition: Nothing of the agent runs.
        """
        if actor.restoring:
            raise IllegalTransition(
                f"{actor.state.name} is being brought back after the restart of the machine",
                hint=f"Wait until it runs: `envmgr show {actor.state.name}`.",
            )
        foretold = await self.foretell(actor, rung)
        request = RecoverRequested(incident=1, rung=foretold.rung or Rung.SERVICE, reason=ASKED)
        decide(actor.state, request, 0.0)  # refused before anything is written
        if foretold.rung is Rung.WAIT:
            await self._go_on(actor, cause)
            return None
        async with self._climber.turn(actor.state.id):
            await self._climber.cut_off(actor)
            return await self._begin_climb(actor, foretold, request, cause)

    async def _begin_climb(
        self, actor: Actor, foretold: Foretold, request: RecoverRequested, cause: str
    ) -> Incident:
        # As it is by now: the ladder may have gone on with it.
        known = self._incidents.get(foretold.incident.id) if foretold.incident is not None else None
        incident = known or await self._open(actor, foretold.rung)
        await self._put_off_others(actor, incident)
        now = self._supervisor.systems.now()
        if is_under_way(incident):
            end = ended(ClimbOutcome.GIVEN_UP, at=now, result="a person's request came first")
            await self._incidents.amend(incident.id, end)
        climb = Climb(rung=foretold.rung, at=now, because=foretold.because)
        incident = await self._incidents.amend(incident.id, climbing(climb))
        self._climber.at_once.add(actor.state.id)
        self._climber.acting.add(actor.state.id)
        try:
            await self._supervisor.apply(actor, replace(request, incident=incident.id), cause=cause)
        except BaseException:
            self._climber.acting.discard(actor.state.id)
            raise
        return incident

    async def refill(self, actor: Actor) -> None:
        """Forget what budgets have counted, restart policies' too."""

        def refill(tx: Transaction) -> None:
            ledger.forget(tx, actor.state.id)
            restart_history.forget(tx, actor.state.id)

        await self._supervisor.systems.store.write(refill)
        actor.ends.clear()

    def _wrong(self, actor: Actor, rung: Rung | None) -> Incident | None:
        """What is wrong now: a session before services, the newest first. A measure that is named prefers what it is for."""
        mine = [one for one in self._incidents.of(actor.state.id) if self._is_wrong(actor, one)]
        fitting = [one for one in mine if rung is None or one.part in _PARTS.get(rung, (one.part,))]
        if rung is not Rung.SERVICE:
            fitting = fitting or mine
        return min(fitting, key=lambda one: (ORDER.index(one.part), -one.id), default=None)

    def _is_wrong(self, actor: Actor, incident: Incident) -> bool:
        down = is_down(actor, incident)
        is_asked = incident.id == actor.state.incident or is_for_person(incident)
        return down if down is not None else is_asked or self._chooser.is_pressing(incident)

    async def _put_off_others(self, actor: Actor, incident: Incident) -> None:
        """A person who was asked about something else has not mended that with this."""
        for other in self._incidents.of(actor.state.id):
            if other.id != incident.id and is_for_person(other) and not is_left(actor, other):
                now, reason = self._supervisor.systems.now(), "something else is seen to first"
                await self._incidents.amend(other.id, ended(ClimbOutcome.GIVEN_UP, at=now, result=reason))
                self._chooser.press_again(other)

    async def _go_on(self, actor: Actor, cause: str) -> None:
        """An agent that waits for a person and is well waits no longer."""
        state, now = actor.state, self._supervisor.systems.now()
        if state.rung is not Rung.PERSON:
            return
        if self._incidents.get(state.incident) is not None:
            end = ended(ClimbOutcome.HELD, at=now, result=_NOTHING)
            await self._incidents.amend(state.incident, end)
        held = RungHeld(generation=state.generation, incident=state.incident, reason=_NOTHING)
        await self._supervisor.apply(actor, held, cause=cause)

    async def _open(self, actor: Actor, rung: Rung) -> Incident:
        now = self._supervisor.systems.now()
        asked_at = self._supervisor.systems.steady()
        part = _PARTS.get(rung, (Part.WORKSPACE,))[0]
        failed = failed_units(actor) if rung is Rung.SERVICE else []
        subject = failed[0] if len(failed) == 1 else ""
        symptom = Symptom(part=part, subject=subject, words=ASKED, at=asked_at)
        diagnosis = Diagnosis(
            failure=FailureClass.UNKNOWN,
            entry=rung,
            confidence=1.0,
            evidence=(Evidence(source="person", text=ASKED, at=now),),
            fingerprint=ASKED,
        )
        known = self._incidents.same(actor.state.id, symptom, diagnosis)
        return known or await self._incidents.begin(actor, symptom, diagnosis)


def _words(rung: Rung) -> str:
    """A restart of services is no beginning of a climb; the others are, of what they are for."""
    return ASKED_ONLY if rung is Rung.SERVICE else ASKED


def _mildest(case: Case) -> tuple[Rung, str]:
    bare = replace(
        case, acts=(), pause="", is_talking=False, is_mid_edit=False, is_cause_gone=True, is_asked_only=False
    )
    chosen = choose(bare)
    if chosen.rung in MEASURES:
        return chosen.rung, f"{ASKED}; {chosen.because}"
    return next(iter(HELPS[case.incident.diagnosis.failure]), _fallback(case)), ASKED


def _fallback(case: Case) -> Rung:
    """A person who was asked, has mended the template or the code, and wants to see."""
    return Rung.SERVICE if case.incident.part is Part.SERVICE else Rung.RESPAWN
