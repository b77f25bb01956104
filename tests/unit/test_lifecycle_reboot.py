"""The machine was started anew: what ran is stopped on paper, and runs again unless a person says otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.lifecycle import decide
from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.stimulus import HostRestarted, Quarantined, StopRequested, StopSucceeded
from tests.support.requirements import proves
from tests.support.states import GENERATION, NOW, agent


@proves("REBOOT-001")
@pytest.mark.parametrize(("restores", "desired"), [(True, Desired.RUNNING), (False, Desired.STOPPED)])
def test_after_a_restart_of_the_machine_an_agent_is_stopped_and_wanted_as_the_setting_says(
    restores: bool,  # noqa: FBT001 - a parameter of the test
    desired: Desired,
) -> None:
    going = decide(
        agent(Lifecycle.RUNNING), HostRestarted(generation=GENERATION, restores=restores), NOW
    ).state

    down = decide(going, StopSucceeded(generation=GENERATION), NOW).state

    assert (going.lifecycle, going.desired) == (Lifecycle.STOPPING, desired)
    assert (down.lifecycle, down.desired, down.generation) == (Lifecycle.STOPPED, desired, GENERATION)
    assert down.holds == frozenset()


@proves("REBOOT-001", "R-29")
@pytest.mark.parametrize("lifecycle", [Lifecycle.STOPPING, Lifecycle.STOPPED])
def test_a_stop_wins_over_the_restore_that_an_agent_waits_for(lifecycle: Lifecycle) -> None:
    waiting = replace(agent(lifecycle), desired=Desired.RUNNING)

    decision = decide(waiting, StopRequested(by="request"), NOW)

    assert (decision.state.lifecycle, decision.state.desired) == (lifecycle, Desired.STOPPED)
    assert decision.effects == ()


@proves("QUARANTINE-001")
def test_a_quarantine_is_remarked_once_and_taken_back() -> None:
    stuck = Quarantined(generation=GENERATION, subject="web", reason="sleep (pid 7) cannot be ended")
    before = agent(Lifecycle.RUNNING)

    first = decide(before, stuck, NOW)
    again = decide(first.state, stuck, NOW + 1)
    after = decide(first.state, replace(stuck, reason=""), NOW + 2)

    assert [(c.type, c.subject, c.reason) for c in first.state.conditions] == [
        ("Quarantined", "web", "sleep (pid 7) cannot be ended")
    ]
    assert again.ignored
    assert after.state == before
    assert [e.kind for e in (*first.events, *after.events)] == ["agent.quarantined", "agent.released"]
