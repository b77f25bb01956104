"""Which limits hold for a service, and who enforces them (docs/adr/0027)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from envmgr.model.service import ProcessLimits, ServiceSpec
from envmgr.protocols.scopes import Scopes


class Tier(StrEnum):
    """Who enforces a limit, hardest first."""

    ENGINE = "engine"
    CGROUP = "cgroup"
    RLIMITS = "rlimits"
    GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One limit of a service. `value` is for people."""

    name: str
    value: str
    tier: Tier


def in_force(service: ServiceSpec, scopes: Scopes) -> Iterator[InForce]:
    """The limits of a service with who enforces each."""
    limits, is_inside = service.limits, service.container is not None
    tier = Tier.ENGINE if is_inside else Tier.CGROUP if scopes.argv else Tier.GUARD
    if limits.memory_bytes is not None:
        yield InForce(name="memory", value=megabytes(limits.memory_bytes), tier=tier)
    if limits.cpus is not None:
        yield InForce(name="cpus", value=f"{limits.cpus:g}", tier=tier)
    if limits.pids is not None:
        yield InForce(name="pids", value=str(limits.pids), tier=tier)
    for name, value in (("nofile", limits.nofile), ("nice", limits.nice)):
        if value is not None and not is_inside:
            yield InForce(name=name, value=str(value), tier=Tier.RLIMITS)


def needs_guard(service: ServiceSpec, scopes: Scopes) -> bool:
    """Whether nobody but the guard sees to one of its limits."""
    return any(one.tier is Tier.GUARD for one in in_force(service, scopes))


def wrapped(
    argv: Sequence[str], limits: ProcessLimits, scopes: Scopes, *, env: Mapping[str, str]
) -> tuple[str, ...]:
    """The command in a scope of its own with its limits; as it is when it has none, or where scopes do not work.

    A scope executes the command in place, so process and session stay the same. `env` is the service's own environment.
    """
    properties = list(_properties(limits))
    if not scopes.argv or not properties:
        return tuple(argv)
    words = [word for each in properties for word in ("-p", each)]
    if not scopes.env:
        return (*scopes.argv, *words, "--", *argv)
    tool = shutil.which("env") or "/usr/bin/env"
    given = (f"{name}={value}" for name, value in scopes.env.items())
    back = (
        part for name in scopes.env for part in ((f"{name}={env[name]}",) if name in env else ("-u", name))
    )
    # `env` takes its options before assignments.
    ordered = sorted(back, key=lambda part: "=" in part)
    return (tool, *given, *scopes.argv, *words, "--", tool, *ordered, *argv)


def _properties(limits: ProcessLimits) -> Iterator[str]:
    if limits.memory_bytes is not None:
        yield f"MemoryMax={limits.memory_bytes}"
        yield "MemorySwapMax=0"
    if limits.cpus is not None:
        yield f"CPUQuota={round(limits.cpus * 100)}%"
    if limits.pids is not None:
        yield f"TasksMax={limits.pids}"


def described(scopes: Scopes) -> str:
    """For `doctor`: which tiers work here, and why not the best."""
    if scopes.argv:
        return "processes: cgroup v2 scopes for memory, cpus and pids; rlimits for nofile and nice"
    return (
        "processes: rlimits for nofile and nice; the guard ends what exceeds memory or pids and remarks cpus;"
        f" no scopes: {scopes.why_not}"
    )


def megabytes(count: float) -> str:
    """`512 MB`, in millions as templates count them."""
    return f"{count / 1e6:.0f} MB"
