"""Ends of units as they happen, told by who runs them: the keeper, the container engine, a shared unit's runner."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from envmgr.errors import EnvmgrError
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held, Keeper
from envmgr.runtime import keeperless, runners, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome, how
from envmgr.runtime.runners import SharedRunner
from envmgr.runtime.standing import Standings, is_lost, of_front

log = logging.getLogger(__name__)

_KEEPER_RETRY_S = 2.0

OnEnd = Callable[[Actor, Incarnation, ServiceSpec, Held, float], None]
"""(agent, its generation, a unit that ended by itself, how, seconds it had been ready without a break)."""


class KeeperEyes(Protocol):
    """Who mends keepers."""

    async def attend(self, actor: Actor, inc: Incarnation, keeper: Keeper) -> None:
        """It answers. Returns when it does so no more."""

    async def silent(self, actor: Actor, inc: Incarnation) -> None:
        """It holds its lock and gave no answer; told again and again."""

    def gone(self, actor: Actor, inc: Incarnation) -> None:
        """Nobody holds the process services any more; the same loss may be told more than once."""


class Ends:
    """One watch of one agent.

    Args:
        held: The latest word on each unit's launch; kept up to date for the probes.
        keepers: Without it a keeper that is gone is only remarked.
    """

    def __init__(
        self,
        standings: Standings,
        actor: Actor,
        inc: Incarnation,
        held: dict[str, Held],
        *,
        on_end: OnEnd,
        keepers: KeeperEyes | None = None,
    ) -> None:
        self._keepers = keepers
        self._standings = standings
        self._actor = actor
        self._inc = inc
        self._held = held
        self._on_end = on_end

    def follow(self, group: TaskGroup) -> None:
        """Until cancelled."""
        group.start_soon(self._follow)
        if any(s.container is not None for s in runners.own_units(self._inc)):
            group.start_soon(self._follow_containers)
        for service in sharing.shared_services(self._inc):
            group.start_soon(self._follow_shared, service)

    async def _follow(self) -> None:
        inc = self._inc
        if not any(s.container is None for s in runners.own_units(inc)):
            return None
        was_lost = is_lost(self._actor, "keeper")
        while True:
            match await inc.systems.keepers.find(inc.home, owner=inc.tag):
                case Present(keeper):
                    if was_lost:
                        await self._standings.regain_sight(self._actor, inc, "keeper")
                    was_lost = False
                    await self._attend(keeper)
                case Unknown(reason):
                    was_lost = True
                    await self._standings.lose_sight(self._actor, inc, "keeper", reason)
                    if self._keepers is not None:
                        await self._keepers.silent(self._actor, inc)
                case Absent():
                    return await self._keeper_died()
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _attend(self, keeper: Keeper) -> None:
        """Until it ends, or gives no answer any more: one that was stopped leaves its connections open."""
        async with anyio.create_task_group() as group:
            if self._keepers is not None:
                group.start_soon(self._until_silent, keeper, self._keepers, group.cancel_scope)
            await self._listen(keeper)
            group.cancel_scope.cancel()

    async def _until_silent(self, keeper: Keeper, keepers: KeeperEyes, scope: anyio.CancelScope) -> None:
        await keepers.attend(self._actor, self._inc, keeper)
        scope.cancel()

    async def _follow_shared(self, service: ServiceSpec) -> None:
        """It may be ended and started again by others who use it."""
        while True:
            if (runner := await runners.find_shared(self._inc, service)) is not None:
                await self._listen(runner)
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _follow_containers(self) -> None:
        """The engine may go away and come back; what ended meanwhile is told then."""
        was_lost = is_lost(self._actor, "engine")
        while True:
            try:
                async for change in EngineRunner(self._inc).changes(also_missing=True):
                    if was_lost:
                        await self._standings.regain_sight(self._actor, self._inc, "engine")
                    was_lost = False
                    if self._is_news(change):
                        await self._judge(self._inc.service(change.service), change)
            except EnvmgrError as error:
                was_lost = True
                await self._standings.lose_sight(self._actor, self._inc, "engine", error.message)
            await anyio.sleep(_KEEPER_RETRY_S)

    async def _listen(self, keeper: Keeper | SharedRunner) -> None:
        try:
            async for change in keeper.changes():
                if self._is_news(change):
                    # A keeper remembers units that are gone.
                    for unit in (one for one in self._inc.services if one.name == change.service):
                        await self._judge(unit, change)
        except EnvmgrError as error:
            log.warning("keeper stream ended", extra={"agent": self._inc.id, "why": error.message})

    def _is_news(self, change: Held) -> bool:
        """Remember it, unless it is the end of a launch after which another one has begun."""
        known = self._held.get(change.service)
        if known is not None and not change.is_alive and 0 < change.started_at < known.started_at:
            return False  # times are compared, since another keeper counts from one again
        self._held[change.service] = change
        return True

    async def _judge(self, service: ServiceSpec, held: Held) -> None:
        actor, inc = self._actor, self._inc
        if service.name in actor.in_hand:
            return
        if held.is_alive:
            if service.kind is ServiceKind.BALANCER:
                await self._standings.change(actor, inc, service, of_front(actor, inc, service))
            elif service.ready is None and service.kind in (ServiceKind.PROCESS, ServiceKind.CONTAINER):
                await self._standings.change(actor, inc, service, Outcome(state=ServiceState.READY))
            return
        is_task_done = service.kind is ServiceKind.TASK and held.exit_code in service.success_exit_codes
        state = ServiceState.DONE if is_task_done else ServiceState.FAILED
        ready_for_s = ready_s(actor, inc, service)
        await self._standings.change(actor, inc, service, Outcome(state=state, detail=how(service, held)))
        self._on_end(actor, inc, service, held, ready_for_s)

    async def _keeper_died(self) -> None:
        """What had ended before is told from its record; what becomes of the rest is for those who mend keepers."""
        record = await keeperless.record(self._inc)
        if record is not None and await keeperless.is_history(self._inc, record):
            return  # nobody has died since the machine was restarted
        for held in record.services.values() if record is not None else ():
            for unit in (one for one in self._inc.services if one.name == held.service):
                if not held.is_alive and self._is_news(held):
                    await self._judge(unit, held)
        if self._keepers is not None:
            self._keepers.gone(self._actor, self._inc)


def ready_s(actor: Actor, inc: Incarnation, service: ServiceSpec) -> float:
    """Seconds for which it has been ready without a break, until now that its end is known."""
    since = actor.ready_since.get(service.name)
    return max(0.0, inc.systems.steady() - since) if since is not None else 0.0
