"""Agents in each lifecycle state, as they are in the middle of an ordinary life."""

from __future__ import annotations

from dataclasses import replace

from envmgr.model.agent import Activity, AgentState, Desired, Evidence, Lifecycle, Source
from envmgr.model.ids import AgentId

NOW = 1_000.0
BORN = 900.0
GENERATION = 3
HELD = frozenset({"session", "assistant"})

_PLAIN = AgentState(
    id=AgentId("0tter000"), name="otter", generation=GENERATION, desired=Desired.RUNNING, since=BORN
)
_READY = Evidence(source=Source.HOOK, detail="SessionStart", at=BORN)


def agent(lifecycle: Lifecycle) -> AgentState:
    """One in its third generation: running and stopping it holds something, stopped and failed it does not."""
    state = replace(_PLAIN, lifecycle=lifecycle, reason="as before")
    if lifecycle in (Lifecycle.STOPPED, Lifecycle.STOPPING):
        state = replace(state, desired=Desired.STOPPED)
    if lifecycle in (Lifecycle.RUNNING, Lifecycle.STOPPING):
        state = replace(state, holds=HELD)
    if lifecycle is Lifecycle.RUNNING:
        state = replace(state, activity=Activity.READY, evidence=_READY, activity_since=BORN)
    return state
