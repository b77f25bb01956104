"""Start units again that ended by themselves or hang, as their restart policies say; tell the ladder what that cannot mend."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.classify import diagnose
from envmgr.core.restart import Again, End, StaysDown, after_end
from envmgr.errors import Conflict, EnvmgrError, Unobservable
from envmgr.model.event import NewEvent
from envmgr.model.incident import Part, Rung, Symptom
from envmgr.model.service import RestartPolicy, RestartWhen, ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history, runners, symptoms
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.ends import ready_s
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import how
from envmgr.runtime.reporting import Report, unheard
from envmgr.runtime.restart_history import Launch
from envmgr.runtime.settling import Act, Done
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_SURE = 0.9
_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 60.0
_SAFE_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One end of one launch; a hang and a start that never gets ready count as one."""

    actor: Actor
    inc: Incarnation
    unit: ServiceSpec
    policy: RestartPolicy
    held: Held
    symptom: Symptom
    end: End

    @property
    def launch(self) -> Launch:
        return (self.inc.generation, self.held.launch)


class Restarts:
    """Hears of ends and hangs from `Health`. A unit with the policy `never` stays as it is; so does one that was stopped on purpose.

    Args:
        report: Told when a restart cannot help, or was tried too often.
        restarted: Told about each end that is followed by a restart: the first measure, which policies take by themselves.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        control: Control,
        group: TaskGroup,
        *,
        report: Report = unheard,
        restarted: Report = unheard,
    ) -> None:
        self._supervisor = supervisor
        self._control = control
        self._group = group
        self._report = report
        self._restarted = restarted

    def ended(
        self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held, ready_for_s: float
    ) -> None:
        """A unit ended by itself; the same end may be told more than once."""
        if unit.kind is ServiceKind.TASK or not self._is_news(actor, inc, unit, held):
            return
        symptom = symptoms.of_end(inc, unit, held)
        if unit.restart is None:
            self._report(actor, replace(symptom, is_exhausted=True))
        elif unit.restart.when is not RestartWhen.NEVER:
            end = End(
                is_success=held.exit_code is not None and held.exit_code in unit.success_exit_codes,
                is_fatal=bool(held.error) or held.exit_code in unit.fatal_exit_codes,
                ready_s=ready_for_s,
                words=_words(unit, held),
            )
            self._begin(actor, inc, unit, unit.restart, held, symptom, end)

    def hung(self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held, symptom: Symptom) -> None:
        """A unit lives and does not answer, which counts as an end; told again and again for as long as it is so."""
        if unit.restart is None or unit.restart.when is RestartWhen.NEVER:
            self._report(actor, symptom)
        elif self._is_news(actor, inc, unit, held):
            words = symptom.words.removeprefix(f"{unit.name} ")
            end = End(is_success=False, is_fatal=False, ready_s=ready_s(actor, inc, unit), words=words)
            self._begin(actor, inc, unit, unit.restart, held, symptom, end)

    def _is_news(self, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held) -> bool:
        launch = (inc.generation, held.launch)
        if actor.ends.get(unit.name) == launch:
            return False
        actor.ends[unit.name] = launch
        return True

    def _begin(
        self,
        actor: Actor,
        inc: Incarnation,
        unit: ServiceSpec,
        policy: RestartPolicy,
        held: Held,
        symptom: Symptom,
        end: End,
    ) -> None:
        case = _Case(actor=actor, inc=inc, unit=unit, policy=policy, held=held, symptom=symptom, end=end)
        tasks.start(self._group, "following an end", self._follow, case)

    async def _follow(self, case: _Case) -> None:
        """What fails for an unforeseen reason, such as a full disk, is tried again: nobody else tells of this end."""
        following: _Case | None = case
        pause_s = _FIRST_PAUSE_S
        while following is not None:
            try:
                following = await self._once(following)
                pause_s = _FIRST_PAUSE_S
            except Exception:  # a task of the daemon owns its boundary
                extra = {"agent": case.inc.id, "service": case.unit.name}
                log.exception("an end was not followed up, it is tried again", extra=extra)
                await anyio.sleep(pause_s)
                pause_s = min(_LAST_PAUSE_S, pause_s * 2)
                if not case.actor.state.is_alive or case.actor.incarnation is not case.inc:
                    return

    async def _once(self, case: _Case) -> _Case | None:
        """Decide, wait and start again; the next end when it does not get ready."""
        actor, name = case.actor, case.unit.name
        goes_on = False
        with anyio.CancelScope() as scope:
            actor.pending[name] = scope
            try:
                goes_on = await self._wait(case)
            finally:
                if actor.pending.get(name) is scope:
                    del actor.pending[name]
        return await self._revive(case) if goes_on and not scope.cancelled_caught else None

    async def _wait(self, case: _Case) -> bool:
        """Whether it is to be started now."""
        symptom = await symptoms.enriched(case.symptom, case.actor, case.inc, case.unit, case.held)
        case = replace(case, symptom=symptom, end=_with_class(case.end, symptom))
        if symptom.waits_for and not (case.end.is_success and case.policy.when is RestartWhen.ON_FAILURE):
            await self._say(case)  # it is started when what it needs is well again
            return False
        verdict = await self._judge(case)
        if verdict is None:
            return False
        if isinstance(verdict, StaysDown):
            if verdict.gave_up:
                await self._give_up(case, verdict.reason)
            return False
        attempt = verdict.history.attempt
        why, after_s = f"it {case.end.words}", round(verdict.delay_s, 2)
        data = {"service": case.unit.name, "why": why, "after_s": after_s, "attempt": attempt}
        await self._tell(case, "service.restarting", data)
        tasks.start(self._group, "noting a restart", self._note, case)
        await anyio.sleep(verdict.delay_s)
        while self._supervisor.safe_mode:  # noqa: ASYNC110 - nobody tells of its end
            await anyio.sleep(_SAFE_LOOK_S)
        return True

    async def _judge(self, case: _Case) -> Again | StaysDown | None:
        """None for an end after which an earlier daemon gave up. One that was counted before is not counted again."""
        now, agent, unit = case.inc.systems.steady(), case.inc.id, case.unit.name

        def judge(tx: Transaction) -> Again | StaysDown | None:
            if restart_history.has_given_up(tx, agent, unit, case.launch):
                return None
            history = restart_history.read(tx, agent, unit)
            due_at = restart_history.due_at(tx, agent, unit, case.launch)
            if due_at is not None:
                return Again(delay_s=min(max(0.0, due_at - now), case.policy.max_s), history=history)
            verdict = after_end(case.policy, history, case.end, now=now, draw=random.random())
            if isinstance(verdict, Again):
                restart_history.write(tx, agent, unit, verdict.history)
                restart_history.promise(tx, agent, unit, case.launch, now + verdict.delay_s)
            else:
                restart_history.give_up(tx, agent, unit, case.launch)
            return verdict

        return await case.inc.systems.store.write(judge)

    async def _revive(self, case: _Case) -> _Case | None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                done = await self._control.revive(case.actor, case.unit.name)
                return await self._after_start(case, done)
            except Conflict as error:  # the agent is being stopped, or a change has taken the unit away
                extra = {"agent": case.inc.id, "service": case.unit.name, "why": error.message}
                log.info("not restarted", extra=extra)
                if case.symptom.is_hang and case.actor.ends.get(case.unit.name) == case.launch:
                    del case.actor.ends[case.unit.name]  # it answers again, and may hang or end another time
                return None
            except Unobservable as error:  # nobody can tell, so it is not its fault
                log.warning("restart waits", extra={"agent": case.inc.id, "why": error.message})
            except EnvmgrError as error:
                await self._give_up(case, error.message)
                return None
            await anyio.sleep(pause_s)
            pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    async def _after_start(self, case: _Case, done: tuple[Done, ...]) -> _Case | None:
        """A start that does not get ready counts as an end, told by nobody else when it still lives."""
        failed = next((x for x in done if (x.unit, x.act) == (case.unit.name, Act.FAILED)), None)
        if failed is None:
            return None
        held = (await (await runners.hire(case.inc)).of(case.unit).status()).get(case.unit.name)
        words = failed.detail.removeprefix(f"{case.unit.name} ")
        now = case.inc.systems.steady()
        symptom = Symptom(part=Part.SERVICE, subject=case.unit.name, words=failed.detail, at=now)
        if held is None or held.launch == case.held.launch:  # it was not even launched
            after = replace(
                case, symptom=replace(symptom, waits_for=symptoms.waits_for(case.actor, case.unit))
            )
            await (self._say(after) if after.symptom.waits_for else self._give_up(after, words))
            return None
        if not held.is_alive or not self._is_news(case.actor, case.inc, case.unit, held):
            return None
        end = End(is_success=False, is_fatal=False, ready_s=0.0, words=words)
        return replace(case, held=held, symptom=replace(symptom, is_hang=True), end=end)

    async def _note(self, case: _Case) -> None:
        self._restarted(case.actor, await symptoms.with_edits(case.symptom, case.inc))

    async def _say(self, case: _Case) -> None:
        self._report(case.actor, await symptoms.with_edits(case.symptom, case.inc))

    async def _give_up(self, case: _Case, reason: str) -> None:
        await self._tell(case, "service.gave_up", {"service": case.unit.name, "reason": reason})
        await self._say(replace(case, symptom=replace(case.symptom, is_exhausted=True)))

    async def _tell(self, case: _Case, kind: str, data: Mapping[str, object]) -> None:
        event = NewEvent(kind=kind, agent=case.inc.id, generation=case.inc.generation, data=data)
        await self._supervisor.record(event)


def _with_class(end: End, symptom: Symptom) -> End:
    """What is surely beyond a restart needs none: the same limit, port or disk would end it again."""
    found = diagnose(symptom)
    if end.is_fatal or found.entry <= Rung.SERVICE or found.confidence < _SURE:
        return end
    words = end.words if end.words in found.evidence[0].text else f"{end.words} ({found.evidence[0].text})"
    return replace(end, is_fatal=True, words=words)


def _words(unit: ServiceSpec, held: Held) -> str:
    if held.error:
        return f"could not be executed ({held.error})"
    return how(unit, replace(held, out_of_memory=False))
