"""Rows of the lifecycle table: what people ask for, and how spawns, stops and removals end."""

from __future__ import annotations

from dataclasses import replace

from envmgr.core.decision import Decision, condition, effect, ignore, moved, without_recovery
from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.incident import Rung
from envmgr.model.stimulus import (
    HostRestarted,
    RemovalFailed,
    Removed,
    RemoveRequested,
    SpawnFailed,
    SpawnRequested,
    SpawnSucceeded,
    StopLeaked,
    StopRequested,
    StopSucceeded,
)


def spawn(state: AgentState, stimulus: SpawnRequested, now: float) -> Decision:
    """A new generation, on the worktree of the one before when there was one."""
    if state.holds:
        raise IllegalTransition(
            f"{state.name} still holds {', '.join(sorted(state.holds))}",
            hint=f"Run `envmgr stop {state.name}` first.",
        )
    if state.desired is Desired.REMOVED:
        raise IllegalTransition(f"{state.name} is being removed", hint="Spawn an agent of another name.")
    return _begin_generation(without_recovery(state), "spawn requested", now)


def _begin_generation(state: AgentState, reason: str, now: float) -> Decision:
    fresh = replace(state, generation=state.generation + 1, conditions=(), activity=None, evidence=None)
    return moved(
        fresh,
        Lifecycle.SPAWNING,
        now,
        effect(EffectKind.SPAWN, fresh),
        desired=Desired.RUNNING,
        holds=frozenset(),
        reason=reason,
    )


def spawned(state: AgentState, fact: SpawnSucceeded, now: float) -> Decision:
    """It runs; a respawn goes on being watched."""
    return moved(state, Lifecycle.RUNNING, now, holds=fact.holds, reason="all steps done")


def spawn_failed(state: AgentState, fact: SpawnFailed, now: float) -> Decision:
    """Nothing runs; a person is told."""
    left = f"; could not undo: {', '.join(fact.leaked)}" if fact.leaked else "; nothing was left behind"
    reason = f"step {fact.step} failed: {fact.reason}{left}"
    marked = _given_up(state, reason, now)
    if fact.leaked:
        marked = marked.with_condition(condition("Leaked", ", ".join(fact.leaked), now))
    tell = effect(EffectKind.TELL, state, f"{state.name}: {reason}")
    return moved(marked, Lifecycle.ERROR, now, tell, holds=frozenset(fact.leaked), reason=reason)


def _given_up(state: AgentState, reason: str, now: float) -> AgentState:
    """Nothing of it runs for which a recovery could go on; after a respawn somebody has to look."""
    left = without_recovery(replace(state, activity=None, evidence=None))
    if state.rung is None:
        return left
    return left.with_condition(condition("NeedsAttention", f"its respawn failed: {reason}", now))


def stop(state: AgentState, stimulus: StopRequested, now: float) -> Decision:
    """Everything of it ends, whatever was being done about it."""
    if state.desired is Desired.REMOVED:
        return ignore(state, "it is being removed")
    effects = [effect(EffectKind.STOP, state)]
    if state.lifecycle is Lifecycle.SPAWNING:
        effects.insert(0, effect(EffectKind.CANCEL_SPAWN, state))
    return moved(
        without_recovery(state),
        Lifecycle.STOPPING,
        now,
        *effects,
        desired=Desired.STOPPED,
        reason=f"stop asked by {stimulus.by}",
    )


def stop_for_good(state: AgentState, stimulus: StopRequested, now: float) -> Decision:
    """A person's stop makes the first half of a respawn, or of a restore, a stop; the plan under way is the same."""
    if state.desired is not Desired.RUNNING:
        return ignore(state, "it is stopping already")
    return moved(
        without_recovery(state),
        Lifecycle.STOPPING,
        now,
        desired=Desired.STOPPED,
        reason=f"stop asked by {stimulus.by}",
    )


def stay_stopped(state: AgentState, stimulus: StopRequested, now: float) -> Decision:
    """A person's stop wins over the restore that a stopped agent waits for."""
    if state.desired is not Desired.RUNNING:
        return ignore(state, "it is stopped")
    reason = f"stop asked by {stimulus.by}"
    return moved(state, Lifecycle.STOPPED, now, desired=Desired.STOPPED, reason=reason)


def host_restarted(state: AgentState, fact: HostRestarted, now: float) -> Decision:
    """The stop plan gives back what is left of it; when it is to run again, that comes after it."""
    return moved(
        without_recovery(replace(state, activity=None, evidence=None)),
        Lifecycle.STOPPING,
        now,
        effect(EffectKind.STOP, state),
        desired=Desired.RUNNING if fact.restores else Desired.STOPPED,
        reason="the machine was restarted",
    )


def stopped(state: AgentState, fact: StopSucceeded, now: float) -> Decision:
    """Verified. The first half of a respawn goes over into the second: a new generation for the same incident."""
    if state.rung is Rung.RESPAWN:
        return _begin_generation(state, state.reason, now)
    clean = replace(state, conditions=(), activity=None, evidence=None, holds=frozenset())
    return moved(
        clean, Lifecycle.STOPPED, now, reason=f"{state.reason}; verified: nothing of it is left running"
    )


def stop_leaked(state: AgentState, fact: StopLeaked, now: float) -> Decision:
    """Something survived; a later stop releases it."""
    survivors = ", ".join(fact.survivors)
    reason = f"stop-failed: {survivors}"
    marked = _given_up(state, reason, now).with_condition(condition("Leaked", survivors, now))
    tell = effect(EffectKind.TELL, state, f"{state.name}: {reason}")
    return moved(marked, Lifecycle.ERROR, now, tell, holds=fact.holds, reason=reason)


def remove(state: AgentState, stimulus: RemoveRequested, now: float) -> Decision:
    """Worktree and record go, once nothing is held any more."""
    if state.desired is Desired.REMOVED:
        return ignore(state, "it is being removed already")
    if state.holds:
        raise IllegalTransition(
            f"{state.name} still holds {', '.join(sorted(state.holds))}",
            hint=f"Run `envmgr stop {state.name}` first.",
        )
    left = without_recovery(replace(state, activity=None, evidence=None)).without("RemovalFailed")
    event = NewEvent(kind="agent.removing", agent=state.id, generation=state.generation)
    return Decision(
        state=replace(left, desired=Desired.REMOVED),
        effects=(effect(EffectKind.REMOVE, state),),
        events=(event,),
    )


def removed(state: AgentState, fact: Removed, now: float) -> Decision:
    """It is gone, and so is its record."""
    event = NewEvent(
        kind="agent.removed", agent=state.id, generation=state.generation, data={"name": state.name}
    )
    return Decision(state=state, events=(event,), forget=True)


def removal_failed(state: AgentState, fact: RemovalFailed, now: float) -> Decision:
    """It stays, with the reason; it may be asked for again."""
    event = NewEvent(
        kind="agent.removal_failed", agent=state.id, generation=state.generation, data={"reason": fact.reason}
    )
    marked = replace(state, desired=Desired.STOPPED).with_condition(
        condition("RemovalFailed", fact.reason, now)
    )
    return Decision(state=marked, events=(event,))
