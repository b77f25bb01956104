"""Look at units as long as they run: whether they are ready, and whether they still live."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.core.hysteresis import pause_s
from envmgr.core.replicas import FRONTS
from envmgr.model.probe import Liveness, Readiness
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held
from envmgr.protocols.series import Sample
from envmgr.runtime import runners
from envmgr.runtime.actor import Actor
from envmgr.runtime.answers import Answer
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.looking import is_out_of_sight, look, secrets_of
from envmgr.runtime.metering import Meter
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.standing import Standings, is_lost

_FIRST_LOOK_S = 0.2
_WORD_S = 5.0
_CERTAIN_S = 0.5

OnSick = Callable[[ServiceSpec, Held | None, Answer], None]
"""(unit, its launch, what its probe said): it hangs, or somebody else answers for it. Told as long as it is so."""


class Probing:
    """One watch of one agent.

    Args:
        held: The latest word on each unit's launch.
        is_suspended: Whether a missed answer says nothing just now, because of the machine itself.
    """

    def __init__(
        self,
        standings: Standings,
        actor: Actor,
        inc: Incarnation,
        held: Mapping[str, Held],
        *,
        is_suspended: Callable[[], Awaitable[bool]],
        on_sick: OnSick,
    ) -> None:
        self._standings = standings
        self._actor = actor
        self._inc = inc
        self._held = held
        self._is_suspended = is_suspended
        self._on_sick = on_sick
        self._secrets: Mapping[str, str] | None = None

    def follow(self, group: TaskGroup) -> None:
        """Until cancelled. Who stands in front of instances is as well as they are."""
        for service in self._inc.services:
            if service.kind in FRONTS or service.kind is ServiceKind.TASK:
                continue
            if service.ready is not None:
                group.start_soon(self._ready, service, service.ready)
            if service.live is not None:
                group.start_soon(self._live, service, service.live)

    # --- readiness -----------------------------------------------------------------------------------------------

    async def _ready(self, service: ServiceSpec, ready: Readiness) -> None:
        meter = Meter(self._inc, service)
        pause_s = await self._first_pause(service, ready)
        while True:
            await _rest(pause_s)
            pause_s = ready.period_s
            held = self._held.get(service.name)
            if self._is_down(service, held):
                continue
            answer = await self._look(service, ready, held, meter)
            if answer is None or (not answer.is_ready and self._may_still_start(service, held)):
                continue
            if answer.foreign:
                pause_s = min(ready.period_s, _CERTAIN_S)  # whoever asks it now asks a stranger
            await self._judge(service, ready, held, answer)

    async def _first_pause(self, service: ServiceSpec, ready: Readiness) -> float:
        # After a restart of the daemon nobody knows how it stands: the first look waits only for the word of who runs it,
        # which never comes when a keeper was killed.
        if service.name in self._actor.services:
            return ready.period_s
        patience_s = _WORD_S if runners.needs_runner(service) else 0.0
        while service.name not in self._held and patience_s > 0:
            await _rest(_FIRST_LOOK_S)
            patience_s -= _FIRST_LOOK_S
        return _FIRST_LOOK_S

    async def _judge(self, service: ServiceSpec, ready: Readiness, held: Held | None, answer: Answer) -> None:
        vigil = self._actor.vigils.over(service.name, held)
        vigil.ready = vigil.ready.after(is_good=answer.is_ready, up=ready.up, down=ready.down)
        known = self._actor.services.get(service.name)
        was_ready = known is not None and known.state is ServiceState.READY
        if vigil.live.is_up is False:
            return  # it hangs: whatever still answers, it is not ready
        if answer.is_ready and (was_ready or vigil.ready.is_up):
            await self._change(service, Outcome(state=ServiceState.READY))
        elif not answer.is_ready and vigil.ready.is_up is False:
            why = answer.why or "not ready"
            await self._change(service, Outcome(state=ServiceState.FAILED, detail=why))
            if answer.foreign:
                self._on_sick(service, held, answer)

    def _may_still_start(self, service: ServiceSpec, held: Held | None) -> bool:
        """A launch that a daemon adopted: until its startup probe's deadline it may be slow."""
        known = self._actor.services.get(service.name)
        if service.startup is None or held is None or (known and known.state is ServiceState.READY):
            return False
        return self._inc.systems.now() < held.started_at + service.startup.deadline_s

    # --- liveness ------------------------------------------------------------------------------------------------

    async def _live(self, service: ServiceSpec, live: Liveness) -> None:
        meter = Meter(self._inc, service)
        while True:
            await _rest(live.period_s)
            held = self._held.get(service.name)
            if self._is_down(service, held) or not self._is_armed(service, live, held):
                continue
            vigil = self._actor.vigils.over(service.name, held)
            answer = None if await self._is_suspended() else await self._look(service, live, held, meter)
            if answer is None:
                continue
            vigil.live = vigil.live.after(is_good=answer.is_ready, up=1, down=live.down)
            if vigil.live.is_up is False:
                why = f"does not answer: {answer.why}"
                self._on_sick(service, held, answer)
                await self._change(service, Outcome(state=ServiceState.FAILED, detail=why))
            elif service.ready is None:
                await self._change(service, Outcome(state=ServiceState.READY))

    def _is_armed(self, service: ServiceSpec, live: Liveness, held: Held | None) -> bool:
        """Some time after this launch was first ready, and from then on whether it is ready or not."""
        vigil, now = self._actor.vigils.over(service.name, held), time.monotonic()
        known = self._actor.services.get(service.name)
        if vigil.ready_at is None and known is not None and known.state is ServiceState.READY:
            vigil.ready_at = now
        return vigil.ready_at is not None and now - vigil.ready_at >= live.grace_s

    # --- one look ------------------------------------------------------------------------------------------------

    def _is_down(self, service: ServiceSpec, held: Held | None) -> bool:
        return service.name in self._actor.in_hand or (held is not None and not held.is_alive)

    async def _look(
        self, service: ServiceSpec, probe: Readiness | Liveness, held: Held | None, meter: Meter
    ) -> Answer | None:
        """None for one that tells nothing of the service; what cannot be seen is said, and is no miss."""
        inc = self._inc
        if self._secrets is None:
            self._secrets = await secrets_of(inc)
        began = time.monotonic()
        answer = await look(inc, service, probe, held, self._secrets, meter=meter)
        if inc.is_frozen or self._is_down(service, self._held.get(service.name)):
            return None
        if not answer.is_ready and (await is_out_of_sight(inc, service) or await self._excuses(answer)):
            return None
        seen = f"{service.name}.live" if isinstance(probe, Liveness) else service.name
        if answer.is_unknown:
            if not is_lost(self._actor, seen):
                await self._standings.lose_sight(self._actor, inc, seen, answer.why)
            return None
        if is_lost(self._actor, seen):
            await self._standings.regain_sight(self._actor, inc, seen)
        self._keep(service, probe, answer, time.monotonic() - began)
        return answer

    async def _excuses(self, answer: Answer) -> bool:
        """A stranger on the port is one however busy the machine is."""
        return not answer.foreign and await self._is_suspended()

    def _keep(
        self, service: ServiceSpec, probe: Readiness | Liveness, answer: Answer, latency_s: float
    ) -> None:
        sample = partial(Sample, agent=self._inc.id, subject=service.name, at=self._inc.systems.now())
        is_live = isinstance(probe, Liveness)
        self._inc.systems.series.add(
            sample(metric="probe.live" if is_live else "probe.ready", value=float(answer.is_ready))
        )
        if answer.is_ready and not (is_live and service.ready is not None):
            self._inc.systems.series.add(sample(metric="probe.latency_s", value=latency_s))

    async def _change(self, service: ServiceSpec, outcome: Outcome) -> None:
        await self._standings.change(self._actor, self._inc, service, outcome)


async def _rest(seconds: float) -> None:
    await anyio.sleep(pause_s(seconds, draw=random.random()))
