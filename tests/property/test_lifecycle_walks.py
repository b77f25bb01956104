"""Whatever is asked and whatever happens, in any order, an agent's record stays sound."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.invariants import broken
from envmgr.core.lifecycle import decide
from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.ids import AgentId
from envmgr.model.stimulus import (
    Fact,
    RecoverRequested,
    Removed,
    Request,
    RespawnPrepared,
    RungChosen,
    RungFailed,
    RungHeld,
    SpawnFailed,
    SpawnRequested,
    SpawnSucceeded,
    Stimulus,
    StopRequested,
    StopSucceeded,
)
from tests.support.requirements import proves
from tests.support.specs import any_of_type

BLANK = AgentState(id=AgentId("0tter000"), name="otter")

# How far off the agent's generation a fact is; mostly not at all, or the walk would be all late facts.
_OFF = st.sampled_from([0, 0, 0, 0, -1, 1])


@st.composite
def _stimulus(draw: st.DrawFn) -> tuple[Any, int]:
    """A stimulus of a kind drawn evenly, and how late it is."""
    kind = draw(st.sampled_from(get_args(Stimulus)))
    return draw(any_of_type(kind)), draw(_OFF)


def _aimed(stimulus: Any, off: int, state: AgentState) -> Stimulus:
    """At the agent's generation and its few incidents, or beside them."""
    names = {f.name for f in fields(stimulus)}
    if "incident" in names:
        stimulus = replace(stimulus, incident=stimulus.incident % 3)
    if "generation" not in names:
        return stimulus  # type: ignore[no-any-return]  # drawn from Stimulus
    return replace(stimulus, generation=state.generation + off)  # type: ignore[no-any-return]


WALKS = st.lists(st.tuples(_stimulus(), st.integers(-3600, 3600)), max_size=30)


@proves("LIFE-002", "LIFE-003", "LIFE-004")
@given(WALKS)
def test_invariants_hold_along_every_walk(walk: list[tuple[tuple[Any, int], int]]) -> None:
    state, now = BLANK, 1_000_000.0
    for (drawn, off), passed in walk:
        now += passed  # clocks may also be set back
        stimulus = _aimed(drawn, off, state)
        try:
            decision = decide(state, stimulus, now)
        except IllegalTransition:
            assert isinstance(stimulus, Request), "a fact was refused"
            continue

        assert broken(state, stimulus, decision) == []
        assert decide(state, stimulus, now) == decision
        assert not (isinstance(stimulus, Fact) and off and not decision.ignored), "a late fact counted"
        state = BLANK if decision.forget else decision.state


@proves("LIFE-004")
@given(WALKS)
def test_from_anywhere_a_person_can_stop_an_agent_start_it_again_and_remove_it(
    walk: list[tuple[tuple[Any, int], int]],
) -> None:
    state = _reached(walk)

    if state.desired is Desired.REMOVED:
        assert decide(state, Removed(generation=state.generation), 0.0).forget
        return
    state = _stopped(state)
    state = decide(state, SpawnRequested(), 0.0).state
    state = decide(state, SpawnSucceeded(generation=state.generation, holds=frozenset({"x"})), 0.0).state
    assert state.lifecycle is Lifecycle.RUNNING
    state = _stopped(state)
    assert decide(state, Removed(generation=state.generation), 0.0).forget


@st.composite
def _mended(draw: st.DrawFn) -> Any:
    """What happens around recoveries of an agent that runs."""
    kinds = (RungChosen, RungHeld, RungFailed, RespawnPrepared, StopSucceeded, SpawnSucceeded, SpawnFailed)
    return draw(any_of_type(draw(st.sampled_from((*kinds, RecoverRequested)))))


@proves("RECOVER-003", "LIFE-004")
@given(st.lists(_mended(), max_size=20))
def test_whatever_is_being_mended_a_stop_wins_and_no_rung_falls_without_a_person(walk: list[Any]) -> None:
    state = replace(BLANK, generation=1, lifecycle=Lifecycle.RUNNING, desired=Desired.RUNNING)
    for drawn in walk:
        stimulus = _aimed(drawn, 0, state)
        try:
            decision = decide(state, stimulus, 0.0)
        except IllegalTransition:
            continue
        assert broken(state, stimulus, decision) == []
        state = decision.state
    stopped = _stopped(state)
    assert (stopped.lifecycle, stopped.rung) == (Lifecycle.STOPPED, None)


def _reached(walk: list[tuple[tuple[Any, int], int]]) -> AgentState:
    state = BLANK
    for (drawn, off), _ in walk:
        try:
            decision = decide(state, _aimed(drawn, off, state), 0.0)
        except IllegalTransition:
            continue
        state = BLANK if decision.forget else decision.state
    return state


def _stopped(state: AgentState) -> AgentState:
    asked = decide(state, StopRequested(), 0.0)
    if state.lifecycle not in (Lifecycle.STOPPED, Lifecycle.STOPPING):
        assert EffectKind.STOP in [e.kind for e in asked.effects]
    return decide(asked.state, StopSucceeded(generation=asked.state.generation), 0.0).state
