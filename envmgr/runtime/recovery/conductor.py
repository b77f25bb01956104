"""From what is noticed to what is done about it: incident, rung, measure, and whether that helped. One recovery per agent at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.classify import diagnose
from envmgr.core.ladder import is_code_broken
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, ClimbOutcome, Diagnosis, Incident, Part, Rung, Symptom
from envmgr.model.recovery import RecoveryLimits
from envmgr.model.stimulus import RungHeld
from envmgr.protocols.store import OwedEffect
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.by_hand import ByHand
from envmgr.runtime.recovery.choosing import Chooser
from envmgr.runtime.recovery.climbing import Climber
from envmgr.runtime.recovery.gate import Gate
from envmgr.runtime.recovery.measures import Measures
from envmgr.runtime.recovery.records import (
    Incidents,
    climbing,
    ended,
    is_for_person,
    is_under_way,
    is_waiting,
)
from envmgr.runtime.recovery.retrying import Edits, Retrials
from envmgr.runtime.recovery.verifying import Verifier
from envmgr.runtime.recovery.wellness import is_left
from envmgr.runtime.saga import never
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_POLICY = "its restart policy"

Opened = Callable[[Actor, Incident, Symptom], None]
"""Told about each new incident; returns at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """`restart`: what the restart policy does about it; empty when it is the ladder's turn."""

    symptom: Symptom
    restart: str = ""


@lru_cache(maxsize=100)
def _diagnosed(symptom: Symptom) -> Diagnosis:
    """What is said again need not be read again."""
    return diagnose(symptom)


