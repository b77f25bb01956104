"""What measures against failures do to an agent's record: they keep it running, a stop always wins, the last one asks a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.lifecycle import decide
from envmgr.errors import IllegalTransition
from envmgr.model.agent import AgentState, Condition, Desired, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    AssistantExited,
    ObservationLost,
    RecoverRequested,
    RespawnPrepared,
    RungChosen,
    RungFailed,
    RungHeld,
    ServiceChanged,
    SessionLost,
    SessionRestored,
    SpawnFailed,
    SpawnSucceeded,
    StopLeaked,
    StopRequested,
    StopSucceeded,
)
from tests.support.requirements import proves
from tests.support.states import GENERATION, HELD, NOW, agent

RUNNING = agent(Lifecycle.RUNNING)
INCIDENT = 7


def chosen(rung: Rung, incident: int = INCIDENT) -> RungChosen:
    return RungChosen(generation=GENERATION, incident=incident, rung=rung, reason="the assistant is gone")


def climbing(rung: Rung) -> AgentState:
    return decide(RUNNING, chosen(rung), NOW).state


def respawning() -> AgentState:
    """Its old generation is being stopped."""
    prepared = RespawnPrepared(generation=GENERATION, incident=INCIDENT)
    return decide(climbing(Rung.RESPAWN), prepared, NOW).state


FROZEN = climbing(Rung.PERSON)


@proves("RECOVER-001")
@pytest.mark.parametrize("rung", [Rung.SERVICE, Rung.SESSION, Rung.REALLOCATE, Rung.RESPAWN])
def test_a_measure_is_owed_while_the_agent_runs_on(rung: Rung) -> None:
    decision = decide(RUNNING, chosen(rung), NOW)

    assert decision.state == replace(
        RUNNING,
        rung=rung,
        incident=INCIDENT,
        conditions=(Condition(type="Recovering", reason="the assistant is gone", since=NOW),),
    )
    assert decision.effects == (Effect(kind=EffectKind.CLIMB, generation=GENERATION, detail=str(int(rung))),)


@proves("RECOVER-004")
def test_the_last_rung_asks_a_person_once_and_leaves_everything_as_it_is() -> None:
    decision = decide(RUNNING, chosen(Rung.PERSON), NOW)

    assert (decision.state.lifecycle, decision.state.rung) == (Lifecycle.ERROR, Rung.PERSON)
    assert (decision.state.holds, decision.state.activity) == (HELD, RUNNING.activity)
    assert [e.kind for e in decision.effects] == [EffectKind.TELL]
    assert decide(decision.state, chosen(Rung.PERSON), NOW).ignored


@proves("RECOVER-003")
def test_within_an_incident_rungs_go_up_only_and_other_incidents_wait() -> None:
    third = climbing(Rung.REALLOCATE)

    assert decide(third, chosen(Rung.SESSION), NOW).ignored == "a rung never falls within an incident"
    assert decide(third, chosen(Rung.RESPAWN, incident=8), NOW).ignored == "incident 7 is being dealt with"
    assert decide(third, chosen(Rung.RESPAWN), NOW).state.rung is Rung.RESPAWN
    assert decide(RUNNING, chosen(Rung.WAIT), NOW).ignored


@proves("RECOVER-001")
def test_a_measure_that_held_takes_back_what_was_remarked() -> None:
    gone = decide(RUNNING, AssistantExited(generation=GENERATION, code=1), NOW).state
    mending = decide(gone, chosen(Rung.SESSION), NOW).state

    well = decide(mending, RungHeld(generation=GENERATION, incident=INCIDENT), NOW).state

    assert (well.rung, well.incident, well.conditions) == (None, 0, ())


@proves("RECOVER-001")
def test_a_measure_that_failed_leaves_the_rung_for_the_next_choice() -> None:
    failed = decide(
        climbing(Rung.SESSION), RungFailed(generation=GENERATION, incident=INCIDENT, reason="again"), NOW
    )

    assert (failed.state.rung, failed.state.incident) == (Rung.SESSION, INCIDENT)
    assert [e.kind for e in failed.events] == ["rung.failed"]


@proves("RECOVER-001")
@pytest.mark.parametrize("fact", [RungHeld, RungFailed])
def test_news_of_another_incident_changes_nothing(fact: type[RungHeld | RungFailed]) -> None:
    decision = decide(climbing(Rung.SESSION), fact(generation=GENERATION, incident=8, reason="?"), NOW)

    assert decision.ignored == "incident 7 is being dealt with"


@proves("RECOVER-001")
def test_a_session_that_was_made_again_takes_back_what_was_remarked_on_the_old_one() -> None:
    gone = decide(RUNNING, SessionLost(generation=GENERATION, reason="the server is gone"), NOW).state
    mending = decide(gone, chosen(Rung.SESSION), NOW).state

    restored = decide(mending, SessionRestored(generation=GENERATION), NOW).state

    assert [c.type for c in restored.conditions] == ["Recovering"]
    assert restored.rung is Rung.SESSION


# --- a respawn ------------------------------------------------------------------------------------------------


@proves("RECOVER-005")
def test_a_respawn_stops_and_spawns_again_while_the_agent_stays_wanted() -> None:
    stopping = respawning()
    again = decide(stopping, StopSucceeded(generation=GENERATION), NOW)
    running = decide(again.state, SpawnSucceeded(generation=GENERATION + 1, holds=HELD), NOW).state

    assert (stopping.lifecycle, stopping.desired) == (Lifecycle.STOPPING, Desired.RUNNING)
    assert (again.state.lifecycle, again.state.generation) == (Lifecycle.SPAWNING, GENERATION + 1)
    assert again.effects == (Effect(kind=EffectKind.SPAWN, generation=GENERATION + 1),)
    assert (running.lifecycle, running.rung, running.incident) == (Lifecycle.RUNNING, Rung.RESPAWN, INCIDENT)


@proves("RECOVER-002", "RECOVER-005")
def test_a_stop_in_either_half_of_a_respawn_wins() -> None:
    spawning = decide(respawning(), StopSucceeded(generation=GENERATION), NOW).state
    first = decide(respawning(), StopRequested(by="ada"), NOW)
    second = decide(spawning, StopRequested(by="ada"), NOW)

    assert (first.state.desired, first.state.rung, first.effects) == (Desired.STOPPED, None, ())
    assert decide(first.state, StopSucceeded(generation=GENERATION), NOW).state.lifecycle is Lifecycle.STOPPED
    assert [e.kind for e in second.effects] == [EffectKind.CANCEL_SPAWN, EffectKind.STOP]
    assert (second.state.lifecycle, second.state.rung) == (Lifecycle.STOPPING, None)


@proves("RECOVER-004", "RECOVER-005")
def test_a_respawn_that_fails_ends_with_a_person() -> None:
    spawning = decide(respawning(), StopSucceeded(generation=GENERATION), NOW).state
    unspawned = SpawnFailed(generation=GENERATION + 1, step="session", reason="tmux hangs")
    unstopped = StopLeaked(generation=GENERATION, survivors=("sleep (pid 7)",))

    for failed in (decide(spawning, unspawned, NOW), decide(respawning(), unstopped, NOW)):
        assert (failed.state.lifecycle, failed.state.rung) == (Lifecycle.ERROR, None)
        assert "NeedsAttention" in [c.type for c in failed.state.conditions]
        assert [e.kind for e in failed.effects] == [EffectKind.TELL]


@proves("RECOVER-005")
def test_a_respawn_is_prepared_only_while_it_is_the_measure_under_way() -> None:
    prepared = RespawnPrepared(generation=GENERATION, incident=INCIDENT)

    assert decide(climbing(Rung.SESSION), prepared, NOW).ignored
    assert decide(climbing(Rung.RESPAWN), replace(prepared, incident=8), NOW).ignored


# --- a stop, and a person ---------------------------------------------------------------------------------------


@proves("RECOVER-002")
@pytest.mark.parametrize("rung", [Rung.SERVICE, Rung.SESSION, Rung.REALLOCATE, Rung.RESPAWN, Rung.PERSON])
def test_a_stop_ends_every_recovery(rung: Rung) -> None:
    stopping = decide(climbing(rung), StopRequested(), NOW).state

    assert (stopping.lifecycle, stopping.rung, stopping.incident) == (Lifecycle.STOPPING, None, 0)
    assert decide(stopping, chosen(Rung.RESPAWN), NOW).ignored


@proves("RECOVER-004")
def test_an_agent_that_waits_for_a_person_goes_on_being_watched() -> None:
    down = ServiceChanged(generation=GENERATION, service="api", state=ServiceState.FAILED, detail="exited")
    lost = ObservationLost(generation=GENERATION, subject="tmux", reason="no answer")
    ended = AssistantExited(generation=GENERATION, code=1)

    for fact, remark in ((down, "ServiceDown"), (lost, "Unobservable"), (ended, "AssistantExited")):
        seen = decide(FROZEN, fact, NOW)
        assert remark in [c.type for c in seen.state.conditions]
        assert (seen.state.lifecycle, seen.effects) == (Lifecycle.ERROR, ())


@proves("RECOVER-004")
def test_an_agent_that_was_mended_by_a_person_runs_again() -> None:
    well = decide(FROZEN, RungHeld(generation=GENERATION, incident=INCIDENT, reason="all is well"), NOW).state

    assert (well.lifecycle, well.rung, well.conditions) == (Lifecycle.RUNNING, None, ())
    assert well.reason == "all is well"


@proves("RECOVER-004")
def test_a_person_who_quits_the_assistant_of_a_waiting_agent_stops_it() -> None:
    stopping = decide(FROZEN, AssistantExited(generation=GENERATION, code=0), NOW).state

    assert (stopping.lifecycle, stopping.desired) == (Lifecycle.STOPPING, Desired.STOPPED)


@proves("RECOVER-006")
@pytest.mark.parametrize("before", [RUNNING, FROZEN, climbing(Rung.RESPAWN)])
def test_a_person_chooses_any_measure_at_any_time_while_something_runs(before: AgentState) -> None:
    asked = RecoverRequested(incident=8, rung=Rung.SESSION, reason="asked for")

    decision = decide(before, asked, NOW)

    assert (decision.state.lifecycle, decision.state.rung) == (Lifecycle.RUNNING, Rung.SESSION)
    assert decision.state.incident == 8
    assert [(e.kind, e.detail) for e in decision.effects] == [(EffectKind.CLIMB, "2")]


@proves("RECOVER-006")
@pytest.mark.parametrize("rung", [Rung.WAIT, Rung.PERSON])
def test_what_is_no_measure_cannot_be_asked_for(rung: Rung) -> None:
    with pytest.raises(IllegalTransition, match="cannot be recovered by that"):
        decide(RUNNING, RecoverRequested(incident=8, rung=rung, reason="asked for"), NOW)
