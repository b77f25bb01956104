"""Each invariant is seen failing on a decision that breaks it, and only it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.decision import Decision
from envmgr.core.invariants import broken
from envmgr.model.agent import Activity, AgentState, Desired, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung
from envmgr.model.stimulus import (
    ObservationLost,
    RecoverRequested,
    RemovalFailed,
    Stimulus,
    StopRequested,
    StopSucceeded,
)
from tests.support.requirements import proves
from tests.support.states import GENERATION, NOW, agent

RUNNING, STOPPED = agent(Lifecycle.RUNNING), agent(Lifecycle.STOPPED)
EVENT = NewEvent(kind="agent.changed")
SEEN: Stimulus = ObservationLost(generation=GENERATION, subject="tmux", reason="no answer")


def effect(kind: EffectKind, generation: int = GENERATION) -> Effect:
    return Effect(kind=kind, generation=generation)


def spawning(generation: int, *effects: Effect) -> Decision:
    state = replace(STOPPED, lifecycle=Lifecycle.SPAWNING, generation=generation)
    return Decision(state=state, effects=effects, events=(EVENT,))


ERROR = agent(Lifecycle.ERROR)
UNSTOPPED = "a stop ends every recovery"
PLACED = "a rung is set only while running, in a respawn, or, the last one, in error"


def climbing(rung: Rung) -> AgentState:
    return replace(RUNNING, rung=rung, incident=7)


PLANTED: list[tuple[str, AgentState, Decision]] = [
    (
        "a stopped agent holds nothing",
        RUNNING,
        Decision(
            state=replace(RUNNING, lifecycle=Lifecycle.STOPPED, activity=None),
            events=(EVENT,),
        ),
    ),
    (
        "activity is known only while something runs",
        STOPPED,
        Decision(state=replace(STOPPED, activity=Activity.WORKING), events=(EVENT,)),
    ),
    (
        "effects are about the agent's generation",
        RUNNING,
        Decision(state=RUNNING, effects=(effect(EffectKind.STOP, GENERATION - 1),), events=(EVENT,)),
    ),
    (
        "the generation grows by at most one, and only by a spawn",
        STOPPED,
        spawning(GENERATION + 2, effect(EffectKind.SPAWN, GENERATION + 2)),
    ),
    (
        "the generation grows by at most one, and only by a spawn",
        STOPPED,
        spawning(GENERATION + 1),
    ),
    (
        "the generation grows by at most one, and only by a spawn",
        STOPPED,
        spawning(GENERATION, effect(EffectKind.SPAWN)),
    ),
    (
        "entering error tells a person exactly once",
        RUNNING,
        Decision(state=replace(ERROR, holds=RUNNING.holds), events=(EVENT,)),
    ),
    (
        "entering error tells a person exactly once",
        RUNNING,
        Decision(state=ERROR, effects=(effect(EffectKind.TELL),) * 2, events=(EVENT,)),
    ),
    (
        "entering error tells a person exactly once",
        ERROR,
        Decision(state=ERROR, effects=(effect(EffectKind.TELL),), events=(EVENT,)),
    ),
    (
        "an ignored stimulus changes nothing",
        RUNNING,
        Decision(state=replace(RUNNING, reason="changed"), ignored="too late"),
    ),
    (
        "an ignored stimulus changes nothing",
        RUNNING,
        Decision(state=RUNNING, effects=(effect(EffectKind.STOP),), ignored="too late"),
    ),
    (
        "an ignored stimulus changes nothing",
        RUNNING,
        Decision(state=RUNNING, events=(EVENT,), ignored="too late"),
    ),
    (
        "identity never changes",
        RUNNING,
        Decision(state=replace(RUNNING, id=AgentId("an0ther0")), events=(EVENT,)),
    ),
    (
        "identity never changes",
        RUNNING,
        Decision(state=replace(RUNNING, name="badger"), events=(EVENT,)),
    ),
    (
        "a change of lifecycle is recorded",
        RUNNING,
        Decision(state=replace(RUNNING, lifecycle=Lifecycle.STOPPING)),
    ),
    (PLACED, RUNNING, Decision(state=climbing(Rung.PERSON), events=(EVENT,))),
    (
        PLACED,
        RUNNING,
        Decision(state=replace(climbing(Rung.SESSION), lifecycle=Lifecycle.STOPPING), events=(EVENT,)),
    ),
    (
        PLACED,
        RUNNING,
        Decision(
            state=replace(climbing(Rung.RESPAWN), lifecycle=Lifecycle.STOPPING, desired=Desired.STOPPED),
            events=(EVENT,),
        ),
    ),
    (PLACED, STOPPED, Decision(state=replace(STOPPED, rung=Rung.RESPAWN, incident=7), events=(EVENT,))),
    (PLACED, ERROR, Decision(state=replace(ERROR, rung=Rung.RESPAWN, incident=7), events=(EVENT,))),
    (
        "a rung and its incident go together",
        RUNNING,
        Decision(state=replace(RUNNING, rung=Rung.SESSION), events=(EVENT,)),
    ),
    (
        "within an incident only a person takes a lower rung",
        climbing(Rung.REALLOCATE),
        Decision(state=climbing(Rung.SESSION), events=(EVENT,)),
    ),
]


@proves("LIFE-005")
@pytest.mark.parametrize(("sentence", "before", "decision"), PLANTED)
def test_a_planted_bad_decision_breaks_exactly_the_invariant_it_is_about(
    sentence: str, before: AgentState, decision: Decision
) -> None:
    assert broken(before, SEEN, decision) == [sentence]


@proves("LIFE-005")
def test_a_stop_that_leaves_a_recovery_under_way_is_seen() -> None:
    state = replace(climbing(Rung.RESPAWN), lifecycle=Lifecycle.STOPPING)

    assert broken(RUNNING, StopRequested(), Decision(state=state, events=(EVENT,))) == [UNSTOPPED]


@proves("LIFE-005")
def test_a_person_may_take_a_lower_rung() -> None:
    asked = RecoverRequested(incident=7, rung=Rung.SESSION, reason="asked for")
    decision = Decision(state=climbing(Rung.SESSION), events=(EVENT,))

    assert broken(climbing(Rung.REALLOCATE), asked, decision) == []


@proves("LIFE-005")
def test_every_invariant_has_been_seen_failing() -> None:
    # Two decisions that are wrong in every way name all invariants there are.
    before = replace(ERROR, lifecycle=Lifecycle.STOPPING, rung=Rung.PERSON, incident=7)
    wrong = Decision(
        state=replace(
            before,
            lifecycle=Lifecycle.STOPPED,
            rung=Rung.SESSION,
            activity=Activity.READY,
            holds=frozenset({"x"}),
            name="?",
        ),
        effects=(effect(EffectKind.TELL, GENERATION + 5), effect(EffectKind.SPAWN)),
        ignored="yes",
    )
    torn = Decision(state=climbing(Rung.SESSION))
    torn = replace(torn, state=replace(torn.state, incident=0))

    seen = {*broken(before, SEEN, wrong), *broken(RUNNING, StopRequested(), torn)}

    assert seen == {UNSTOPPED, *(sentence for sentence, _, _ in PLANTED)}


@proves("LIFE-005")
@pytest.mark.parametrize(
    "stimulus", [StopSucceeded(generation=GENERATION), RemovalFailed(generation=GENERATION, reason="x")]
)
def test_a_sound_decision_breaks_nothing(stimulus: Stimulus) -> None:
    before = agent(Lifecycle.STOPPING)
    after = replace(before, lifecycle=Lifecycle.STOPPED, holds=frozenset(), since=NOW)

    assert broken(before, stimulus, Decision(state=after, events=(EVENT,))) == []
