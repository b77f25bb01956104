"""What the whole host has to say to a measure: safe mode, trouble of many agents, and systems that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from envmgr.core import breaker as breakers
from envmgr.core import fleet as fleets
from envmgr.core.breaker import TARGETS, Breaker
from envmgr.core.fleet import Noticed, is_too_much
from envmgr.core.ladder import is_own_mistake
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import FailureClass, Incident
from envmgr.model.recovery import RecoveryLimits
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.clock import steady
from envmgr.runtime.recovery.ledger import HostState, SafeMode
from envmgr.runtime.supervisor import Supervisor

_KEPT_S = 3600.0
_TOLD_BY_ASKING = frozenset({FailureClass.SESSION})
"""Losing a session is no failure of the terminal server yet; not getting a new one is."""


class Gate:
    """Keeps the host's state, in the store too. `load` before anything else."""

    def __init__(self, supervisor: Supervisor, limits: RecoveryLimits) -> None:
        self._supervisor = supervisor
        self._limits = limits
        self._state = HostState()
        self._is_unsaved = False

    @property
    def state(self) -> HostState:
        """For people."""
        return self._state

    @property
    def is_on(self) -> bool:
        """Whether something about the host has to be looked at from time to time."""
        return self._state.safe is not None or bool(self._state.fleet.failure) or self._is_unsaved

    async def load(self) -> None:
        """What earlier daemons knew."""
        self._state = await self._supervisor.systems.store.read(ledger.host)
        self._tell_supervisor()

    def refuses(self, agent: AgentId, failure: FailureClass, climbing: Collection[str]) -> str:
        """Why no measure may be taken for this agent now; empty when one may."""
        now, state = self._now(), self._state
        if state.safe is not None:
            return f"safe mode: {state.safe.reason}"
        if why := state.fleet.refuses(agent, climbing, now):
            return why
        target = TARGETS.get(failure, "")
        why = state.breakers.get(target, Breaker()).refuses(agent, now)
        return f"{target} does not do what it is asked to; {why}" if why else ""

    async def noticed(self, agent: AgentId, failure: FailureClass) -> None:
        """An agent shows a failure."""
        now = self._now()
        seen = Noticed(agent=agent, failure=failure.value, at=now)
        agents = sum(a.state.lifecycle is Lifecycle.RUNNING for a in self._supervisor.actors())
        state = replace(self._state, fleet=fleets.notice(self._state.fleet, seen, agents=agents))
        if failure not in _TOLD_BY_ASKING:
            state = _with_breaker(state, failure, lambda known: breakers.failed(known, now))
        was_open = bool(self._state.fleet.failure)
        await self._put(state)
        if state.fleet.failure and not was_open:
            await self._record("fleet.opened", {"failure": state.fleet.failure})

    async def goes(self, agent: AgentId, failure: FailureClass) -> None:
        """A measure is taken; it counts, and its agent may be the first of many."""
        now = self._now()
        kept = (*(at for at in self._state.acts if at > now - _KEPT_S), now)
        fleet = self._state.fleet
        acts = kept if fleets.is_counted(fleet, agent, failure) else kept[:-1]
        state = replace(self._state, acts=acts, fleet=fleets.goes(fleet, agent))
        await self._put(_with_breaker(state, failure, lambda known: breakers.tries(known, agent, now)))

    async def asks_person(self, incident: Incident) -> None:
        """A failure needs a person; an agent's own mistake says nothing of the host."""
        if is_own_mistake(incident):
            return
        now = self._now()
        kept = (*(one for one in self._state.persons if one[1] > now - _KEPT_S), (incident.agent, now))
        await self._put(replace(self._state, persons=kept))

    async def is_well(self, agent: AgentId, failure: FailureClass) -> None:
        """A measure seems to have helped."""
        now, state = self._now(), replace(self._state, fleet=fleets.proven(self._state.fleet, agent))
        await self._put(_with_breaker(state, failure, lambda known: breakers.succeeded(known, now)))

    async def is_gone(self, agent: AgentId) -> None:
        """It was stopped; another one goes first."""
        await self._put(replace(self._state, fleet=fleets.lost(self._state.fleet, agent, self._now())))

    async def was_lost(self, agent: AgentId, failure: FailureClass) -> None:
        """A measure has not helped."""
        now = self._now()
        state = replace(self._state, fleet=fleets.lost(self._state.fleet, agent, now))
        await self._put(_with_breaker(state, failure, lambda known: breakers.failed(known, now)))

    async def look(self, ailing: Collection[tuple[str, str]]) -> None:
        """Close what is over, and see whether it is too much.

        Args:
            ailing: (agent, class of failures) of what is not mended yet and waits for no person.
        """
        now, state = self._now(), self._state
        if state.safe is not None and state.safe.until is not None and now >= state.safe.until:
            await self.leave_safe_mode(by="itself, after its time")
            return
        same = [agent for agent, failure in ailing if failure == state.fleet.failure]
        fleet = fleets.settled(state.fleet, same, now)
        if fleet.canary and not fleet.is_proven and fleet.canary not in same:
            fleet = fleets.lost(fleet, fleet.canary, now)
        await self._put(replace(state, fleet=fleet))
        if state.fleet.failure and not fleet.failure:
            await self._record("fleet.closed", {"failure": state.fleet.failure})
        why = is_too_much(fleet, state.persons, state.acts, per_hour=self._limits.per_hour, now=now)
        if why and self._state.safe is None:
            await self.enter_safe_mode(why)

    async def enter_safe_mode(self, reason: str, *, by_person: bool = False) -> None:
        """From now on nothing is done by itself, and nothing spawned: for an hour, or until a person who wanted it says so."""
        known, until = self._state.safe, None if by_person else self._now() + self._limits.safe_mode_s
        if known is not None and known.until is None:
            return
        since = known.since if known is not None else self._supervisor.systems.now()
        await self._put(replace(self._state, safe=SafeMode(reason=reason, since=since, until=until)))
        await self._record("host.safe_mode_entered", {"reason": reason})
        await self._record("notice", {"text": f"safe mode: {reason}; envmgr mends nothing by itself now"})

    async def leave_safe_mode(self, *, by: str) -> bool:
        """Begin anew, with nothing counted; whether it was on."""
        was_on = self._state.safe is not None
        await self._put(HostState())
        if was_on:
            await self._record("host.safe_mode_left", {"by": by})
        return was_on

    async def _put(self, state: HostState) -> None:
        """Holds at once; what could not be stored is stored at one of the next looks."""
        if state == self._state and not self._is_unsaved:
            return
        self._state, self._is_unsaved = state, False
        self._tell_supervisor()
        try:
            await self._supervisor.systems.store.write(lambda tx: ledger.write_host(tx, state))
        except BaseException:
            self._is_unsaved = True
            raise

    def _tell_supervisor(self) -> None:
        safe = self._state.safe
        self._supervisor.safe_mode = safe.reason if safe else ""

    async def _record(self, kind: str, data: dict[str, object]) -> None:
        await self._supervisor.record(NewEvent(kind=kind, data=data))

    def _now(self) -> float:
        return steady(self._supervisor.systems)


def _with_breaker(state: HostState, failure: FailureClass, change: Callable[[Breaker], Breaker]) -> HostState:
    target = TARGETS.get(failure)
    if target is None:
        return state
    after = change(state.breakers.get(target, Breaker()))
    return replace(state, breakers={**state.breakers, target: after})
