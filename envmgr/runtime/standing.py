"""How units stand, kept and told: one place for all that is seen of them."""

from __future__ import annotations

import logging

from envmgr.core.replicas import members
from envmgr.errors import EnvmgrError
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.model.stimulus import Fact, ObservationLost, ObservationRegained, ServiceChanged
from envmgr.runtime import balancing, quarantine
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_UNSERVED = "none of its instances is ready"
_UNKNOWN = Outcome(state=ServiceState.UNKNOWN, detail="not seen yet")


class Standings:
    """Of all agents."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def say(self, actor: Actor, fact: Fact) -> bool:
        """Whether an event came of it."""
        try:
            return bool((await self._supervisor.apply(actor, fact)).events)
        except EnvmgrError as error:  # a fact is never refused; only the store can fail here
            log.error("fact not stored", extra={"agent": actor.state.id, "why": error.message})
            return False

    async def lose_sight(self, actor: Actor, inc: Incarnation, subject: str, reason: str) -> None:
        """Nobody can tell about it any more, which is no failure of its own."""
        await self.say(actor, ObservationLost(generation=inc.generation, subject=subject, reason=reason))

    async def regain_sight(self, actor: Actor, inc: Incarnation, subject: str) -> None:
        """It can be seen again."""
        await self.say(actor, ObservationRegained(generation=inc.generation, subject=subject))

    async def change(self, actor: Actor, inc: Incarnation, service: ServiceSpec, outcome: Outcome) -> bool:
        """A unit was seen in a state; whether that was news worth an event."""
        is_told = False
        known = actor.services.get(service.name)
        actor.services[service.name] = outcome
        if outcome.state is ServiceState.READY:
            actor.ready_since.setdefault(service.name, self._supervisor.systems.steady())
        else:
            actor.ready_since.pop(service.name, None)
        if known is None or known.state is not outcome.state:
            fact = ServiceChanged(
                generation=inc.generation, service=service.name, state=outcome.state, detail=outcome.detail,
                critical=service.critical,
            )  # fmt: skip
            is_told = await self.say(actor, fact)
        if outcome.state is ServiceState.READY:
            await quarantine.lift(self._supervisor, actor, inc, service.name)
        await balancing.note(inc, service, is_ready=outcome.state is ServiceState.READY)
        for front in (unit for unit in inc.services if unit.name == service.replica_of):
            await self.weigh(actor, inc, front)
        return is_told

    async def weigh(self, actor: Actor, inc: Incarnation, front: ServiceSpec) -> None:
        """What stands in front of instances is as well as they are, as long as it lives itself."""
        known = actor.services.get(front.name)
        lives = (ServiceState.READY, ServiceState.UNKNOWN)
        is_up = known is not None and (known.state in lives or known.detail == _UNSERVED)
        if is_up or front.kind is ServiceKind.GROUP:
            await self.change(actor, inc, front, of_front(actor, inc, front))


def is_lost(actor: Actor, subject: str) -> bool:
    """Whether an earlier watch has said that it cannot be seen."""
    return any(c.type == "Unobservable" and c.subject == subject for c in actor.state.conditions)


def of_front(actor: Actor, inc: Incarnation, front: ServiceSpec) -> Outcome:
    """Ready with one instance that is; down only when all were seen and none is (docs/adr/0004)."""
    seen = [actor.services.get(one.name, _UNKNOWN).state for one in members(inc.services, front.name)]
    if ServiceState.READY in seen:
        return Outcome(state=ServiceState.READY)
    if ServiceState.UNKNOWN in seen:
        return _UNKNOWN
    return Outcome(state=ServiceState.FAILED, detail=_UNSERVED)
