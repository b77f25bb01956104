"""Limits that a recovery has raised stay raised, until the template says others than it did then."""

from __future__ import annotations

from dataclasses import replace

from envmgr.model.service import ProcessLimits
from envmgr.model.spec import AgentSpec, Raised

_STEP = 1.5


def step(limits: ProcessLimits, *, memory: bool) -> ProcessLimits:
    """Half as much again: of memory, or of what a program can have open and run.

    Args:
        memory: Which of the two. Processors do not end a program, so they are left.
    """
    if memory:
        return replace(limits, memory_bytes=_more(limits.memory_bytes))
    return replace(limits, nofile=_more(limits.nofile), pids=_more(limits.pids))


def _more(limit: int | None) -> int | None:
    return None if limit is None else int(limit * _STEP)


def has(spec: AgentSpec, service: str) -> bool:
    """Whether it was done already: a limit is raised once."""
    return spec.asked is not None and service in spec.asked.raised


def remember(spec: AgentSpec, service: str, limits: ProcessLimits) -> AgentSpec:
    """The spec with these limits of a service, and a note of what the template said."""
    before = next(s.limits for s in spec.services if s.name == service)
    services = tuple(replace(s, limits=limits) if s.name == service else s for s in spec.services)
    if spec.asked is None:
        return replace(spec, services=services)
    noted = {**spec.asked.raised, service: Raised(limits=limits, template=before)}
    return replace(spec, services=services, asked=replace(spec.asked, raised=noted))


def restore(new: AgentSpec) -> AgentSpec:
    """A template that was resolved anew, with the limits that still hold."""
    if new.asked is None or not new.asked.raised:
        return new
    said = {service.name: service.limits for service in new.services}
    held = {name: one for name, one in new.asked.raised.items() if said.get(name) == one.template}
    services = tuple(replace(s, limits=held[s.name].limits) if s.name in held else s for s in new.services)
    return replace(new, services=services, asked=replace(new.asked, raised=held))
