"""Start units again that ended by themselves, as their restart policies say."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from envmgr.core.restart import Again, End, StaysDown, after_end
from envmgr.errors import Conflict, EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.incident import Symptom
from envmgr.model.service import RestartPolicy, ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import how
from envmgr.runtime.recovery.measures import Report, unheard
from envmgr.runtime.restart_history import Launch
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)


class Restarts:
    """Hears of ends from `Health`. A service without a policy stays down; so does one that was stopped on purpose."""

    def __init__(
        self, supervisor: Supervisor, control: Control, group: TaskGroup, *, report: Report = unheard
    ) -> None:
        self._report = report
        self._supervisor = supervisor
        self._control = control
        self._group = group

    def ended(self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held, ready_s: float) -> None:
        """A unit ended by itself; the same end may be told more than once."""
        launch = (inc.generation, held.launch)
        if unit.restart is None or unit.kind is ServiceKind.TASK or actor.ends.get(unit.name) == launch:
            return
        actor.ends[unit.name] = launch
        end = _end(unit, held, ready_s)
        self._group.start_soon(self._follow, actor, inc, unit, unit.restart, launch, end)

    def hung(self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held, symptom: Symptom) -> None:
        """A unit lives and does not answer, which counts as an end; told again and again for as long as it is so."""
        launch = (inc.generation, held.launch)
        if unit.restart is None:
            self._report(actor, symptom)
        elif actor.ends.get(unit.name) != launch:
            actor.ends[unit.name] = launch
            since = actor.ready_since.get(unit.name)
            ready_s = max(0.0, self._supervisor.systems.now() - since) if since is not None else 0.0
            words = symptom.words.removeprefix(f"{unit.name} ")
            end = End(is_success=False, is_fatal=False, ready_s=ready_s, words=words)
            self._group.start_soon(self._follow, actor, inc, unit, unit.restart, launch, end, symptom)

    async def _follow(
        self,
        actor: Actor,
        inc: Incarnation,
        unit: ServiceSpec,
        policy: RestartPolicy,
        launch: Launch,
        end: End,
        hang: Symptom | None = None,
    ) -> None:
        verdict = await self._judge(inc, unit, policy, launch, end)
        if verdict is None:
            return
        if isinstance(verdict, StaysDown):
            if hang is not None:
                self._report(actor, replace(hang, is_exhausted=verdict.gave_up))
            if verdict.gave_up:
                await self._tell(inc, "service.gave_up", {"service": unit.name, "reason": verdict.reason})
            return
        why, attempt = f"it {end.words}", verdict.history.attempt
        data = {"service": unit.name, "why": why, "after_s": round(verdict.delay_s, 2), "attempt": attempt}
        await self._tell(inc, "service.restarting", data)
        with anyio.CancelScope() as scope:
            actor.pending[unit.name] = scope
            await anyio.sleep(verdict.delay_s)
        if actor.pending.get(unit.name) is scope:
            del actor.pending[unit.name]
        if scope.cancelled_caught:
            return
        try:
            await self._control.revive(actor, unit.name)
        except Conflict as error:  # the agent is being stopped, or a change has taken the unit away
            log.info("not restarted", extra={"agent": inc.id, "service": unit.name, "why": error.message})
            if hang is not None and actor.ends.get(unit.name) == launch:
                del actor.ends[unit.name]  # it answers again, and may hang or end another time
        except EnvmgrError as error:
            await self._tell(inc, "service.gave_up", {"service": unit.name, "reason": error.message})

    async def _judge(
        self, inc: Incarnation, unit: ServiceSpec, policy: RestartPolicy, launch: Launch, end: End
    ) -> Again | StaysDown | None:
        """None for an end after which an earlier daemon gave up; one whose restart was still to come is judged again."""
        now = inc.systems.now()

        def judge(tx: Transaction) -> Again | StaysDown | None:
            if restart_history.has_given_up(tx, inc.id, unit.name, launch):
                return None
            history = restart_history.read(tx, inc.id, unit.name)
            verdict = after_end(policy, history, end, now=now, draw=random.random())
            if isinstance(verdict, Again):
                restart_history.write(tx, inc.id, unit.name, verdict.history)
            else:
                restart_history.give_up(tx, inc.id, unit.name, launch)
            return verdict

        return await inc.systems.store.write(judge)

    async def _tell(self, inc: Incarnation, kind: str, data: Mapping[str, object]) -> None:
        event = NewEvent(kind=kind, agent=inc.id, generation=inc.generation, data=data)
        await self._supervisor.record(event)


def _end(unit: ServiceSpec, held: Held, ready_s: float) -> End:
    return End(
        is_success=held.exit_code is not None and held.exit_code in unit.success_exit_codes,
        is_fatal=bool(held.error) or held.exit_code in unit.fatal_exit_codes,
        ready_s=ready_s,
        words=_words(unit, held),
    )


def _words(unit: ServiceSpec, held: Held) -> str:
    if held.error:
        return f"could not be executed ({held.error})"
    return how(unit, replace(held, out_of_memory=False))
