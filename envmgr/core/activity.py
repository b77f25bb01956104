"""Weigh reports on what an assistant is doing: hooks beat screens, and a guess never beats fresh evidence."""

from __future__ import annotations

from dataclasses import replace

from envmgr.model.agent import AgentState, Evidence, Source
from envmgr.model.stimulus import ActivityReported

_RANK = {Source.ENVMGR: 0, Source.HOOK: 0, Source.STREAM: 1, Source.PROCESS: 2, Source.SCREEN: 3}

FRESH_S = 2.0
"""Seconds for which better evidence shuts out a guess; an assistant draws its screen within that time."""


def weigh(state: AgentState, fact: ActivityReported, now: float) -> AgentState:
    """The state after the report; the very same object when better evidence stands."""
    known = state.evidence
    # A negative age means that the clock was set back; nothing is known about the real one then.
    is_fresh = known is not None and 0 <= now - known.at < FRESH_S
    if known is not None and is_fresh and _RANK[fact.source] > _RANK[known.source]:
        return state
    if known is not None and fact.activity is state.activity and fact.source is known.source is Source.SCREEN:
        return state  # a screen that still says the same is no news
    changed = fact.activity is not state.activity
    return replace(
        state,
        activity=fact.activity,
        evidence=Evidence(source=fact.source, detail=fact.detail, at=now),
        activity_since=now if changed else state.activity_since,
    )
