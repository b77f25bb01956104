"""What `why` says will come next of an agent that runs and has trouble."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from envmgr.app.present import what_mends
from envmgr.model.agent import AgentState, Condition, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.incident import Climb, Diagnosis, FailureClass, Incident, Part, Rung
from envmgr.runtime.actor import Actor
from tests.support.requirements import proves
from tests.support.specs import record

DOWN = Condition(type="ServiceDown", reason="web ended", since=1.0, subject="web")


def otter(*conditions: Condition) -> Actor:
    state = AgentState(
        id=AgentId("0tter000"), name="otter", lifecycle=Lifecycle.RUNNING, conditions=conditions
    )
    return Actor(state, record().spec, 1, 1.0)


def waiting() -> Incident:
    known = Diagnosis(
        failure=FailureClass.CRASH, entry=Rung.SERVICE, confidence=1.0, evidence=(), fingerprint="f"
    )
    return Incident(
        agent=AgentId("0tter000"), name="otter", generation=1, part=Part.SERVICE, subject="web", words="ended",
        diagnosis=known, opened_at=1.0, id=7, climbs=(Climb(rung=Rung.WAIT, at=1.0, because="its source was changed"),),
    )  # fmt: skip


@pytest.mark.anyio
@proves("RECOVER-021")
async def test_next_tells_of_the_wait_of_the_restart_that_is_due_and_of_safe_mode() -> None:
    agent = otter(DOWN)
    assert "takes a measure now" in what_mends(agent, "", [])
    said = what_mends(agent, "", [waiting()])
    assert "envmgr waits: its source was changed" in said
    assert "incidents --show 7" in said

    agent.pending["web"] = anyio.CancelScope()
    assert what_mends(agent, "", []).startswith("web is started again soon")
    assert "safe mode (held back: web): too much" in what_mends(agent, "too much", [])


@proves("RECOVER-021")
def test_next_of_an_agent_without_trouble_is_no_matter_of_recovery() -> None:
    agent = otter()
    assert what_mends(agent, "too much", []) == ""
    agent = otter(DOWN)
    agent.state = replace(agent.state, rung=Rung.SERVICE)
    assert what_mends(agent, "", [waiting()]) == ""
