"""What a person may ask of recovery: a measure now, the next one foretold, budgets filled again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from envmgr.core.ladder import HELPS, Case, choose
from envmgr.core.lifecycle import decide
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
from envmgr.model.stimulus import RecoverRequested
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.choosing import Chooser
from envmgr.runtime.recovery.climbing import Climber
from envmgr.runtime.recovery.records import Incidents, climbing, ended, is_under_way
from envmgr.runtime.supervisor import Supervisor

_ASKED = "asked for by a person"
_PARTS = {Rung.SERVICE: Part.SERVICE, Rung.SESSION: Part.SESSION}


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
        incident = self._newest(actor)
        case = await self._chooser.case(actor, incident) if incident is not None else None
        acts = await self._supervisor.systems.store.read(lambda tx: ledger.acts(tx, actor.state.id))
        now, policy = self._supervisor.systems.steady(), actor.spec.recovery
        left = []
        for one in MEASURES:
            budget = policy.of(one).budget
            used = sum(act.rung is one and act.at > now - budget.window_s for act in acts)
            left.append((one, max(0, budget.count - used), budget.count))
        chosen, because = (rung, _ASKED) if rung is not None else _next(case)
        return Foretold(rung=chosen, because=because, incident=incident, left=tuple(left))

    async def recover(self, actor: Actor, rung: Rung | None, *, cause: str) -> Incident:
        """Take a measure now; the ladder's choice without budgets and pauses when none is named.

        Raises:
            IllegalTransition: Nothing of the agent runs.
        """
        foretold = await self.foretell(actor, rung)
        request = RecoverRequested(incident=1, rung=foretold.rung, reason=_ASKED)
        decide(actor.state, request, 0.0)  # refused before anything is written
        self._climber.asked.add(actor.state.id)
        try:
            await self._give_way(actor)
            return await self._begin_climb(actor, foretold, request, cause)
        finally:
            self._climber.asked.discard(actor.state.id)

    async def _begin_climb(
        self, actor: Actor, foretold: Foretold, request: RecoverRequested, cause: str
    ) -> Incident:
        incident = foretold.incident or await self._open(actor, foretold.rung)
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

    async def _give_way(self, actor: Actor) -> None:
        """The measure under way is cut off."""
        if actor.climbing is not None:
            actor.climbing.cancel()
        await self._climber.is_idle(actor)

    def _newest(self, actor: Actor) -> Incident | None:
        mine = self._incidents.of(actor.state.id)
        present = [one for one in mine if one.id == actor.state.incident]
        pressing = [one for one in mine if self._chooser.is_pressing(one)]
        return next(iter(present or pressing[::-1]), None)

    async def _open(self, actor: Actor, rung: Rung) -> Incident:
        now = self._supervisor.systems.now()
        asked_at = self._supervisor.systems.steady()
        symptom = Symptom(part=_PARTS.get(rung, Part.WORKSPACE), words=_ASKED, at=asked_at)
        diagnosis = Diagnosis(
            failure=FailureClass.UNKNOWN,
            entry=rung,
            confidence=1.0,
            evidence=(Evidence(source="person", text=_ASKED, at=now),),
            fingerprint=_ASKED,
        )
        known = self._incidents.same(actor.state.id, symptom, diagnosis)
        return known or await self._incidents.begin(actor, symptom, diagnosis)


def _next(case: Case | None) -> tuple[Rung, str]:
    """A person need not heed budgets; without an incident there is nothing to heed either."""
    if case is None:
        return Rung.SESSION, _ASKED
    chosen = choose(replace(case, acts=(), pause="", is_talking=False, is_mid_edit=False, is_cause_gone=True))
    if chosen.rung in MEASURES:
        return chosen.rung, f"{_ASKED}; {chosen.because}"
    return next(iter(HELPS[case.incident.diagnosis.failure]), Rung.RESPAWN), _ASKED
