"""What agents take as a rule, and what their templates say, for when none has been measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What an assistant and what it starts take, until agents of the template have been measured."""

    memory_bytes: float
    cpus: float = 0.2
    tasks: float = 30
    open_files: float = 200
    watchers: float = 2
    watches: float = 500


_USUAL = {
    # A session grows to 1.5-2 GB, idle it has 200 MB.
    "claude_code": Usual(memory_bytes=1.5e9),
    "codex": Usual(memory_bytes=0.5e9),
    "gemini": Usual(memory_bytes=0.8e9),
    "opencode": Usual(memory_bytes=1.5e9),  # 0.7 GB when it has done nothing yet
    "command": Usual(memory_bytes=32e6, cpus=0.1, tasks=5, open_files=20, watchers=0, watches=0),
}
_OTHERS = Usual(memory_bytes=1e9)
COMMON = "claude_code"


def usual(spec: AgentSpec | None) -> Usual:
    """Of a template's assistant; without one of the most common."""
    return _USUAL.get(spec.assistant.kind if spec else COMMON, _OTHERS)


def stated_bytes(spec: AgentSpec, assistant_bytes: float) -> float | None:
    """Of the whole agent, or the sum of its services' limits and what its assistant takes."""
    if spec.limits.memory_bytes is not None:
        return float(spec.limits.memory_bytes)
    services = [_limit(service) for service in spec.services if not service.is_shared]
    return sum(services) + assistant_bytes if any(services) else None


def _limit(service: ServiceSpec) -> float:
    return float((service.limits.memory_bytes or 0) * (service.replicas or 1))


def port_blocks(spec: AgentSpec) -> int:
    """Blocks of ports that an agent leases."""
    ports = sum(len(s.ports) * (s.replicas or 1) for s in spec.services if not s.is_shared)
    return math.ceil(ports / spec.ports.block)
