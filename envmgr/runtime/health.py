"""Watch the services of running agents: ends as they happen, probes at a calm pace."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.replicas import FRONTS
from envmgr.errors import StopFailed
from envmgr.model.event import NewEvent
from envmgr.model.incident import Part, Symptom
from envmgr.model.service import ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held
from envmgr.runtime import balancing, quarantine
from envmgr.runtime.actor import Actor
from envmgr.runtime.answers import Answer
from envmgr.runtime.ends import Ends, KeeperEyes, OnEnd, ready_s
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.probing import Probing
from envmgr.runtime.reporting import Report, unheard
from envmgr.runtime.standing import Standings
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_WATCH_AGAIN_S = 10.0

OnHang = Callable[[Actor, Incarnation, ServiceSpec, Held, Symptom], None]
"""(agent, its generation, a unit that lives and does not answer, its launch, what was seen of it)."""


class Health:
    """One small task group per running agent with services.

    Attributes:
        on_end: Told about each unit that ended by itself.
        on_hang: Told about each unit that hangs; without it that is reported.
        report: Told what a restart of the unit would not mend.
        keepers: Told how keepers are.
    """

    def __init__(self, supervisor: Supervisor, group: TaskGroup) -> None:
        self._supervisor = supervisor
        self._group = group
        self._standings = Standings(supervisor)
        self._suspended = ""
        self.on_end: OnEnd | None = None
        self.on_hang: OnHang | None = None
        self.report: Report = unheard
        self.keepers: KeeperEyes | None = None

    def note(self, event: NewEvent) -> None:
        """Record an event without waiting for it."""
        tasks.start(self._group, "recording", self._supervisor.record, event)

    def watch(self, actor: Actor, inc: Incarnation) -> None:
        """Begin to watch; ends by `forget`, or with the daemon."""
        if inc.services:
            self.forget(actor)
            now = self._supervisor.systems.steady()
            for name, outcome in actor.services.items():
                if outcome.state is ServiceState.READY:
                    actor.ready_since.setdefault(name, now)
            actor.watching = anyio.CancelScope()
            tasks.start(self._group, "watching services", self._watch, actor, inc, actor.watching)

    def forget(self, actor: Actor) -> None:
        """Stop watching; harmless when nobody watches."""
        if actor.watching is not None:
            actor.watching.cancel()
            actor.watching = None

    async def change(self, actor: Actor, inc: Incarnation, service: ServiceSpec, outcome: Outcome) -> bool:
        """See `Standings.change`."""
        return await self._standings.change(actor, inc, service, outcome)

    async def quarantine(self, actor: Actor, inc: Incarnation, error: StopFailed) -> None:
        """Processes of units that survived KILL: said, and kept until such a unit is ready again."""
        await quarantine.put(self._supervisor, actor, inc, error, report=self.report)

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
        for front in (unit for unit in inc.services if unit.kind in FRONTS):
            await self._standings.weigh(actor, inc, front)
        async with anyio.create_task_group() as group:
            ends = Ends(self._standings, actor, inc, held, on_end=self._ended, keepers=self.keepers)
            ends.follow(group)
            Probing(
                self._standings, actor, inc, held,
                is_suspended=self._is_suspended, on_sick=partial(self._is_sick, actor, inc),
            ).follow(group)  # fmt: skip

    def tell_end(self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held) -> None:
        """A unit was found ended; the same end may have been told before."""
        self._ended(actor, inc, unit, held, ready_s(actor, inc, unit))

    def _ended(
        self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held, ready_for_s: float
    ) -> None:
        if self.on_end is not None:
            self.on_end(actor, inc, unit, held, ready_for_s)

    def _is_sick(
        self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held | None, answer: Answer
    ) -> None:
        hangs = not answer.foreign
        what = "runs and does not answer" if hangs else "is answered for by somebody else"
        symptom = Symptom(
            part=Part.SERVICE,
            subject=unit.name,
            words=f"{unit.name} {what}: {answer.why}",
            at=self._supervisor.systems.steady(),
            is_hang=hangs,
            foreign=answer.foreign,
        )
        if hangs and held is not None and self.on_hang is not None:
            self.on_hang(actor, inc, unit, held, symptom)
        else:
            self.report(actor, symptom)

    async def _is_suspended(self) -> bool:
        """Told once when it begins, and once when it is over."""
        reason = await self._supervisor.pulse.look()
        before, self._suspended = self._suspended, reason
        if reason and not before:
            self.note(NewEvent(kind="probes.suspended", data={"reason": reason}))
        elif before and not reason:
            self.note(NewEvent(kind="probes.resumed", data={"reason": before}))
        return bool(reason)
