"""Rows of the lifecycle table: an assistant that ended, a session that is gone, and the measures against failures."""

from __future__ import annotations

from dataclasses import replace

from envmgr.core.decision import (
    Decision,
    Handler,
    about,
    condition,
    effect,
    ignore,
    moved,
    without_recovery,
)
from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Condition, Desired, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.incident import Rung
from envmgr.model.stimulus import (
    AssistantExited,
    RecoverRequested,
    RespawnPrepared,
    RungChosen,
    RungFailed,
    RungHeld,
    SessionLost,
    SessionRestored,
    Stimulus,
)

_NO_RECOVERY = "no recovery is under way"


def while_frozen(handler: Handler) -> Handler:
    """The row of ERROR for an agent that waits for a person: what is left of it runs on and goes on being watched."""

    def row(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
        if state.rung is not Rung.PERSON:
            return ignore(state, "it matters only while running")
        return handler(state, stimulus, now)

    return row


# --- what is noticed ------------------------------------------------------------------------------------------


def assistant_exited(state: AgentState, fact: AssistantExited, now: float) -> Decision:
    """An end with success is a stop; after any other the ladder decides what is to be done."""
    how = (
        f"signal {fact.signal}" if fact.signal else f"status {'unknown' if fact.code is None else fact.code}"
    )
    reason = f"the assistant exited with {how}"
    if fact.code == 0:
        calm = without_recovery(replace(state, activity=None, evidence=None))
        stop = effect(EffectKind.STOP, state)
        return moved(calm, Lifecycle.STOPPING, now, stop, desired=Desired.STOPPED, reason=reason)
    return _noticed(state, "assistant.exited", condition("AssistantExited", reason, now))


def session_lost(state: AgentState, fact: SessionLost, now: float) -> Decision:
    """The assistant is gone with it; the ladder decides what is to be done."""
    return _noticed(state, "session.lost", condition("SessionLost", fact.reason, now))


def _noticed(state: AgentState, kind: str, remark: Condition) -> Decision:
    """No assistant is at work any more."""
    if any((c.type, c.reason) == (remark.type, remark.reason) for c in state.conditions):
        return ignore(state, "already recorded")
    after = replace(state, activity=None, evidence=None).with_condition(remark)
    event = about(NewEvent(kind=kind, data={"reason": remark.reason}), state)
    return Decision(state=after, events=(event,))


def session_restored(state: AgentState, fact: SessionRestored, now: float) -> Decision:
    """What was remarked on the old ones no longer holds."""
    after = state.without("AssistantExited").without("SessionLost")
    return Decision(state=after, events=(about(NewEvent(kind="session.restored"), state),))


# --- measures -------------------------------------------------------------------------------------------------


def rung_chosen(state: AgentState, fact: RungChosen, now: float) -> Decision:
    """A measure begins; after the last one a person is asked, once, and all stays as it is."""
    if why := _unfit(state, fact):
        return ignore(state, why)
    if fact.rung is not Rung.PERSON:
        return _climb(state, fact, now)
    asking = without_recovery(state).with_condition(condition("NeedsAttention", fact.reason, now))
    tell = effect(EffectKind.TELL, state, f"{state.name}: {fact.reason}")
    frozen = {"rung": fact.rung, "incident": fact.incident, "reason": fact.reason}
    return moved(asking, Lifecycle.ERROR, now, tell, **frozen)


def _unfit(state: AgentState, fact: RungChosen) -> str:
    if fact.rung is Rung.WAIT or not fact.incident:
        return "it names no measure, or no incident"
    if state.rung is None or fact.rung is Rung.PERSON:
        return ""
    if fact.incident != state.incident:
        return f"incident {state.incident} is being dealt with"
    return "a rung never falls within an incident" if fact.rung < state.rung else ""


def _climb(state: AgentState, fact: RungChosen | RecoverRequested, now: float) -> Decision:
    data = {"rung": fact.rung.value, "incident": fact.incident, "reason": fact.reason}
    event = about(NewEvent(kind="agent.recovering", data=data), state)
    marked = without_recovery(state).with_condition(condition("Recovering", fact.reason, now))
    return Decision(
        state=replace(marked, rung=fact.rung, incident=fact.incident),
        effects=(effect(EffectKind.CLIMB, state, str(fact.rung.value)),),
        events=(event,),
    )


def recover(state: AgentState, request: RecoverRequested, now: float) -> Decision:
    """A person's choice comes before the ladder's, and may go down again."""
    if request.rung in (Rung.WAIT, Rung.PERSON) or not request.incident:
        raise IllegalTransition(
            f"{state.name} cannot be recovered by that",
            hint=f"Name a measure: `envmgr recover {state.name} --from session`.",
        )
    if state.lifecycle is Lifecycle.RUNNING:
        return _climb(state, request, now)
    if state.rung is not Rung.PERSON:
        raise IllegalTransition(
            f"{state.name} does not run, so there is nothing to recover",
            hint=f"Stop what is left with `envmgr stop {state.name}`, then `envmgr start {state.name}`.",
        )
    again = moved(without_recovery(state), Lifecycle.RUNNING, now, reason=request.reason)
    climb = _climb(again.state, request, now)
    return replace(climb, events=(*again.events, *climb.events))


def respawn_prepared(state: AgentState, fact: RespawnPrepared, now: float) -> Decision:
    """The first half of a respawn is a stop after which it is still wanted."""
    if state.rung is not Rung.RESPAWN or state.incident != fact.incident:
        return ignore(state, _NO_RECOVERY)
    remark = next((c.reason for c in state.conditions if c.type == "Recovering"), "")
    return moved(state, Lifecycle.STOPPING, now, effect(EffectKind.STOP, state), reason=f"respawn: {remark}")


def rung_held(state: AgentState, fact: RungHeld, now: float) -> Decision:
    """All is well again, by the measure or by a person."""
    if why := _elsewhere(state, fact):
        return ignore(state, why)
    well = without_recovery(state).without("AssistantExited").without("SessionLost")
    if state.lifecycle is Lifecycle.ERROR:
        return moved(well, Lifecycle.RUNNING, now, reason=fact.reason)
    data = {"incident": fact.incident, "reason": fact.reason}
    return Decision(state=well, events=(about(NewEvent(kind="agent.recovered", data=data), state),))


def rung_failed(state: AgentState, fact: RungFailed, now: float) -> Decision:
    """The next one is chosen from here on."""
    if why := _elsewhere(state, fact):
        return ignore(state, why)
    assert state.rung is not None, "it was just looked at"
    data = {"rung": state.rung.value, "incident": fact.incident, "reason": fact.reason}
    marked = state.with_condition(condition("Recovering", fact.reason, now))
    return Decision(state=marked, events=(about(NewEvent(kind="rung.failed", data=data), state),))


def _elsewhere(state: AgentState, fact: RungHeld | RungFailed) -> str:
    if state.rung is None:
        return _NO_RECOVERY
    return "" if state.incident == fact.incident else f"incident {state.incident} is being dealt with"
