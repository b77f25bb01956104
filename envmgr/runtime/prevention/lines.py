"""Which measured values have a limit that they may run into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envmgr.model.spec import AgentSpec
from envmgr.protocols.gauges import HostFigures
from envmgr.protocols.series import HOST
from envmgr.runtime.measures import AgentUse, Measures

LOW_DISK = 0.1
"""Part of a file system below which it counts as full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A value and its limit.

    Attributes:
        agent: Empty for the host.
        subject: `memory`, `api.memory`, `disk.worktrees`, ...
        is_floor: It shall stay above the limit.
        unit: `bytes`, or what is counted.
        remedy: What a person may do.
    """

    agent: str
    subject: str
    value: float
    limit: float
    unit: str
    remedy: str
    is_floor: bool = False


def of_agent(agent: str, use: AgentUse, spec: AgentSpec) -> Iterator[Line]:
    """Memory and open files, of all of it and of its units."""
    if (limit := spec.limits.memory_bytes) is not None:
        yield _memory(agent, "memory", use.memory_bytes, limit, "the agent")
    limits = {service.name: service.limits.memory_bytes for service in spec.services}
    for name, part in use.parts.items():
        if (limit := limits.get(name)) is not None:
            yield _memory(agent, f"{name}.memory", part.memory_bytes, limit, name)
        if part.handles.fullest_limit:
            yield Line(
                agent=agent,
                subject=f"{name or 'processes'}.open_files",
                value=part.handles.fullest,
                limit=part.handles.fullest_limit,
                unit="files",
                remedy=f"Look what {name or 'it'} does not close; `limits.nofile` of the template raises the limit.",
            )


def _memory(agent: str, subject: str, value: int, limit: int, whose: str) -> Line:
    remedy = f"Restart {whose} at a quiet moment, or raise its `limits.memory`."
    return Line(agent=agent, subject=subject, value=value, limit=limit, unit="bytes", remedy=remedy)


def of_host(measures: Measures, *, keep_memory_bytes: int) -> Iterator[Line]:
    """Memory, file systems, port blocks, and what the kernel allows."""
    host = measures.host
    if host is not None:
        if keep_memory_bytes:
            yield _floor(
                "memory", host.available_bytes, keep_memory_bytes, "bytes", "Stop some agents: `envmgr ls`."
            )
        yield from _file_systems(host)
        yield from _allowed(measures, host)
    if measures.free_blocks is not None:
        remedy = "Remove agents that are not needed, or widen `ports.first` and `ports.last`."
        yield _floor("ports", measures.free_blocks, 0, "blocks", remedy)


def _file_systems(host: HostFigures) -> Iterator[Line]:
    remedy = "See what can go: `envmgr audit-resources`."
    for label, system in host.systems.items():
        yield _floor(f"disk.{label}", system.free_bytes, LOW_DISK * system.total_bytes, "bytes", remedy)
        if system.total_files:
            yield _floor(
                f"inodes.{label}", system.free_files, LOW_DISK * system.total_files, "inodes", remedy
            )


def _allowed(measures: Measures, host: HostFigures) -> Iterator[Line]:
    """All agents together: the kernel counts by user."""
    totals = [use.totals() for use in measures.agents.values()]
    rows = (
        ("watches", host.max_watches, "fs.inotify.max_user_watches"),
        ("watchers", host.max_watchers, "fs.inotify.max_user_instances"),
    )
    for name, limit, sysctl in rows:
        if limit:
            used = sum(total.get(name, 0.0) for total in totals)
            remedy = f"Raise it: sysctl {sysctl}={2 * limit}"
            yield Line(
                agent=HOST, subject=f"inotify.{name}", value=used, limit=limit, unit=name, remedy=remedy
            )
    if host.max_open_files:
        remedy = f"Raise it: sysctl fs.file-max={2 * host.max_open_files}"
        yield Line(agent=HOST, subject="open_files", value=host.open_files, limit=host.max_open_files, unit="files", remedy=remedy)  # fmt: skip
    if host.max_processes:
        remedy = f"Raise it: sysctl kernel.pid_max={2 * host.max_processes}"
        yield Line(agent=HOST, subject="tasks", value=host.tasks, limit=host.max_processes, unit="processes", remedy=remedy)  # fmt: skip


def _floor(subject: str, value: float, limit: float, unit: str, remedy: str) -> Line:
    return Line(
        agent=HOST, subject=subject, value=value, limit=limit, unit=unit, remedy=remedy, is_floor=True
    )
