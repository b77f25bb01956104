"""Whether this host can carry one more agent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from envmgr.errors import Unavailable
from envmgr.model.spec import AgentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimits:
    """What must remain; 0 switches a check off."""

    max_agents: int = 50
    min_free_memory_bytes: int = 512 * 2**20
    min_free_disk_bytes: int = 1 * 2**30


class Refused(Unavailable):
    """The host has no room."""

    code = "unavailable.admission"


def admit(spec: AgentSpec, limits: HostLimits, *, active: int, reserved_bytes: int, disk: Path) -> None:
    """Raise Refused unless there is room for this agent.

    Args:
        active: Agents that are spawning, running or stopping.
        reserved_bytes: Memory of agents that were admitted and have not started to use it yet.
        disk: Folder on the file system that will hold the worktree.
    """
    if active >= limits.max_agents:
        raise Refused(
            f"{active} agents are active; the limit is {limits.max_agents}",
            hint="Stop some (`envmgr ls`), or raise `host.max_agents`.",
        )
    needed = spec.limits.memory_bytes or 0
    free = psutil.virtual_memory().available - reserved_bytes
    if free - needed < limits.min_free_memory_bytes:
        raise Refused(
            f"{_mb(free)} MB of memory are free; this agent wants {_mb(needed)} MB"
            f" and {_mb(limits.min_free_memory_bytes)} MB must remain",
            hint="Stop some agents, or lower `host.min_free_memory_bytes`.",
        )
    room = shutil.disk_usage(disk).free
    if room < limits.min_free_disk_bytes:
        raise Refused(
            f"{_mb(room)} MB of disk are free; {_mb(limits.min_free_disk_bytes)} MB must remain",
            hint="Remove old agents (`envmgr ls --all`), or lower `host.min_free_disk_bytes`.",
        )


def _mb(size: int) -> int:
    return size // 2**20
