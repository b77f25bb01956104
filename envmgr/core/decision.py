"""What a decision consists of, and the few ways in which one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Condition, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.stimulus import Stimulus


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


def ignore(state: AgentState, why: str) -> Decision:
    """Change nothing, and say why."""
    return Decision(state=state, ignored=why)


def ignored(why: str) -> Handler:
    """The row of the table that does so."""

    def handler(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
        return ignore(state, why)

    return handler


def refused(message: str, hint: str) -> Handler:
    """The row for a request that does not fit; `{name}` in the hint becomes the agent's."""

    def handler(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
        raise IllegalTransition(f"{state.name} {message}", hint=hint.format(name=state.name))

    return handler


def moved(state: AgentState, to: Lifecycle, now: float, *effects: Effect, **changes: object) -> Decision:
    """Enter another lifecycle state, with the event that says so."""
    after = replace(state, lifecycle=to, since=now, **changes)  # type: ignore[arg-type]  # fields of AgentState by name
    event = NewEvent(
        kind=f"agent.{to.value}",
        agent=state.id,
        generation=after.generation,
        data={"reason": after.reason, "from": state.lifecycle.value},
    )
    return Decision(state=after, effects=effects, events=(event,))


def effect(kind: EffectKind, state: AgentState, detail: str = "") -> Effect:
    """An owed act of the present generation."""
    return Effect(kind=kind, generation=state.generation, detail=detail)


def condition(type_: str, reason: str, now: float, subject: str = "") -> Condition:
    """A remark that begins now."""
    return Condition(type=type_, reason=reason, since=now, subject=subject)


def about(event: NewEvent, state: AgentState) -> NewEvent:
    """The event, as one of this agent and generation."""
    return replace(event, agent=state.id, generation=state.generation)


def without_recovery(state: AgentState) -> AgentState:
    """Nothing is being mended, nobody is asked to."""
    calm = state.without("Recovering").without("NeedsAttention")
    return replace(calm, rung=None, incident=0)