class Conductor:
    """Owns incidents. `load` before agents are adopted, `run` afterwards.

    Attributes:
        on_opened: Gathers the context of a new incident.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        measures: Measures,
        limits: RecoveryLimits,
        *,
        reach: Callable[[str], None] = never,
    ) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor, self._limits = supervisor, limits
        self.incidents = Incidents(supervisor)
        self.gate = Gate(supervisor, limits)
        self._climber = Climber(supervisor, measures, self.incidents, limits, reach=reach, taken=self.wake)
        self._verifier = Verifier(supervisor, self.incidents, self.gate, limits, reach=reach)
        edits = Edits(supervisor, limits.edits_s)
        self._chooser = Chooser(
            supervisor, self.incidents, self.gate, self._climber, limits, edits=edits, reach=reach
        )
        self._retrials = Retrials(supervisor, self.incidents, edits, self._climber, measures, limits)
        self.by_hand = ByHand(supervisor, self.incidents, self._chooser, self._climber)
        self._news: dict[tuple[AgentId, str, str], list[_News]] = {}
        self._woken = anyio.Event()
        self.on_opened: Opened | None = None

    # --- what others call ----------------------------------------------------------------------------------

    def report(self, actor: Actor, symptom: Symptom) -> None:
        """Something is wrong; may be said as long as it is so."""
        known = self._news.setdefault((actor.state.id, symptom.part.value, symptom.subject), [])
        if all(news.restart for news in known):
            known.append(_News(symptom=symptom))
        self._woken.set()

    def restarted(self, actor: Actor, symptom: Symptom, words: str = "") -> None:
        """A restart policy starts a unit again: rung 1, for the record."""
        key = (actor.state.id, symptom.part.value, symptom.subject)
        self._news.setdefault(key, []).append(_News(symptom=symptom, restart=words or symptom.words))
        self._woken.set()

    async def climb(self, actor: Actor, owed: OwedEffect) -> None:
        """Carry out the owed effect CLIMB."""
        await self._climber.climb(actor, owed)

    async def load(self) -> None:
        """What earlier daemons knew."""
        await self._supervisor.systems.store.write(ledger.forget_others)
        await self.incidents.load()
        await self.gate.load()
        self._chooser.load()

    def rest(self) -> None:
        """Begin nothing any more."""
        self._chooser.is_resting = True

    async def over(self, agent: AgentId, reason: str) -> None:
        """All that was open about it is history."""
        await self._verifier.abandon(agent, reason)
        self._chooser.forget(agent)

    def start(self, group: TaskGroup) -> None:
        """Begin to look after agents."""
        self._retrials.group = group
        tasks.keep(group, "recovery", self.run)

    # --- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Without open incidents it costs nothing."""
        while True:
            try:
                await self.look()
            except EnvmgrError as error:  # looked at again soon
                log.warning("recovery look failed", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("recovery look failed")
            with anyio.move_on_after(self._limits.look_s if self._is_busy() else float("inf")):
                await self._woken.wait()
            self._woken = anyio.Event()

    def _is_busy(self) -> bool:
        return bool(self.incidents.all()) or self.gate.is_on

    def wake(self) -> None:
        """Look now, also at what waits."""
        self._chooser.hurry()
        self._woken.set()

    async def look(self) -> None:
        """Take in what was reported, and go on with every agent that has something open."""
        news, self._news = self._news, {}
        for key, said in news.items():
            for one in said:
                await self._guard(key[0], self._take_in, one)
        for agent in dict.fromkeys(incident.agent for incident in self.incidents.all()):
            await self._guard(agent, self._look_after)
        await self.gate.look(self._chooser.ailing())

    async def _guard(self, agent: AgentId, act: Callable[..., Awaitable[None]], *more: object) -> None:
        """One agent's trouble with being mended is not the others'."""
        try:
            await act(agent, *more)
        except EnvmgrError as error:  # looked at again soon
            log.warning("not recovered", extra={"agent": agent, "why": error.message})
        except Exception:
            log.exception("not recovered", extra={"agent": agent})

    async def _take_in(self, agent: AgentId, news: _News) -> None:
        actor, symptom = self._supervisor.actor(agent), news.symptom
        if actor is None or not actor.state.is_alive or actor.restoring or self._is_put_off(actor, news):
            return
        is_old = symptom.at <= self._climber.acted_at.get(agent, 0.0)
        if is_old and symptom.part is not Part.SERVICE:
            return  # it was seen before the last measure ended, and is said again if it is so
        known = await self._incident(actor, news)
        if news.restart:
            if self.incidents.is_latest(known, symptom):  # or a later end was told before it
                await self._note_restart(known, news.restart)
            if not is_code_broken(known) or symptom.is_mid_edit:
                return
        elif symptom.is_exhausted:
            await self._note_exhausted(known)
        await self._weigh(actor, known, symptom, is_old=is_old)

    async def _weigh(self, actor: Actor, known: Incident, symptom: Symptom, *, is_old: bool) -> None:
        """Something is to be done about it, or was done in vain; who was asked knows already."""
        if is_left(actor, known):
            return
        if known.id != actor.state.incident or is_waiting(known) or not is_under_way(known):
            await self._chooser.press(known, symptom)
        elif not is_old and not is_for_person(known):
            self._verifier.recurred(known)

    def _is_put_off(self, actor: Actor, news: _News) -> bool:
        """While a measure is being taken nothing counts; ends of services are told only once, so they are kept for later."""
        agent, symptom = actor.state.id, news.symptom
        if agent not in self._climber.acting:
            return False
        if symptom.part is Part.SERVICE:
            self._news.setdefault((agent, symptom.part.value, symptom.subject), []).append(news)
        return True

    async def _incident(self, actor: Actor, news: _News) -> Incident:
        """The one that this is about."""
        symptom = news.symptom
        known = self.incidents.same(actor.state.id, symptom, _diagnosed(replace(symptom, at=0.0)))
        if known is None:
            known = await self.incidents.begin(actor, symptom, diagnose(symptom))
            if self.on_opened is not None:
                self.on_opened(actor, known, symptom)
        elif symptom.part is not Part.SERVICE and is_for_person(known):
            pass  # who was asked knows, and it is said again and again
        elif news.restart or not self._chooser.is_pressing(known):
            known = await self.incidents.saw_again(known, symptom)
        return known

    async def _note_restart(self, incident: Incident, words: str) -> None:
        now = self._supervisor.systems.now()
        if is_under_way(incident) and incident.climbs[-1].rung is Rung.SERVICE:
            await self.incidents.amend(
                incident.id, ended(ClimbOutcome.FAILED, at=now, result="it failed again")
            )
        elif is_under_way(incident):
            return
        await self._chooser.count(incident, Climb(rung=Rung.SERVICE, at=now, because=f"{_POLICY}: {words}"))

    async def _note_exhausted(self, incident: Incident) -> None:
        """The restart policy is rung 1; the ladder goes on above it."""
        now = self._supervisor.systems.now()
        last = incident.climbs[-1] if incident.climbs else None
        if last is not None and last.rung is Rung.SERVICE and last.outcome is ClimbOutcome.RUNNING:
            end = ended(ClimbOutcome.FAILED, at=now, result="it gave up")
            await self.incidents.amend(incident.id, end)
        elif last is None or last.outcome is ClimbOutcome.HELD:
            gave_up = Climb(
                rung=Rung.SERVICE, at=now, because=_POLICY, outcome=ClimbOutcome.FAILED, ended_at=now, result="it gave up"
            )  # fmt: skip
            await self.incidents.amend(incident.id, climbing(gave_up))

    async def _forget_older(self, actor: Actor) -> None:
        """Only how a service fails now counts; a person who was asked about another failure of it need not be any more."""
        state = actor.state
        is_measured = state.rung is not None and state.rung is not Rung.PERSON
        await self.incidents.supersede(state.id, sparing=state.incident if is_measured else 0)
        if state.rung is Rung.PERSON and self.incidents.get(state.incident) is None:
            reason = "it fails in another way"
            over = RungHeld(generation=state.generation, incident=state.incident, reason=reason)
            await self._supervisor.apply(actor, over, cause="recovery")

    async def _look_after(self, agent: AgentId) -> None:
        """One step further."""
        actor = self._supervisor.actor(agent)
        if actor is None or actor.state.desired is not Desired.RUNNING:
            await self.over(agent, "the agent was stopped")
            return
        if actor.restoring:  # nothing of it runs, and others bring it back
            return
        state = actor.state
        if state.lifecycle is Lifecycle.ERROR and state.rung is None:
            await self._verifier.respawn_failed(actor)
        turn = self._climber.turn(agent)
        if agent not in self._climber.acting and not turn.locked() and state.is_alive:
            async with turn:
                await self._go_on(actor)

    async def _go_on(self, actor: Actor) -> None:
        """Nobody is taking a measure, or preparing one."""
        await self._forget_older(actor)
        await self._verifier.look(actor)
        if await self._retrials.look(actor):
            return
        if actor.state.lifecycle is Lifecycle.RUNNING:
            await self._chooser.look(actor)
