"""Ports of a template: declared in full, and with names and numbers of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envmgr.config.problems import Path, Problem, dotted
from envmgr.config.templates.places import Places
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Port, Service
from envmgr.core.replicas import instance_name

Declared = tuple[str, str, Port]


def lint_ports(document: Document, places: Places) -> Iterator[Problem]:
    """Everything about ports but what containers have of their own."""
    for name, service in document.services.items():
        for key, port in service.ports.items():
            yield from _port(name, service, key, port, places)
    own = [
        (name, key, port)
        for name, service in document.services.items()
        if service.kind != "external"
        for key, port in service.ports.items()
    ]
    yield from _fixed(own, places)
    yield from _room(document, places)
    yield from _names(document, places)


def _port(name: str, service: Service, key: str, port: Port, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name, "ports", key)
    what = dotted(at)
    if service.kind == "external":
        if port.number is None:
            yield places.key(at, f"{what} needs 'number'", "Say where the external service listens.")
        if port.prefer is not None or port.fixed:
            yield places.key(at, f"{what}: an external port has only 'number' and 'env'")
    elif port.number is not None:
        yield places.key((*at, "number"), f"{what}: 'number' is for external services", "Use 'prefer'.")
    elif port.fixed and port.prefer is None:
        yield places.key((*at, "fixed"), f"{what}: a fixed port needs 'prefer'")


def _fixed(own: list[Declared], places: Places) -> Iterator[Problem]:
    fixed: dict[int, str] = {}
    for name, key, port in own:
        if not port.fixed or port.prefer is None:
            continue
        path: Path = ("services", name, "ports", key, "prefer")
        if port.prefer in fixed:
            yield places.value(path, f"fixed port {port.prefer} is already taken by {fixed[port.prefer]}")
        else:
            message = f"fixed port {port.prefer}: only one agent can run at a time"
            yield places.value(path, message, is_warning=True)
        fixed[port.prefer] = f"services.{name}.ports.{key}"


def _room(document: Document, places: Places) -> Iterator[Problem]:
    """Only a block that the template sets itself is a promise; otherwise an agent gets as many blocks as it needs."""
    needed = sum(
        len(service.ports) * (1 + (service.replicas or 0))  # each instance, and the balancer in front
        for service in document.services.values()
        if service.kind != "external" and not service.disabled
    )
    block = document.ports.block
    if block is not None and needed > block:
        message = f"{needed} ports are declared, but an agent gets a block of {block}"
        yield places.value(("ports", "block"), message, f"Set `ports: {{block: {needed}}}` or more.")


def _names(document: Document, places: Places) -> Iterator[Problem]:
    """Two things that would be called the same: units, and variables with the number of a port."""
    units = {name: f"service {name}" for name in document.services}
    variables: dict[str, str] = {}
    for name, service in document.services.items():
        at: Path = ("services", name)
        instances = [instance_name(name, index) for index in range(service.replicas or 0)]
        for instance in instances:
            if instance in units:
                message = f"replica {instance} of services.{name} would have the name of {units[instance]}"
                yield places.key((*at, "replicas"), message, "Rename one of the two.")
        for key, port in service.ports.items():
            owner = f"services.{name}.ports.{key}"
            for unit in (name, *instances):
                variable = port_variable(unit, key)
                if (other := variables.setdefault(variable, owner)) != owner:
                    message = f"{owner} and {other} would both be in the variable {variable}"
                    yield places.key((*at, "ports", key), message, "Rename one of the ports or services.")
                    break
            if port.env and (other := _same_env(service, key, port.env)):
                message = f"{owner}: 'env: {port.env}' is the variable of port {other!r} already"
                yield places.value((*at, "ports", key, "env"), message)


def port_variable(service: str, port: str) -> str:
    """The variable with the number of a port, as `runtime.rendering` makes it."""
    return re.sub(r"[^A-Z0-9]+", "_", f"{service}_{port}_PORT".upper())


def _same_env(service: Service, key: str, variable: str) -> str:
    for other, port in service.ports.items():
        if other == key:
            return ""
        if port.env == variable:
            return other
    return ""
