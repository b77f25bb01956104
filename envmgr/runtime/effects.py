"""Carry out owed effects, and end each with the fact that settles it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import anyio

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.handoff import HandoffKind
from envmgr.model.incident import Rung
from envmgr.model.lease import StepState
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    RemovalFailed,
    Removed,
    SpawnFailed,
    SpawnSucceeded,
    Stimulus,
    StopLeaked,
    StopSucceeded,
)
from envmgr.protocols.store import OwedEffect
from envmgr.runtime import conversation, leaving, removal, stopping, tenancy
from envmgr.runtime.actor import Actor
from envmgr.runtime.archiving import screens
from envmgr.runtime.archiving.keeping import Archive
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.journal import Journal
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.recovery.respawn import begin_again, sparing
from envmgr.runtime.reports import Reports
from envmgr.runtime.saga import Receipt, Saga, Stage, Step, StepFailed, never
from envmgr.runtime.steps.assistant import AwaitReadiness, StartAssistant, was_let_in
from envmgr.runtime.steps.environment import WriteEnvironment
from envmgr.runtime.steps.networks import BeginNetworks, needs_networks
from envmgr.runtime.steps.ports import LeasePorts
from envmgr.runtime.steps.services import StartServices
from envmgr.runtime.steps.session import OpenSession, furnish_panes, show_services
from envmgr.runtime.steps.worktree import AddWorktree, RunHooks, SetUp
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

Climb = Callable[[Actor, OwedEffect], Awaitable[None]]
"""Take the measure that is owed and settle it; it takes `actor.busy` itself, for it may wait before."""

_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
_CUT_OFF, _NOT_WRITTEN = "the daemon was ended in the middle of it", "its trail could not be written"


class Performer:
    """Runs one effect at a time per agent; all kinds may run twice."""

    def __init__(self, *, reach: Callable[[str], None] = never) -> None:
        """`reach` is called at each named crash point."""
        self._reach = reach
        self._supervisor: Supervisor | None = None
        self._health: Health | None = None
        self._climb: Climb | None = None
        self._archive: Archive | None = None

    def attach(
        self,
        supervisor: Supervisor,
        health: Health,
        climb: Climb | None = None,
        archive: Archive | None = None,
    ) -> None:
        """Close the circle: the supervisor hands effects here, facts go back to it; `climb` takes the ladder's measures."""
        self._supervisor, self._health, self._climb = supervisor, health, climb
        self._archive = archive

    @property
    def supervisor(self) -> Supervisor:
        """Whose effects these are."""
        assert self._supervisor is not None, "attach() comes first"
        return self._supervisor

    @property
    def health(self) -> Health:
        """Watches running agents."""
        assert self._health is not None, "attach() comes first"
        return self._health

    async def __call__(self, actor: Actor, owed: OwedEffect, *, was_cut_off: bool = False) -> None:
        """Carry it out; what fails for an unforeseen reason (a full disk) is tried again until it is settled."""
        pause_s, is_first = _FIRST_PAUSE_S, not was_cut_off
        reason = _CUT_OFF if was_cut_off else _NOT_WRITTEN
        while True:
            try:
                await self._once(actor, owed, is_first=is_first, reason=reason)
                return
            except Exception:  # an effect owns its task: it stays owed, and is driven again
                log.exception(
                    "effect failed", extra={"agent": actor.state.id, "effect": owed.effect.kind.value}
                )
            await anyio.sleep(pause_s)
            pause_s, is_first, reason = min(_LAST_PAUSE_S, pause_s * 2), False, _NOT_WRITTEN

    async def _once(self, actor: Actor, owed: OwedEffect, *, is_first: bool, reason: str) -> None:
        match owed.effect.kind:
            case EffectKind.CANCEL_SPAWN:
                await self._cancel(actor, owed)
            case EffectKind.TELL:
                await self._tell(actor, owed)
            case EffectKind.SPAWN if not is_first and not _is_wanted(actor.state, owed):
                return  # it was settled before something else failed
            case EffectKind.SPAWN if not is_first:
                await self._roll_back(actor, owed, reason=reason)
            case EffectKind.SPAWN:
                async with actor.busy:
                    await self._spawn(actor, owed)
            case EffectKind.STOP:
                actor.give_way()
                async with actor.busy:
                    await self._stop(actor, owed)
            case EffectKind.REMOVE:
                async with actor.busy:
                    await self._remove(actor, owed)
            case EffectKind.CLIMB:
                assert self._climb is not None, "attach() says who climbs"
                await self._climb(actor, owed)

    # --- spawn -------------------------------------------------------------------------------------------

    async def _spawn(self, actor: Actor, owed: OwedEffect) -> None:
        self._reach("spawn-accepted")
        fact: Stimulus = SpawnFailed(generation=owed.effect.generation, step="spawn", reason="cancelled")
        inc = await self.supervisor.incarnation(actor)
        with anyio.CancelScope() as scope:
            actor.spawning = scope
            actor.reports = Reports()  # what an earlier generation said is no sign of this one
            actor.ready_since.clear()
            # A stop may have come first; then there is nothing to begin.
            if _is_wanted(actor.state, owed):
                fact = await self._run_saga(actor, inc)
        actor.spawning = None
        with anyio.CancelScope(shield=True):
            self._reach("spawn-before-commit")
            await self.supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)
            self._reach("spawn-committed")
            if isinstance(fact, SpawnSucceeded):
                self.health.watch(actor, inc)
                await self._furnish(inc)

    async def _run_saga(self, actor: Actor, inc: Incarnation) -> Stimulus:
        saga = Saga(Journal(self.supervisor, inc), reach=self._reach)
        try:
            await saga.run(self._stages(actor, inc))
        except StepFailed as failed:
            leaked = tuple(f"{step} ({why})" for step, why in failed.leaked.items())
            return SpawnFailed(
                generation=inc.generation, step=failed.step, reason=_reason(failed.__cause__), leaked=leaked
            )
        return SpawnSucceeded(generation=inc.generation, holds=frozenset(_held(inc)))

    def _stages(self, actor: Actor, inc: Incarnation) -> Sequence[Stage]:
        """Worktree and session do not need each other, so they are made side by side."""

        def tell(service: str, state: ServiceState, detail: str) -> None:
            actor.services[service] = Outcome(state=state, detail=detail)
            data = {"service": service, "detail": detail}
            self.health.note(
                NewEvent(kind=f"service.{state.value}", agent=inc.id, generation=inc.generation, data=data)
            )

        spec = inc.spec
        needs_setup = inc.prior is None and (spec.workspace.setup or spec.hooks.on_create)
        stages: list[Stage] = []
        if spec.services:
            # The engine takes longer for a network than git for the worktree, and needs nothing of it.
            stages.append(
                (LeasePorts(inc), BeginNetworks(inc)) if needs_networks(inc) else (LeasePorts(inc),)
            )
        ground: Stage = (AddWorktree(inc), OpenSession(inc), WriteEnvironment(inc))
        readiness: Stage = (AwaitReadiness(inc, actor.reports),)
        if not (needs_setup or spec.services or spec.hooks.on_start):
            # Nothing comes between: the assistant waits for the others inside of their stage.
            return [(*ground, StartAssistant(inc)), readiness]
        stages.append(ground)
        if needs_setup:
            stages.append((SetUp(inc),))
        if spec.services:
            stages.append((StartServices(inc, tell),))
        if spec.hooks.on_start:
            stages.append((RunHooks(inc),))
        return [*stages, (StartAssistant(inc),), readiness]

    async def _furnish(self, inc: Incarnation) -> None:
        try:
            await furnish_panes(inc)
            await show_services(inc)
            if not any(a.state.lifecycle is Lifecycle.SPAWNING for a in self.supervisor.actors()):
                await inc.systems.terminals.prepare()
        except EnvmgrError as error:
            log.warning("terminal not furnished", extra={"agent": inc.id, "why": error.message})
        except Exception:  # viewers and spares are a convenience: the agent runs, and its effect is settled
            log.exception("terminal not furnished", extra={"agent": inc.id})

    async def _roll_back(self, actor: Actor, owed: OwedEffect, *, reason: str) -> None:
        """A crash cut a spawn off: undo every step its journal knows, newest first."""
        async with actor.busy:
            inc = await self.supervisor.incarnation(actor)
            trail = await self.supervisor.systems.store.read(lambda tx: tx.trail(inc.id, inc.generation))
            steps = {step.name: step for stage in self._stages(actor, inc) for step in stage}
            inc.was_inhabited = await blocking.look("file", 5.0, was_let_in, inc)
            begun = [
                record for record in trail if record.state is not StepState.UNDONE and record.step in steps
            ]
            receipts: dict[str, Receipt] = {r.step: r.receipt for r in begun if r.receipt is not None}
            saga = Saga(Journal(self.supervisor, inc), reach=self._reach)
            ordered: list[Step] = [steps[record.step] for record in begun]
            left = await saga.undo(ordered, receipts)
            if reason == _CUT_OFF and not left and actor.state.rung is Rung.RESPAWN and not actor.restoring:
                await begin_again(actor, inc)  # nobody waits for an answer
                await self._spawn(actor, owed)
                return
            fact = SpawnFailed(
                generation=inc.generation,
                step=begun[-1].step if begun else "admission",
                reason=reason,
                leaked=tuple(f"{step} ({why})" for step, why in left.items()),
            )
            await self.supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)

    # --- the rest ----------------------------------------------------------------------------------------

    async def _cancel(self, actor: Actor, owed: OwedEffect) -> None:
        if actor.spawning is not None:
            actor.spawning.cancel()
        await self.supervisor.systems.store.write(lambda tx: tx.settle(owed.id))

    async def _tell(self, actor: Actor, owed: OwedEffect) -> None:
        event = NewEvent(
            kind="notice",
            agent=actor.state.id,
            generation=owed.effect.generation,
            data={"text": owed.effect.detail},
        )
        await self.supervisor.record(event)
        await self.supervisor.systems.store.write(lambda tx: tx.settle(owed.id))

    async def _stop(self, actor: Actor, owed: OwedEffect) -> None:
        self._reach("stop-accepted")
        self.health.forget(actor)
        inc = await self.supervisor.incarnation(actor)
        is_respawn = actor.state.rung is Rung.RESPAWN
        what = sparing(inc) if is_respawn else inc
        await screens.keep(inc)
        if not is_respawn:
            await self._hand_over(actor, inc)
        failures = await stopping.stop(what, self.supervisor.record, reach=self._reach)
        if is_respawn and actor.state.rung is not Rung.RESPAWN:  # a person has stopped it meanwhile
            is_respawn = False
            if not failures.reasons:
                failures = await stopping.make_plain(inc, self.supervisor.record, reach=self._reach)
        if not is_respawn:
            await inc.systems.store.write(lambda tx: conversation.forget(tx, inc.id))
        fact: Stimulus = StopSucceeded(generation=inc.generation)
        if failures.reasons:
            holds = frozenset(failures.reasons)
            fact = StopLeaked(generation=inc.generation, survivors=failures.sentences, holds=holds)
        self._reach("stop-before-commit")
        await self.supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)
        self._reach("stop-committed")
        actor.services.clear()
        if self._archive is not None:
            self._archive.ended(actor)

    async def _hand_over(self, actor: Actor, inc: Incarnation) -> None:
        """Somebody may go on where it stops; what it left when its assistant died tells more."""
        if not any(one.type in ("AssistantExited", "SessionLost") for one in actor.state.conditions):
            publish = self.supervisor.bus.publish
            await leaving.leave(inc, HandoffKind.STOP, actor.state.reason, publish=publish)

    async def _remove(self, actor: Actor, owed: OwedEffect) -> None:
        self._reach("remove-accepted")
        inc = await self.supervisor.incarnation(actor)
        fact: Stimulus = Removed(generation=inc.generation)
        if self._archive is not None:
            await self._archive.before_removal(actor, inc, cause=owed.cause)
        try:
            await removal.remove(inc, reason=owed.cause or "removal", reach=self._reach)
            for word in await tenancy.quit_all(inc):
                notice = NewEvent(kind="notice", agent=inc.id, generation=inc.generation, data={"text": word})
                await self.supervisor.record(notice)
        except EnvmgrError as error:
            fact = RemovalFailed(generation=inc.generation, reason=error.message)
        self._reach("remove-before-commit")
        await self.supervisor.apply(actor, fact, cause=owed.cause, settles=owed.id)
        self._reach("remove-committed")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, EnvmgrError):
        return f"{error.message}. {error.hint}".removesuffix(".") if error.hint else error.message
    return f"{type(error).__name__}: {error}"


def _held(inc: Incarnation) -> list[str]:
    return ["session", "assistant", *(["ports", "services"] if inc.services else [])]


def _is_wanted(state: AgentState, owed: OwedEffect) -> bool:
    return state.lifecycle is Lifecycle.SPAWNING and state.generation == owed.effect.generation
