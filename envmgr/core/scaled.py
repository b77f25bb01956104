"""What a person scaled by hand stays as they said, until the template says another number than it did then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from envmgr.model.spec import AgentSpec, Scaled


def remember(spec: AgentSpec, counts: Mapping[str, int]) -> AgentSpec:
    """The spec with these numbers of instances, and a note of what the template said."""
    noted = dict(spec.asked.scaled) if spec.asked else {}
    services = []
    for service in spec.services:
        count = counts.get(service.name)
        if count is not None and count != (service.replicas or 1):
            before = noted.get(service.name)
            template = before.template if before else service.replicas
            noted[service.name] = Scaled(count=count, template=template)
            service = replace(service, replicas=count)
        services.append(service)
    asked = replace(spec.asked, scaled=noted) if spec.asked else None
    return replace(spec, services=tuple(services), asked=asked)


def restore(new: AgentSpec) -> AgentSpec:
    """A template that was resolved anew, with the numbers that still hold."""
    if new.asked is None:
        return new
    said = {service.name: service.replicas for service in new.services}
    held = {
        name: one for name, one in new.asked.scaled.items() if name in said and said[name] == one.template
    }
    services = tuple(replace(s, replicas=held[s.name].count) if s.name in held else s for s in new.services)
    return replace(new, services=services, asked=replace(new.asked, scaled=held))
