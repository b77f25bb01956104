"""Rows of the lifecycle table: what is seen of an agent that runs. Remarks on it, never acts."""

from __future__ import annotations

from dataclasses import replace

from envmgr.core import activity
from envmgr.core.decision import Decision, about, condition, ignore
from envmgr.model.agent import AgentState
from envmgr.model.event import NewEvent
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    ActivityReported,
    DriftSeen,
    LimitSeen,
    ObservationLost,
    ObservationRegained,
    Quarantined,
    ServiceChanged,
)


def activity_seen(state: AgentState, fact: ActivityReported, now: float) -> Decision:
    """What the assistant is doing, when the evidence is good enough."""
    after = activity.weigh(state, fact, now)
    if after is state:
        return ignore(state, "better or equal evidence is recorded")
    if after.activity is state.activity:
        return Decision(state=after)
    data = {"activity": fact.activity.value, "source": fact.source.value, "detail": fact.detail}
    return Decision(state=after, events=(about(NewEvent(kind="agent.activity", data=data), state),))


def service(state: AgentState, fact: ServiceChanged, now: float) -> Decision:
    """A remark while a service is down; its return takes it back."""
    event = NewEvent(
        kind=f"service.{fact.state.value}",
        agent=state.id,
        generation=state.generation,
        data={"service": fact.service, "detail": fact.detail},
    )
    if fact.state in (ServiceState.FAILED, ServiceState.STOPPED):
        word = "ServiceDown" if fact.critical else "ServiceDegraded"
        return Decision(
            state=state.with_condition(condition(word, fact.detail, now, fact.service)), events=(event,)
        )
    if fact.state in (ServiceState.READY, ServiceState.DONE):
        healed = state.without("ServiceDown", fact.service).without("ServiceDegraded", fact.service)
        return Decision(state=healed, events=(event,) if healed != state else ())
    return ignore(state, f"{fact.state.value} says nothing about health")


def unobservable(state: AgentState, fact: ObservationLost, now: float) -> Decision:
    """Nothing is concluded from that."""
    after = state.with_condition(condition("Unobservable", fact.reason, now, fact.subject))
    if after.conditions == state.conditions:
        return ignore(state, "already recorded")
    return Decision(state=after)


def observable(state: AgentState, fact: ObservationRegained, now: float) -> Decision:
    """It can be seen again."""
    after = state.without("Unobservable", fact.subject)
    return Decision(state=after) if after != state else ignore(state, "it was observable")


def drift(state: AgentState, fact: DriftSeen, now: float) -> Decision:
    """A remark, never an act: nothing is repaired by itself."""
    before = next((c for c in state.conditions if (c.type, c.subject) == ("Drifted", fact.drift.value)), None)
    if (before.reason if before else "") == fact.reason:
        return ignore(state, "already recorded" if fact.reason else "there was no drift")
    if not fact.reason:
        after = state.without("Drifted", fact.drift.value)
        return Decision(state=after, events=(_drift_event(NewEvent(kind="agent.in_line"), state, fact),))
    after = state.with_condition(condition("Drifted", fact.reason, now, fact.drift.value))
    return Decision(state=after, events=(_drift_event(NewEvent(kind="agent.drifted"), state, fact),))


def _drift_event(event: NewEvent, state: AgentState, fact: DriftSeen) -> NewEvent:
    data = {"drift": fact.drift.value, "reason": fact.reason}
    return replace(event, agent=state.id, generation=state.generation, data=data)


def limit(state: AgentState, fact: LimitSeen, now: float) -> Decision:
    """A remark: who only exceeds what cannot be enforced is not ended. Numbers move all the time, so the first ones stay."""
    if fact.is_forecast:
        return _toggled(state, fact, now, "LimitNear", "trend.limit_near", "trend.limit_far")
    return _toggled(state, fact, now, "OverLimit", "limit.exceeded", "limit.kept")


def _toggled(state: AgentState, fact: LimitSeen, now: float, remark: str, begins: str, ends: str) -> Decision:
    is_known = any((c.type, c.subject) == (remark, fact.subject) for c in state.conditions)
    if is_known == bool(fact.reason):
        return ignore(state, "already recorded" if is_known else "it was within its limit")
    data = {"subject": fact.subject, **fact.evidence}
    if is_known:
        kept = NewEvent(kind=ends, data=data)
        return Decision(state=state.without(remark, fact.subject), events=(about(kept, state),))
    over = NewEvent(kind=begins, data={**data, "reason": fact.reason})
    after = state.with_condition(condition(remark, fact.reason, now, fact.subject))
    return Decision(state=after, events=(about(over, state),))


def quarantined(state: AgentState, fact: Quarantined, now: float) -> Decision:
    """A remark; that nothing new is started beside it is the runtime's affair."""
    known = next((c for c in state.conditions if (c.type, c.subject) == ("Quarantined", fact.subject)), None)
    if (known.reason if known else "") == fact.reason:
        return ignore(state, "already recorded" if fact.reason else "it was not in quarantine")
    data = {"subject": fact.subject, "reason": fact.reason or (known.reason if known else "")}
    kind = "agent.quarantined" if fact.reason else "agent.released"
    after = state.without("Quarantined", fact.subject)
    if fact.reason:
        after = state.with_condition(condition("Quarantined", fact.reason, now, fact.subject))
    return Decision(state=after, events=(about(NewEvent(kind=kind, data=data), state),))
