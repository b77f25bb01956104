"""Try a service again whose source was changed after it was given up: once for each change, soon after the last one.

Agents break the code they work on, and mend it. Nobody else would notice the second half: what is down asks for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.errors import EnvmgrError
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, ClimbOutcome, FailureClass, Incident, Part, Rung
from envmgr.model.recovery import MEASURES, RecoveryLimits
from envmgr.runtime import symptoms
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery.climbing import Climber
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.measures import Measures
from envmgr.runtime.recovery.records import (
    Incidents,
    climbing,
    ended,
    is_for_person,
    is_under_way,
    is_waiting,
    noted,
)
from envmgr.runtime.recovery.wellness import is_down, is_in_hand, is_minor
from envmgr.runtime.supervisor import Supervisor

CHANGED = "its source was changed"
_OF_SOURCE = (FailureClass.CRASH, FailureClass.CONFIGURATION, FailureClass.UNKNOWN)
_FORGET_S, _MOST_S = 600.0, 60.0
_CALM, _STILL = 3, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An answer of git, when it was asked (monotonic), and when the source was changed last."""

    newest: float
    asked_at: float
    changed_at: float


class Edits:
    """When the source of an agent was changed last. Git is asked at a calm pace, and only for agents that somebody asks about."""

    def __init__(self, supervisor: Supervisor, period_s: float) -> None:
        """`period_s`: so long an answer is good; longer where nothing has been changed for some time."""
        self._supervisor, self._period_s = supervisor, period_s
        self._known: dict[str, _Seen] = {}

    async def last(self, actor: Actor) -> float:
        """In Unix time; 0 when nobody can tell."""
        known = self._known.get(actor.state.id)
        if known is None or self._is_stale(known):
            newest = await symptoms.edited_at(await self._supervisor.incarnation(actor))
            known = self._known[actor.state.id] = self._seen(known, newest)
        return known.changed_at

    def _is_stale(self, known: _Seen) -> bool:
        still_s = self._supervisor.systems.now() - known.changed_at
        patience_s = min(_CALM * self._period_s, max(self._period_s, still_s / _STILL))
        return anyio.current_time() - known.asked_at >= patience_s

    def _seen(self, known: _Seen | None, newest: float | None) -> _Seen:
        """What was changed and is taken back looks as if it had never been changed: that is a change, too."""
        if newest is None:  # nobody can tell
            newest = known.newest if known is not None else 0.0
        changed_at = newest
        if known is not None:
            is_back = newest < known.newest
            changed_at = self._supervisor.systems.now() if is_back else max(newest, known.changed_at)
        return _Seen(newest=newest, asked_at=anyio.current_time(), changed_at=changed_at)

    def forget(self, agent: AgentId) -> None:
        """Something failed: git is asked anew."""
        if agent in self._known:
            self._known[agent] = replace(self._known[agent], asked_at=float("-inf"))

    async def is_mid_edit(self, actor: Actor, incident: Incident) -> bool:
        """Whether the source of what failed is being changed just now."""
        if incident.part is not Part.SERVICE or incident.diagnosis.failure not in _OF_SOURCE:
            return False
        return symptoms.is_just_now(await self.last(actor), self._supervisor.systems.now())


