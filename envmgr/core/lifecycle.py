"""Decide what a stimulus does to an agent: one table of (lifecycle, stimulus), all rows written down.

Pure: the same inputs give the same decision. Requests that do not fit raise IllegalTransition and change
nothing; facts never raise: a late or meaningless one is ignored, and the decision says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from envmgr.core import activity
from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Condition, Desired, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    ActivityReported,
    AssistantExited,
    DriftSeen,
    LimitSeen,
    ObservationLost,
    ObservationRegained,
    RemovalFailed,
    Removed,
    RemoveRequested,
    RungChosen,
    RungFailed,
    RungHeld,
    ServiceChanged,
    SessionLost,
    SpawnFailed,
    SpawnRequested,
    SpawnSucceeded,
    Stimulus,
    StopLeaked,
    StopRequested,
    StopSucceeded,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from a stimulus.

    Attributes:
        effects: Owed acts, in order.
        events: What to record; empty when nothing changed.
        ignored: Why the stimulus changed nothing; empty otherwise.
        forget: The agent's record is to be deleted.
    """

    state: AgentState
    effects: tuple[Effect, ...] = ()
    events: tuple[NewEvent, ...] = ()
    ignored: str = ""
    forget: bool = False


Handler = Callable[[AgentState, Any, float], Decision]  # Any: each handler takes its own stimulus class
_ALL = tuple(Lifecycle)


