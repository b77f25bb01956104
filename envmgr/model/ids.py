"""Typed names, so that a port name is never taken for an agent."""

from __future__ import annotations

import re
from typing import NewType

AgentId = NewType("AgentId", str)
"""Stable for the life of an agent, all generations: `[a-z0-9]{8}`; never reused."""

InstanceId = NewType("InstanceId", str)
"""One installation (state directory) of envmgr; random, so that two never reap each other."""

ServiceName = NewType("ServiceName", str)


def session_name(agent: AgentId, generation: int) -> str:
    """tmux session of one generation; tmux changes `.` and `:`, so neither occurs."""
    return f"em-{agent}-g{generation}"


LABEL_STATE = "envmgr.state"
"""Absolute path of the state directory: a leak is found without asking any record (docs/adr/0009)."""
LABEL_INSTANCE = "envmgr.instance"
LABEL_AGENT = "envmgr.agent"
LABEL_GENERATION = "envmgr.generation"
"""Not on volumes and images, which outlive generations."""
LABEL_SERVICE = "envmgr.service"
LABEL_HASH = "envmgr.hash"
LABEL_PURPOSE = "envmgr.purpose"
"""`copy` on a container that only carries a volume; one of these that is found at a later start may go."""
LABEL_KEEP = "envmgr.keep"
"""Set to `true` by whoever wants a container, network or volume of an agent's own to outlive it."""

_COMPOSE_PROJECT = re.compile(r"envmgr-[a-z0-9]{8}")


def compose_project(agent: AgentId) -> str:
    """Name under which `docker compose` of the agent makes things; by id, so that no renaming changes it."""
    return f"envmgr-{agent}"


def is_compose_project(name: str) -> bool:
    """Whether it is the project of an agent, of any installation."""
    return _COMPOSE_PROJECT.fullmatch(name) is not None


def container_name(agent: AgentId, generation: int, unit: str) -> str:
    """Container of one unit of one generation."""
    return f"envmgr-{agent}-g{generation}-{unit}"


def network_name(agent: AgentId, generation: int, network: str) -> str:
    """Network of one generation, by its name in the template."""
    return f"envmgr-{agent}-g{generation}-{network}"


def volume_name(agent: AgentId, volume: str) -> str:
    """Volume of an agent, by its name in the template; the same for all generations."""
    return f"envmgr-{agent}-{volume}"


def image_name(agent: AgentId, service: str) -> str:
    """Image that was built for a service of an agent."""
    return f"envmgr-{agent}-{service}"
