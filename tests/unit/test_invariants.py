"""Each invariant is seen failing on a decision that breaks it, and only it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.invariants import broken
from envmgr.core.lifecycle import Decision
from envmgr.model.agent import Activity, AgentState, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.stimulus import RemovalFailed, Stimulus, StopRequested, StopSucceeded
from tests.support.requirements import proves
from tests.support.states import GENERATION, NOW, agent

RUNNING, STOPPED = agent(Lifecycle.RUNNING), agent(Lifecycle.STOPPED)
EVENT = NewEvent(kind="agent.changed")
ASKED: Stimulus = StopRequested()


def effect(kind: EffectKind, generation: int = GENERATION) -> Effect:
    return Effect(kind=kind, generation=generation)


def spawning(generation: int, *effects: Effect) -> Decision:
    state = replace(STOPPED, lifecycle=Lifecycle.SPAWNING, generation=generation)
    return Decision(state=state, effects=effects, events=(EVENT,))


ERROR = agent(Lifecycle.ERROR)
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
        "activity is known only while spawning or running",
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
]


@proves("LIFE-005")
@pytest.mark.parametrize(("sentence", "before", "decision"), PLANTED)
def test_a_planted_bad_decision_breaks_exactly_the_invariant_it_is_about(
    sentence: str, before: AgentState, decision: Decision
) -> None:
    assert broken(before, ASKED, decision) == [sentence]


@proves("LIFE-005")
def test_every_invariant_has_been_seen_failing() -> None:
    # A decision that is wrong in every way names all invariants there are.
    before = replace(ERROR, lifecycle=Lifecycle.STOPPING)
    wrong = Decision(
        state=replace(
            before, lifecycle=Lifecycle.STOPPED, activity=Activity.READY, holds=frozenset({"x"}), name="?"
        ),
        effects=(effect(EffectKind.TELL, GENERATION + 5), effect(EffectKind.SPAWN)),
        ignored="yes",
    )

    assert set(broken(before, ASKED, wrong)) == {sentence for sentence, _, _ in PLANTED}


@proves("LIFE-005")
@pytest.mark.parametrize(
    "stimulus", [StopSucceeded(generation=GENERATION), RemovalFailed(generation=GENERATION, reason="x")]
)
def test_a_sound_decision_breaks_nothing(stimulus: Stimulus) -> None:
    before = agent(Lifecycle.STOPPING)
    after = replace(before, lifecycle=Lifecycle.STOPPED, holds=frozenset(), since=NOW)

    assert broken(before, stimulus, Decision(state=after, events=(EVENT,))) == []
