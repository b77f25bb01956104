"""Watch the services of running agents: ends as they happen, probes at a calm pace."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from envmgr.core.replicas import FRONTS, members
from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.probe import Readiness
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.model.stimulus import Fact, ObservationLost, ObservationRegained, ServiceChanged
from envmgr.protocols.keepers import Held, Keeper
from envmgr.runtime import balancing, probes, runners, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.looking import is_out_of_sight, look, secrets_of
from envmgr.runtime.outcomes import Outcome, how
from envmgr.runtime.runners import SharedRunner
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_JITTER = 0.1
_WATCH_AGAIN_S = 10.0
_KEEPER_RETRY_S = 2.0
_FIRST_LOOK_S = 0.2
_WORD_S = 5.0
_UNSERVED = "none of its instances is ready"
_UNKNOWN = Outcome(state=ServiceState.UNKNOWN, detail="not seen yet")


OnEnd = Callable[[Actor, Incarnation, ServiceSpec, Held, float], None]
"""(agent, its generation, a unit that ended by itself, how, seconds it had been ready without a break)."""


class Health:
    """One small task group per running agent with services.

    Attributes:
        on_end: Told about each unit that ended by itself.
    """

    def __init__(self, supervisor: Supervisor, group: TaskGroup) -> None:
        self._supervisor = supervisor
        self._group = group
        self.on_end: OnEnd | None = None

    def note(self, event: NewEvent) -> None:
        """Record an event without waiting for it."""
        self._group.start_soon(self._supervisor.record, event)

    def watch(self, actor: Actor, inc: Incarnation) -> None:
        """Begin to watch; ends by `forget`, or with the daemon."""
        if inc.services:
            self.forget(actor)
            now = self._supervisor.systems.now()
            for name, outcome in actor.services.items():
                if outcome.state is ServiceState.READY:
                    actor.ready_since.setdefault(name, now)
            actor.watching = anyio.CancelScope()
            self._group.start_soon(self._watch, actor, inc, actor.watching)

    def forget(self, actor: Actor) -> None:
        """Stop watching; harmless when nobody watches."""
        if actor.watching is not None:
            actor.watching.cancel()
            actor.watching = None

    async def _watch(self, actor: Actor, inc: Incarnation, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    await self._watch_all(actor, inc)
                    return
                except Exception:  # a loop of the daemon owns its boundary: it goes on after a pause
                    log.exception("watching services failed", extra={"agent": inc.id})
                await anyio.sleep(_WATCH_AGAIN_S)

    async def _watch_all(self, actor: Actor, inc: Incarnation) -> None:
        held: dict[str, Held] = {}
        await balancing.recall(inc)
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow, actor, inc, held)
            if any(s.container is not None for s in runners.own_units(inc)):
                group.start_soon(self._follow_containers, actor, inc, held)
            for service in sharing.shared_services(inc):
                group.start_soon(self._follow_shared, actor, inc, service, held)
            for service in inc.services:
                if service.kind in FRONTS:
                    await self._weigh(actor, inc, service)
                elif service.ready is not None and service.kind is not ServiceKind.TASK:
                    group.start_soon(self._probe, actor, inc, service, service.ready, held)

    async def _say(self, actor: Actor, fact: Fact) -> bool:
        """Whether an event came of it."""
        try:
            return bool((await self._supervisor.apply(actor, fact)).events)
        except EnvmgrError as error:  # a fact is never refused; only the store can fail here
            log.error("fact not stored", extra={"agent": actor.state.id, "why": error.message})
            return False

    async def change(self, actor: Actor, inc: Incarnation, service: ServiceSpec, outcome: Outcome) -> bool:
        """A unit was seen in a state; whether that was news worth an event."""
        is_told = False
        known = actor.services.get(service.name)
        actor.services[service.name] = outcome
        if outcome.state is ServiceState.READY:
            actor.ready_since.setdefault(service.name, self._supervisor.systems.now())
        else:
            actor.ready_since.pop(service.name, None)
        if known is None or known.state is not outcome.state:
            fact = ServiceChanged(
                generation=inc.generation, service=service.name, state=outcome.state, detail=outcome.detail,
                critical=service.critical,
            )  # fmt: skip
            is_told = await self._say(actor, fact)
        await balancing.note(inc, service, is_ready=outcome.state is ServiceState.READY)
        for front in (unit for unit in inc.services if unit.name == service.replica_of):
            await self._weigh(actor, inc, front)
        return is_told

    async def _weigh(self, actor: Actor, inc: Incarnation, front: ServiceSpec) -> None:
        """What stands in front of instances is as well as they are, as long as it lives itself."""
        known = actor.services.get(front.name)
        lives = (ServiceState.READY, ServiceState.UNKNOWN)
        is_up = known is not None and (known.state in lives or known.detail == _UNSERVED)
        if is_up or front.kind is ServiceKind.GROUP:
            await self.change(actor, inc, front, _front(actor, inc, front))

    # --- ends, from the keeper ---------------------------------------------------------------------------

    async def _follow(self, actor: Actor, inc: Incarnation, held: dict[str, Held]) -> None:
        if not any(s.container is None for s in runners.own_units(inc)):
            return None
        is_lost = _is_lost(actor, "keeper")
        while True:
            match await inc.systems.keepers.find(inc.home, owner=inc.tag):
                case Present(keeper):
                    if is_lost:
                        await self._say(
                            actor, ObservationRegained(generation=inc.generation, subject="keeper")
                        )
                    is_lost = False
                    await self._listen(actor, inc, keeper, held)
                case Unknown(reason):
                    is_lost = True
                    lost = ObservationLost(generation=inc.generation, subject="keeper", reason=reason)
                    await self._say(actor, lost)
                case Absent():
                    return await self._keeper_died(actor, inc)
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _follow_shared(
        self, actor: Actor, inc: Incarnation, service: ServiceSpec, held: dict[str, Held]
    ) -> None:
        """It may be ended and started again by others who use it."""
        while True:
            if (runner := await runners.find_shared(inc, service)) is not None:
                await self._listen(actor, inc, runner, held)
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _follow_containers(self, actor: Actor, inc: Incarnation, held: dict[str, Held]) -> None:
        """The engine may go away and come back; what ended meanwhile is told then."""
        is_lost = _is_lost(actor, "engine")
        while True:
            try:
                async for change in EngineRunner(inc).changes(also_missing=True):
                    if is_lost:
                        again = ObservationRegained(generation=inc.generation, subject="engine")
                        await self._say(actor, again)
                    is_lost = False
                    if _is_outdated(held.get(change.service), change):
                        continue
                    held[change.service] = change
                    await self._judge(actor, inc, inc.service(change.service), change)
            except EnvmgrError as error:
                is_lost = True
                lost = ObservationLost(generation=inc.generation, subject="engine", reason=error.message)
                await self._say(actor, lost)
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _listen(
        self, actor: Actor, inc: Incarnation, keeper: Keeper | SharedRunner, held: dict[str, Held]
    ) -> None:
        try:
            async for change in keeper.changes():
                if _is_outdated(held.get(change.service), change):
                    continue
                held[change.service] = change
                # A keeper remembers units that are gone.
                for unit in (one for one in inc.services if one.name == change.service):
                    await self._judge(actor, inc, unit, change)
        except EnvmgrError as error:
            log.warning("keeper stream ended", extra={"agent": inc.id, "why": error.message})

    async def _judge(self, actor: Actor, inc: Incarnation, service: ServiceSpec, held: Held) -> None:
        if service.name in actor.in_hand:
            return
        if held.is_alive:
            if service.kind is ServiceKind.BALANCER:
                await self.change(actor, inc, service, _front(actor, inc, service))
            elif service.ready is None and service.kind in (ServiceKind.PROCESS, ServiceKind.CONTAINER):
                await self.change(actor, inc, service, Outcome(state=ServiceState.READY))
            return
        is_task_done = service.kind is ServiceKind.TASK and held.exit_code in service.success_exit_codes
        state = ServiceState.DONE if is_task_done else ServiceState.FAILED
        since = actor.ready_since.get(service.name)
        ready_s = max(0.0, (held.ended_at or since) - since) if since is not None else 0.0
        await self.change(actor, inc, service, Outcome(state=state, detail=how(service, held)))
        if self.on_end is not None:
            self.on_end(actor, inc, service, held, ready_s)

    async def _keeper_died(self, actor: Actor, inc: Incarnation) -> None:
        """Its services may run on, and their probes go on telling; nobody sees the others end any more."""
        reason = "its keeper was killed: services run on unwatched until `envmgr stop`"
        await self._say(actor, ObservationLost(generation=inc.generation, subject="keeper", reason=reason))
        for service in inc.services:
            if service.kind is ServiceKind.PROCESS and service.ready is None:
                outcome = Outcome(state=ServiceState.FAILED, detail="its keeper was killed")
                await self.change(actor, inc, service, outcome)

    # --- probes ------------------------------------------------------------------------------------------

    async def _probe(
        self, actor: Actor, inc: Incarnation, service: ServiceSpec, ready: Readiness, held: dict[str, Held]
    ) -> None:
        misses = 0
        secrets = await secrets_of(inc)
        # After a restart of the daemon nobody knows how it stands: the first look waits only for the word of who runs it,
        # which never comes when a keeper was killed.
        pause_s = ready.period_s if service.name in actor.services else _FIRST_LOOK_S
        patience_s = _WORD_S if runners.needs_runner(service) else 0.0
        while True:
            await anyio.sleep(pause_s * random.uniform(1 - _JITTER, 1 + _JITTER))
            known = held.get(service.name)
            if known is None and patience_s > 0:
                patience_s -= pause_s
                pause_s = _FIRST_LOOK_S
                continue
            pause_s = ready.period_s
            if service.name in actor.in_hand or (known is not None and not known.is_alive):
                continue
            outcome = actor.services.get(service.name)
            is_sure = misses == 0 and outcome is not None and outcome.state is ServiceState.READY
            answer = await look(inc, service, ready, known, secrets, is_sure=is_sure)
            if inc.is_frozen or not (answer.is_ready or await self._is_sure(actor, inc, service, answer)):
                continue
            if _is_lost(actor, service.name):
                again = ObservationRegained(generation=inc.generation, subject=service.name)
                await self._say(actor, again)
            misses = 0 if answer.is_ready else misses + 1
            if answer.is_ready:
                await self.change(actor, inc, service, Outcome(state=ServiceState.READY))
            elif misses >= ready.down:
                why = answer.why or "not ready"
                await self.change(actor, inc, service, Outcome(state=ServiceState.FAILED, detail=why))

    async def _is_sure(
        self, actor: Actor, inc: Incarnation, service: ServiceSpec, answer: probes.Answer
    ) -> bool:
        """Whether a failed look tells of the service; what cannot be seen is said, and is no miss."""
        if await is_out_of_sight(inc, service):
            return False
        if answer.is_unknown and not _is_lost(actor, service.name):
            lost = ObservationLost(generation=inc.generation, subject=service.name, reason=answer.why)
            await self._say(actor, lost)
        return not answer.is_unknown


def _is_outdated(known: Held | None, change: Held) -> bool:
    """The end of a launch, told when the next one has begun. Times are compared, since another keeper counts from one again."""
    return known is not None and not change.is_alive and 0 < change.started_at < known.started_at


def _is_lost(actor: Actor, subject: str) -> bool:
    """Whether an earlier watch has said so."""
    return any(c.type == "Unobservable" and c.subject == subject for c in actor.state.conditions)


def _front(actor: Actor, inc: Incarnation, front: ServiceSpec) -> Outcome:
    """Ready with one instance that is; down only when all were seen and none is (docs/adr/0004)."""
    seen = [actor.services.get(one.name, _UNKNOWN).state for one in members(inc.services, front.name)]
    if ServiceState.READY in seen:
        return Outcome(state=ServiceState.READY)
    if ServiceState.UNKNOWN in seen:
        return _UNKNOWN
    return Outcome(state=ServiceState.FAILED, detail=_UNSERVED)