class Retrials:
    """One service at a time per agent, and ever more slowly while that does not help."""

    def __init__(
        self,
        supervisor: Supervisor,
        incidents: Incidents,
        edits: Edits,
        climber: Climber,
        measures: Measures,
        limits: RecoveryLimits,
    ) -> None:
        self._supervisor, self._incidents, self._edits = supervisor, incidents, edits
        self._climber, self._measures, self._limits = climber, measures, limits
        self._tries: dict[tuple[str, str], tuple[int, float]] = {}
        self.group: TaskGroup | None = None

    async def look(self, actor: Actor) -> bool:
        """Begin to try again what was changed; whether that was done."""
        for incident in self._incidents.of(actor.state.id):
            if await self._is_due(actor, incident):
                await self._begin(actor, incident)
                return True
            await self._ask_again(actor, incident)
        return False

    async def _is_due(self, actor: Actor, incident: Incident) -> bool:
        is_stuck = is_waiting(incident) or is_for_person(incident)
        is_of_source = incident.part is Part.SERVICE and incident.diagnosis.failure in _OF_SOURCE
        if not (is_stuck and is_of_source) or is_in_hand(actor) or is_down(actor, incident) is not True:
            return False
        if self.group is None or self._supervisor.safe_mode or not self._limits.is_on:
            return False
        tries, tried_at = self._tries.get(_key(incident), (0, float("-inf")))
        pause_s = min(_MOST_S, self._limits.edits_s * 2**tries)
        if anyio.current_time() - tried_at < pause_s:
            return False
        edited = await self._edits.last(actor)
        return _begun_at(incident) < edited <= self._supervisor.systems.now() - self._limits.edits_s

    async def _begin(self, actor: Actor, incident: Incident) -> None:
        now = anyio.current_time()
        tries, tried_at = self._tries.get(_key(incident), (0, now))
        self._tries[_key(incident)] = (tries + 1 if now - tried_at < _FORGET_S else 1, now)
        end = ended(ClimbOutcome.GIVEN_UP, at=self._supervisor.systems.now(), result=CHANGED)
        await self._incidents.amend(incident.id, end)
        climb = Climb(rung=Rung.SERVICE, at=self._supervisor.systems.now(), because=CHANGED)
        incident = await self._incidents.amend(incident.id, climbing(climb))
        assert self.group is not None, "that was looked at"
        self._climber.acting.add(actor.state.id)
        tasks.start(self.group, "trying a service again", self._try, actor, incident)

    async def _try(self, actor: Actor, incident: Incident) -> None:
        """A stop, or a person's request, cuts it off."""
        with anyio.CancelScope() as scope:
            self._climber.begins(actor, scope)
            try:
                await self._act(actor, incident)
            finally:
                self._climber.over(actor)

    async def _act(self, actor: Actor, incident: Incident) -> None:
        measure = Measure(
            rung=Rung.SERVICE,
            incident=incident.id,
            key=f"{incident.id}/{incident.climbs[-1].at:.3f}",
            unit=incident.subject,
            failure=incident.diagnosis.failure,
            because=CHANGED,
        )
        try:
            done = noted(await self._measures.act(actor, measure))
        except EnvmgrError as error:
            done = ended(ClimbOutcome.FAILED, at=self._supervisor.systems.now(), result=error.message)
        await self._incidents.amend(incident.id, done)

    async def _ask_again(self, actor: Actor, incident: Incident) -> None:
        """A try for what a person had been asked about did not help: the person is still asked, and not told again."""
        is_tried = bool(incident.climbs) and incident.climbs[-1].because == CHANGED
        asked = [climb for climb in incident.climbs if climb.rung is Rung.PERSON]
        if not (is_tried and asked) or is_in_hand(actor) or not is_down(actor, incident):
            return
        is_frozen = actor.state.rung is Rung.PERSON and actor.state.incident == incident.id
        if not (is_frozen or is_minor(actor, incident)):
            return
        now = self._supervisor.systems.now()
        if is_under_way(incident):
            end = ended(ClimbOutcome.FAILED, at=now, result="it is down again")
            await self._incidents.amend(incident.id, end)
        asks = Climb(rung=Rung.PERSON, at=now, because=asked[-1].because)
        await self._incidents.amend(incident.id, climbing(asks))


def _key(incident: Incident) -> tuple[str, str]:
    return incident.agent, incident.subject


def _begun_at(incident: Incident) -> float:
    """When it was last started, as far as is known: what was changed before then it has seen."""
    return max((climb.at for climb in incident.climbs if climb.rung in MEASURES), default=incident.opened_at)
