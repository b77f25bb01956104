"""Incidents as they are kept: open ones in memory, each change in the store first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, ClimbOutcome, Diagnosis, Incident, Part, Rung, Symptom
from envmgr.protocols.store import Transaction
from envmgr.runtime.actor import Actor
from envmgr.runtime.supervisor import Supervisor

_KEPT = 50

Change = Callable[[Incident], Incident]


class Incidents:
    """Those that are open. `load` before anything else."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._open: dict[int, Incident] = {}
        self._latest: dict[int, float] = {}

    async def load(self) -> None:
        """What earlier daemons left open."""
        found = await self._supervisor.systems.store.read(lambda tx: tx.incidents(open_only=True))
        self._open = {incident.id: incident for incident in reversed(found)}

    def all(self) -> Sequence[Incident]:
        """Oldest first."""
        return tuple(self._open.values())

    def of(self, agent: AgentId) -> Sequence[Incident]:
        """Of one agent, oldest first."""
        return tuple(one for one in self._open.values() if one.agent == agent)

    def get(self, incident: int) -> Incident | None:
        """One that is open."""
        return self._open.get(incident)

    def same(self, agent: AgentId, symptom: Symptom, diagnosis: Diagnosis) -> Incident | None:
        """The open one that this is about, by its key."""
        key = (symptom.part, symptom.subject, diagnosis.failure, diagnosis.fingerprint)
        return next((one for one in self.of(agent) if _key(one) == key), None)

    async def begin(self, actor: Actor, symptom: Symptom, diagnosis: Diagnosis) -> Incident:
        """Open one."""
        state = actor.state
        incident = Incident(
            agent=state.id,
            name=state.name,
            generation=state.generation,
            part=symptom.part,
            subject=symptom.subject,
            words=symptom.words,
            diagnosis=diagnosis,
            opened_at=(at := self._wall(symptom)),
            seen_at=at,
            template=actor.spec.template,
        )
        number = await self._supervisor.systems.store.write(lambda tx: tx.add_incident(incident))
        incident = self._open[number] = replace(incident, id=number)
        self._latest[number] = symptom.at
        failure = diagnosis.failure.value
        data = {"incident": number, "failure": failure, "part": symptom.part.value, "words": symptom.words}
        await self._record(incident, "incident.opened", {**data, "service": symptom.subject})
        return incident

    async def saw_again(self, incident: Incident, symptom: Symptom) -> Incident:
        """It happened once more."""
        at, number = self._wall(symptom), incident.id
        self._latest[number] = max(symptom.at, self._latest.get(number, 0.0))
        return await self.amend(
            number,
            lambda known: replace(known, symptoms=known.symptoms + 1, seen_at=at, words=symptom.words),
        )

    def is_latest(self, incident: Incident, symptom: Symptom) -> bool:
        """Whether no later symptom of it was told before this one, to this daemon."""
        return symptom.at >= self._latest.get(incident.id, 0.0)

    def _wall(self, symptom: Symptom) -> float:
        """When it was seen, for people."""
        systems = self._supervisor.systems
        return systems.now() - max(0.0, systems.steady() - symptom.at)

    async def amend(
        self, incident: int, change: Change, also: Callable[[Transaction], None] | None = None
    ) -> Incident:
        """Store what is known now; `also` belongs to the same commit."""

        def write(tx: Transaction) -> Incident:
            known = tx.incident(incident)
            assert known is not None, "open incidents are deleted by nobody"
            after = change(known)
            tx.replace_incident(after)
            if also is not None:
                also(tx)
            return after

        after = await self._supervisor.systems.store.write(write)
        self._open[incident] = after
        return after

    async def supersede(self, agent: AgentId, *, sparing: int) -> None:
        """A service fails in one way at a time: what was known of it before its latest failure is over.

        Args:
            sparing: The incident a measure is under way for; 0: none.
        """
        mine = sorted(self.of(agent), key=lambda one: (one.seen_at, one.id))
        latest = {one.subject: one for one in mine if one.part is Part.SERVICE}
        for one in mine:
            newer = latest.get(one.subject, one)
            if one.part is not Part.SERVICE or one is newer or one.id == sparing:
                continue
            reason, now = f"it failed in another way: incident {newer.id}", self._supervisor.systems.now()
            await self.amend(one.id, ended(ClimbOutcome.GIVEN_UP, at=now, result=reason))
            await self.close(one, reason)

    async def close(self, incident: Incident, reason: str) -> None:
        """It is over."""
        now = self._supervisor.systems.now()
        await self.amend(incident.id, lambda known: replace(known, closed_at=now))
        del self._open[incident.id]
        self._latest.pop(incident.id, None)
        await self._record(incident, "incident.closed", {"incident": incident.id, "reason": reason})

    async def _record(self, incident: Incident, kind: str, data: dict[str, object]) -> None:
        event = NewEvent(kind=kind, agent=incident.agent, generation=incident.generation, data=data)
        await self._supervisor.record(event)


def climbing(climb: Climb) -> Change:
    """One more measure; of a failure that comes again and again the first ones are forgotten."""
    return lambda known: replace(known, climbs=(*known.climbs, climb)[-_KEPT:])


def ended(outcome: ClimbOutcome, *, at: float, result: str = "", is_unsafe: bool = False) -> Change:
    """How the last measure ended; one that has ended already stays as it is."""

    def change(known: Incident) -> Incident:
        if not is_under_way(known):
            return known
        last = replace(known.climbs[-1], outcome=outcome, ended_at=at, result=result, is_unsafe=is_unsafe)
        return replace(known, climbs=(*known.climbs[:-1], last))

    return change


def noted(result: str) -> Change:
    """What the measure under way has done; whether it helps is not known yet."""

    def change(known: Incident) -> Incident:
        if not is_under_way(known):
            return known
        return replace(known, climbs=(*known.climbs[:-1], replace(known.climbs[-1], result=result)))

    return change


def is_under_way(incident: Incident) -> bool:
    """Whether a measure was begun that has not ended."""
    return bool(incident.climbs) and incident.climbs[-1].outcome is ClimbOutcome.RUNNING


def has_held(incident: Incident) -> bool:
    """The last measure has helped."""
    return bool(incident.climbs) and incident.climbs[-1].outcome is ClimbOutcome.HELD


def is_waiting(incident: Incident) -> bool:
    """Whether nothing is done about it for now."""
    return is_under_way(incident) and incident.climbs[-1].rung is Rung.WAIT


def is_for_person(incident: Incident) -> bool:
    """Whether a person was asked and has not mended it yet."""
    return is_under_way(incident) and incident.climbs[-1].rung is Rung.PERSON


def _key(incident: Incident) -> tuple[object, ...]:
    known = incident.diagnosis
    return (incident.part, incident.subject, known.failure, known.fingerprint)
