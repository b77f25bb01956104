"""What was measured, as samples of history."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.protocols.gauges import HostFigures
from envmgr.protocols.series import HOST, Sample
from envmgr.runtime.measures import Measures, PartUse


def samples(measures: Measures, at: float) -> Iterator[Sample]:
    """Of the host, of each agent (subject empty), its units and its assistant."""
    for subject, metric, value in _of_host(measures):
        yield Sample(agent=HOST, subject=subject, metric=metric, at=at, value=value)
    for agent, use in measures.agents.items():
        for metric, value in use.totals().items():
            yield Sample(agent=agent, metric=metric, at=at, value=value)
        for name, part in use.parts.items():
            if name:
                for metric, value in _of_part(part):
                    yield Sample(agent=agent, subject=name, metric=metric, at=at, value=value)


def _of_part(part: PartUse) -> Iterator[tuple[str, float]]:
    yield "memory_bytes", float(part.memory_bytes)
    yield "cpus", part.cpus
    yield "tasks", float(part.usage.tasks)
    if part.handles.open_files:
        yield "open_files", float(part.handles.open_files)


def _of_host(measures: Measures) -> Iterator[tuple[str, str, float]]:
    host = measures.host
    if host is None:
        return
    yield from _of_machine(host)
    for label, system in host.systems.items():
        yield label, "disk.free_bytes", float(system.free_bytes)
        if system.total_files:
            yield label, "disk.free_files", float(system.free_files)
    if measures.free_blocks is not None:
        yield "", "ports.free_blocks", float(measures.free_blocks)


def _of_machine(host: HostFigures) -> Iterator[tuple[str, str, float]]:
    yield "", "memory.available_bytes", float(host.available_bytes)
    yield "", "swap.in_pages", float(host.swapped_in)
    yield "", "swap.out_pages", float(host.swapped_out)
    yield "", "load", host.load
    yield "", "tasks", float(host.tasks)
    yield "", "open_files", float(host.open_files)
    for name, part in host.pressure.items():
        yield "", f"pressure.{name}", part
