"""Typed names, so that a port name is never taken for an agent."""

from __future__ import annotations

from typing import NewType

AgentId = NewType("AgentId", str)
"""Stable for the life of an agent, all generations: `[a-z0-9]{8}`; never reused."""

InstanceId = NewType("InstanceId", str)
"""One installation (state directory) of envmgr; random, so that two never reap each other."""

ServiceName = NewType("ServiceName", str)


def session_name(agent: AgentId, generation: int) -> str:
    """tmux session of one generation; tmux changes `.` and `:`, so neither occurs."""
    return f"em-{agent}-g{generation}"