def decide(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
    """The next state, the effects owed and the events to record.

    Args:
        now: Unix time, for `since` stamps.

    Raises:
        IllegalTransition: A request that the present state does not allow.
    """
    generation = getattr(stimulus, "generation", state.generation)
    if generation != state.generation:
        return _ignore(state, f"it is about generation {generation}, the agent is at {state.generation}")
    return TABLE[state.lifecycle, type(stimulus)](state, stimulus, now)


def _ignore(state: AgentState, why: str) -> Decision:
    return Decision(state=state, ignored=why)


def _ignored(why: str) -> Handler:
    def handler(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
        return _ignore(state, why)

    return handler


def _refused(message: str, hint: str) -> Handler:
    def handler(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
        raise IllegalTransition(f"{state.name} {message}", hint=hint.format(name=state.name))

    return handler


def _moved(state: AgentState, to: Lifecycle, now: float, *effects: Effect, **changes: object) -> Decision:
    """Enter another lifecycle state, with the event that says so."""
    after = replace(state, lifecycle=to, since=now, **changes)  # type: ignore[arg-type]  # fields of AgentState by name
    event = NewEvent(
        kind=f"agent.{to.value}",
        agent=state.id,
        generation=after.generation,
        data={"reason": after.reason, "from": state.lifecycle.value},
    )
    return Decision(state=after, effects=effects, events=(event,))


def _effect(kind: EffectKind, state: AgentState, detail: str = "") -> Effect:
    return Effect(kind=kind, generation=state.generation, detail=detail)


def _condition(type_: str, reason: str, now: float, subject: str = "") -> Condition:
    return Condition(type=type_, reason=reason, since=now, subject=subject)


def _spawn(state: AgentState, stimulus: SpawnRequested, now: float) -> Decision:
    if state.holds:
        raise IllegalTransition(
            f"{state.name} still holds {', '.join(sorted(state.holds))}",
            hint=f"Run `envmgr stop {state.name}` first.",
        )
    if state.desired is Desired.REMOVED:
        raise IllegalTransition(f"{state.name} is being removed", hint="Spawn an agent of another name.")
    fresh = replace(state, generation=state.generation + 1, conditions=(), activity=None, evidence=None)
    return _moved(
        fresh,
        Lifecycle.SPAWNING,
        now,
        _effect(EffectKind.SPAWN, fresh),
        desired=Desired.RUNNING,
        reason="spawn requested",
    )


def _spawned(state: AgentState, fact: SpawnSucceeded, now: float) -> Decision:
    return _moved(state, Lifecycle.RUNNING, now, holds=fact.holds, reason="all steps done")


def _spawn_failed(state: AgentState, fact: SpawnFailed, now: float) -> Decision:
    left = f"; could not undo: {', '.join(fact.leaked)}" if fact.leaked else "; nothing was left behind"
    reason = f"step {fact.step} failed: {fact.reason}{left}"
    marked = replace(state, activity=None, evidence=None)
    if fact.leaked:
        marked = marked.with_condition(_condition("Leaked", ", ".join(fact.leaked), now))
    tell = _effect(EffectKind.TELL, state, f"{state.name}: {reason}")
    return _moved(marked, Lifecycle.ERROR, now, tell, holds=frozenset(fact.leaked), reason=reason)


def _stop(state: AgentState, stimulus: StopRequested, now: float) -> Decision:
    if state.desired is Desired.REMOVED:
        return _ignore(state, "it is being removed")
    effects = [_effect(EffectKind.STOP, state)]
    if state.lifecycle is Lifecycle.SPAWNING:
        effects.insert(0, _effect(EffectKind.CANCEL_SPAWN, state))
    return _moved(
        state,
        Lifecycle.STOPPING,
        now,
        *effects,
        desired=Desired.STOPPED,
        reason=f"stop asked by {stimulus.by}",
    )


def _stopped(state: AgentState, fact: StopSucceeded, now: float) -> Decision:
    clean = replace(state, conditions=(), activity=None, evidence=None, holds=frozenset())
    return _moved(
        clean, Lifecycle.STOPPED, now, reason=f"{state.reason}; verified: nothing of it is left running"
    )


def _stop_leaked(state: AgentState, fact: StopLeaked, now: float) -> Decision:
    survivors = ", ".join(fact.survivors)
    marked = replace(state, activity=None, evidence=None).with_condition(_condition("Leaked", survivors, now))
    reason = f"stop-failed: {survivors}"
    tell = _effect(EffectKind.TELL, state, f"{state.name}: {reason}")
    return _moved(marked, Lifecycle.ERROR, now, tell, holds=fact.holds, reason=reason)


def _remove(state: AgentState, stimulus: RemoveRequested, now: float) -> Decision:
    if state.desired is Desired.REMOVED:
        return _ignore(state, "it is being removed already")
    if state.holds:
        raise IllegalTransition(
            f"{state.name} still holds {', '.join(sorted(state.holds))}",
            hint=f"Run `envmgr stop {state.name}` first.",
        )
    event = NewEvent(kind="agent.removing", agent=state.id, generation=state.generation)
    return Decision(
        state=replace(state, desired=Desired.REMOVED).without("RemovalFailed"),
        effects=(_effect(EffectKind.REMOVE, state),),
        events=(event,),
    )


def _removed(state: AgentState, fact: Removed, now: float) -> Decision:
    event = NewEvent(
        kind="agent.removed", agent=state.id, generation=state.generation, data={"name": state.name}
    )
    return Decision(state=state, events=(event,), forget=True)


def _removal_failed(state: AgentState, fact: RemovalFailed, now: float) -> Decision:
    event = NewEvent(
        kind="agent.removal_failed", agent=state.id, generation=state.generation, data={"reason": fact.reason}
    )
    marked = replace(state, desired=Desired.STOPPED).with_condition(
        _condition("RemovalFailed", fact.reason, now)
    )
    return Decision(state=marked, events=(event,))


def _assistant_exited(state: AgentState, fact: AssistantExited, now: float) -> Decision:
    how = (
        f"signal {fact.signal}" if fact.signal else f"status {'unknown' if fact.code is None else fact.code}"
    )
    reason = f"the assistant exited with {how}"
    if fact.code == 0:
        return _moved(
            state,
            Lifecycle.STOPPING,
            now,
            _effect(EffectKind.STOP, state),
            desired=Desired.STOPPED,
            activity=None,
            evidence=None,
            reason=reason,
        )
    marked = replace(state, activity=None, evidence=None)
    marked = marked.with_condition(_condition("AssistantExited", reason, now))
    return _moved(
        marked,
        Lifecycle.ERROR,
        now,
        _effect(EffectKind.TELL, state, f"{state.name}: {reason}"),
        reason=reason,
    )


def _session_lost(state: AgentState, fact: SessionLost, now: float) -> Decision:
    reason = f"its terminal session is gone: {fact.reason}"
    marked = replace(state, activity=None, evidence=None).with_condition(
        _condition("SessionLost", fact.reason, now)
    )
    return _moved(
        marked,
        Lifecycle.ERROR,
        now,
        _effect(EffectKind.TELL, state, f"{state.name}: {reason}"),
        reason=reason,
    )


def _activity(state: AgentState, fact: ActivityReported, now: float) -> Decision:
    after = activity.weigh(state, fact, now)
    if after is state:
        return _ignore(state, "better or equal evidence is recorded")
    if after.activity is state.activity:
        return Decision(state=after)
    event = NewEvent(
        kind="agent.activity",
        agent=state.id,
        generation=state.generation,
        data={"activity": fact.activity.value, "source": fact.source.value, "detail": fact.detail},
    )
    return Decision(state=after, events=(event,))


def _service(state: AgentState, fact: ServiceChanged, now: float) -> Decision:
    event = NewEvent(
        kind=f"service.{fact.state.value}",
        agent=state.id,
        generation=state.generation,
        data={"service": fact.service, "detail": fact.detail},
    )
    if fact.state in (ServiceState.FAILED, ServiceState.STOPPED):
        word = "ServiceDown" if fact.critical else "ServiceDegraded"
        return Decision(
            state=state.with_condition(_condition(word, fact.detail, now, fact.service)), events=(event,)
        )
    if fact.state in (ServiceState.READY, ServiceState.DONE):
        healed = state.without("ServiceDown", fact.service).without("ServiceDegraded", fact.service)
        return Decision(state=healed, events=(event,) if healed != state else ())
    return _ignore(state, f"{fact.state.value} says nothing about health")


def _unobservable(state: AgentState, fact: ObservationLost, now: float) -> Decision:
    after = state.with_condition(_condition("Unobservable", fact.reason, now, fact.subject))
    if after.conditions == state.conditions:
        return _ignore(state, "already recorded")
    return Decision(state=after)


def _observable(state: AgentState, fact: ObservationRegained, now: float) -> Decision:
    after = state.without("Unobservable", fact.subject)
    return Decision(state=after) if after != state else _ignore(state, "it was observable")


def _drift(state: AgentState, fact: DriftSeen, now: float) -> Decision:
    """A remark, never an act: nothing is repaired by itself."""
    before = next((c for c in state.conditions if (c.type, c.subject) == ("Drifted", fact.drift.value)), None)
    if (before.reason if before else "") == fact.reason:
        return _ignore(state, "already recorded" if fact.reason else "there was no drift")
    if not fact.reason:
        after = state.without("Drifted", fact.drift.value)
        return Decision(state=after, events=(_drift_event(NewEvent(kind="agent.in_line"), state, fact),))
    after = state.with_condition(_condition("Drifted", fact.reason, now, fact.drift.value))
    return Decision(state=after, events=(_drift_event(NewEvent(kind="agent.drifted"), state, fact),))


def _drift_event(event: NewEvent, state: AgentState, fact: DriftSeen) -> NewEvent:
    data = {"drift": fact.drift.value, "reason": fact.reason}
    return replace(event, agent=state.id, generation=state.generation, data=data)


def _limit(state: AgentState, fact: LimitSeen, now: float) -> Decision:
    """A remark: who only exceeds what cannot be enforced is not ended. Numbers move all the time, so the first ones stay."""
    is_known = any((c.type, c.subject) == ("OverLimit", fact.subject) for c in state.conditions)
    if is_known == bool(fact.reason):
        return _ignore(state, "already recorded" if is_known else "it was within its limit")
    if is_known:
        kept = NewEvent(kind="limit.kept", data={"subject": fact.subject})
        return Decision(state=state.without("OverLimit", fact.subject), events=(_about(kept, state),))
    over = NewEvent(kind="limit.exceeded", data={"subject": fact.subject, "reason": fact.reason})
    after = state.with_condition(_condition("OverLimit", fact.reason, now, fact.subject))
    return Decision(state=after, events=(_about(over, state),))


def _rung(state: AgentState, fact: RungChosen, now: float) -> Decision:
    """A measure begins; after the last one a person is asked, once, and all stays as it is."""
    if fact.rung is Rung.PERSON:
        marked = state.with_condition(_condition("NeedsAttention", fact.reason, now))
        tell = _effect(EffectKind.TELL, state, f"{state.name}: {fact.reason}")
        return _moved(
            marked, Lifecycle.ERROR, now, tell, rung=fact.rung, incident=fact.incident, reason=fact.reason
        )
    data = {"rung": fact.rung.value, "incident": fact.incident, "reason": fact.reason}
    event = NewEvent(kind="agent.recovering", agent=state.id, generation=state.generation, data=data)
    marked = state.without("Recovering").with_condition(_condition("Recovering", fact.reason, now))
    return Decision(
        state=replace(marked, rung=fact.rung, incident=fact.incident),
        effects=(_effect(EffectKind.CLIMB, state, str(fact.rung.value)),),
        events=(event,),
    )


def _held(state: AgentState, fact: RungHeld, now: float) -> Decision:
    if state.incident != fact.incident:
        return _ignore(state, f"it is about incident {fact.incident}")
    well = state
    for mended in ("Recovering", "NeedsAttention", "AssistantExited", "SessionLost"):
        well = well.without(mended)
    well = replace(well, rung=None, incident=0)
    if state.lifecycle is Lifecycle.ERROR:
        return _moved(well, Lifecycle.RUNNING, now, reason=fact.reason)
    data = {"incident": fact.incident, "reason": fact.reason}
    event = NewEvent(kind="agent.recovered", agent=state.id, generation=state.generation, data=data)
    return Decision(state=well, events=(event,))


def _held_by_a_person(state: AgentState, fact: RungHeld, now: float) -> Decision:
    if state.rung is not Rung.PERSON:
        return _ignore(state, "no recovery is under way")
    return _held(state, fact, now)


def _rung_failed(state: AgentState, fact: RungFailed, now: float) -> Decision:
    if state.incident != fact.incident:
        return _ignore(state, f"it is about incident {fact.incident}")
    data = {"rung": state.rung.value if state.rung else 0, "incident": fact.incident, "reason": fact.reason}
    event = NewEvent(kind="rung.failed", agent=state.id, generation=state.generation, data=data)
    return Decision(state=state.with_condition(_condition("Recovering", fact.reason, now)), events=(event,))


def _about(event: NewEvent, state: AgentState) -> NewEvent:
    return replace(event, agent=state.id, generation=state.generation)


_SPAWNING_REFUSES = _refused("is spawning", "Wait for it, or run `envmgr stop {name}`.")
_STOPPING_REFUSES = _refused("is stopping", "Wait until it is stopped: `envmgr show {name}`.")
_RUNNING_REFUSES_SPAWN = _refused("is running already", "See it with `envmgr attach {name}`.")
_RUNNING_REFUSES_REMOVE = _refused("is running", "Run `envmgr stop {name}` first.")
_NOT_SPAWNING = _ignored("no spawn is under way")
_NOT_STOPPING = _ignored("no stop is under way")
_NOT_REMOVING = _ignored("removal happens only when stopped")
_NOT_RUNNING = _ignored("it matters only while running")
_CANCELLED = _ignored("the spawn was cancelled; the stop plan cleans up")

_ROWS: Mapping[type[Any], Mapping[Lifecycle, Handler]] = {
    SpawnRequested: {
        Lifecycle.STOPPED: _spawn,
        Lifecycle.ERROR: _spawn,
        Lifecycle.SPAWNING: _SPAWNING_REFUSES,
        Lifecycle.RUNNING: _RUNNING_REFUSES_SPAWN,
        Lifecycle.STOPPING: _STOPPING_REFUSES,
    },
    StopRequested: {
        Lifecycle.STOPPED: _ignored("it is stopped"),
        Lifecycle.ERROR: _stop,
        Lifecycle.SPAWNING: _stop,
        Lifecycle.RUNNING: _stop,
        Lifecycle.STOPPING: _ignored("it is stopping already"),
    },
    RemoveRequested: {
        Lifecycle.STOPPED: _remove,
        Lifecycle.ERROR: _remove,
        Lifecycle.SPAWNING: _SPAWNING_REFUSES,
        Lifecycle.RUNNING: _RUNNING_REFUSES_REMOVE,
        Lifecycle.STOPPING: _STOPPING_REFUSES,
    },
    SpawnSucceeded: dict.fromkeys(_ALL, _NOT_SPAWNING)
    | {Lifecycle.SPAWNING: _spawned, Lifecycle.STOPPING: _CANCELLED},
    SpawnFailed: dict.fromkeys(_ALL, _NOT_SPAWNING)
    | {Lifecycle.SPAWNING: _spawn_failed, Lifecycle.STOPPING: _CANCELLED},
    StopSucceeded: dict.fromkeys(_ALL, _NOT_STOPPING) | {Lifecycle.STOPPING: _stopped},
    StopLeaked: dict.fromkeys(_ALL, _NOT_STOPPING) | {Lifecycle.STOPPING: _stop_leaked},
    Removed: dict.fromkeys(_ALL, _NOT_REMOVING) | {Lifecycle.STOPPED: _removed, Lifecycle.ERROR: _removed},
    RemovalFailed: dict.fromkeys(_ALL, _NOT_REMOVING)
    | {Lifecycle.STOPPED: _removal_failed, Lifecycle.ERROR: _removal_failed},
    AssistantExited: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _assistant_exited},
    SessionLost: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _session_lost},
    ActivityReported: dict.fromkeys(_ALL, _NOT_RUNNING)
    | {Lifecycle.RUNNING: _activity, Lifecycle.SPAWNING: _activity},
    ServiceChanged: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _service},
    ObservationLost: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _unobservable},
    ObservationRegained: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _observable},
    DriftSeen: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _drift},
    LimitSeen: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _limit},
    RungChosen: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _rung},
    RungHeld: dict.fromkeys(_ALL, _NOT_RUNNING)
    | {Lifecycle.RUNNING: _held, Lifecycle.ERROR: _held_by_a_person},
    RungFailed: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: _rung_failed},
}

TABLE: Mapping[tuple[Lifecycle, type[Any]], Handler] = {
    (lifecycle, stimulus): handler for stimulus, row in _ROWS.items() for lifecycle, handler in row.items()
}
"""Every pair of lifecycle and stimulus; a missing one is a bug, and a test says so."""
