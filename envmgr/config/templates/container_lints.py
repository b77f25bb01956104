"""What a well-formed container can still have wrong."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.config.problems import Path, Problem, did_you_mean
from envmgr.config.templates.container_building import words
from envmgr.config.templates.container_schema import ContainerKeys
from envmgr.config.templates.places import Places
from envmgr.config.templates.probe_schema import Check
from envmgr.config.templates.schema import Document, Task
from envmgr.config.templates.service_schema import Service

_OF_CONTAINERS = tuple(name for name in ContainerKeys.model_fields if name not in ("image", "build"))
_OF_THE_HOST = {"cwd": "Use 'workdir'.", "shell": "Write `command: [sh, -c, ...]`."}
_PORT_KEYS = ("protocol", "bind")


def lint_containers(document: Document, places: Places) -> Iterator[Problem]:
    """About services in containers, their volumes, and tasks that run inside of them."""
    for name, service in document.services.items():
        yield from _kind(name, service, places)
        yield from _ports(name, service, places)
        if service.in_container:
            yield from _words(name, service, places)
            yield from _mounts(name, service, places)
            yield from _written_by_many(name, service, places)
        for key, check in service.looks.items():
            yield from _check(name, service, check, ("services", name, key), places)
    yield from _aliases(document, places)
    yield from _volumes(document, places)
    yield from _inside(document, places)


def _kind(name: str, service: Service, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name)
    if service.kind == "container" and not service.in_container:
        yield places.key(at, f"services.{name} is a container: it needs 'image' or 'build'")
    if service.kind in ("process", "external") and service.in_container:
        key = "image" if service.image is not None else "build"
        hint = f"Remove 'kind', or {key!r}."
        yield places.key((*at, key), f"services.{name} is of kind {service.kind}, so it has no {key!r}", hint)
    if service.in_container:
        for key, hint in _OF_THE_HOST.items():
            if places.is_written((*at, key)):
                yield places.key(
                    (*at, key), f"services.{name} is a container: {key!r} is for processes", hint
                )
        for key in ("nofile", "nice"):
            if getattr(service.limits, key) is not None and places.is_written((*at, "limits", key)):
                yield places.key(
                    (*at, "limits", key), f"services.{name} is a container: {key!r} is for processes"
                )
        return
    for key in _OF_CONTAINERS:
        if service.kind != "container" and places.is_written((*at, key)):
            hint = "Give it an 'image' or 'build', or remove this."
            yield places.key((*at, key), f"services.{name} is no container, so it has no {key!r}", hint)


def _ports(name: str, service: Service, places: Places) -> Iterator[Problem]:
    inner: dict[tuple[int, str], str] = {}
    for key, port in service.ports.items():
        at: Path = ("services", name, "ports", key)
        if not service.in_container:
            if port.container is not None:
                yield places.key(
                    (*at, "container"), f"services.{name} is no container, so its port has no inside"
                )
            for word in _PORT_KEYS:
                if places.is_written((*at, word)):
                    yield places.key((*at, word), f"services.{name}.ports.{key}: {word!r} is for containers")
        elif port.container is None and port.prefer is not None:
            hint = f"Write `{key}: {{container: {port.prefer or 80}}}`."
            yield places.key(at, f"services.{name}.ports.{key} needs 'container': the port inside", hint)
        elif port.container and (other := inner.setdefault((port.container, port.protocol), key)) != key:
            message = f"services.{name}.ports.{key}: port {port.container} inside is {other!r} already"
            yield places.value((*at, "container"), message)


def _words(name: str, service: Service, places: Places) -> Iterator[Problem]:
    for key in ("command", "entrypoint"):
        line = getattr(service, key)
        at: Path = ("services", name, key)
        if not isinstance(line, str):
            continue
        try:
            split = words(line)
        except ValueError:
            yield places.value(at, f"services.{name}.{key}: a quote is not closed")
            continue
        if any("$$" in word or word in ("&&", "||", "|", ";", ">") for word in split):
            message = f"services.{name}.{key}: in a container a line is split into words, no shell reads it"
            yield places.value(at, message, "For a shell write `[sh, -c, '...']`.", is_warning=True)


def _mounts(name: str, service: Service, places: Places) -> Iterator[Problem]:
    targets: dict[str, int] = {}
    for index, mount in enumerate(service.volumes):
        at: Path = ("services", name, "volumes", index)
        if targets.setdefault(mount.target, index) != index:
            yield places.value(at, f"services.{name}: {mount.target} is mounted twice")
        if mount.type == "bind" and mount.source.startswith("/"):
            message = f"services.{name} mounts {mount.source} of this machine, which all agents share"
            hint = "Mount a folder of the worktree (./...), or name a volume."
            yield places.value(at, message, hint, is_warning=True)


def _check(name: str, service: Service, check: Check, at: Path, places: Places) -> Iterator[Problem]:
    for kind in ("any", "all"):
        for index, inner in enumerate(getattr(check, kind)):
            yield from _check(name, service, inner, (*at, kind, index), places)
    if check.inside and not service.in_container:
        yield places.key((*at, "inside"), f"services.{name} is no container: nothing can run inside")
    if check.health and not service.in_container:
        yield places.key(
            (*at, "health"), f"services.{name} is no container, so it has no image that tells its health"
        )
    if check.notify and (service.in_container or service.kind == "external"):
        hint = "Use http, exec, log or health."
        yield places.key((*at, "notify"), f"services.{name}: 'notify' is for processes", hint)


def _aliases(document: Document, places: Places) -> Iterator[Problem]:
    """Other containers find a service by its name, and must not get somebody else."""
    for name, service in document.services.items():
        for index, alias in enumerate(service.aliases):
            if alias in document.services and alias != name:
                path: Path = ("services", name, "aliases", index)
                yield places.value(path, f"alias {alias!r} of services.{name} is the name of another service")
        for network, attached in service.networks.items():
            for index, alias in enumerate(attached.aliases):
                if alias in document.services and alias != name:
                    path = ("services", name, "networks", network, "aliases", index)
                    yield places.value(
                        path, f"alias {alias!r} of services.{name} is the name of another service"
                    )


def _written_by_many(name: str, service: Service, places: Places) -> Iterator[Problem]:
    written = [m.source for m in service.volumes if m.type == "volume" and m.source and not m.read_only]
    if written and (service.replicas or 1) > 1:
        message = f"all {service.replicas} instances of services.{name} write to the same volume {', '.join(written)}"
        hint = "A database loses data by that: remove 'replicas', unless its program is made for it."
        yield places.key(("services", name, "replicas"), message, hint, is_warning=True)


def _volumes(document: Document, places: Places) -> Iterator[Problem]:
    used = {mount.source for s in document.services.values() for mount in s.volumes if mount.type == "volume"}
    for name in document.volumes:
        at: Path = ("volumes", name)
        if name not in used:
            hint = did_you_mean(name, sorted(used - set(document.volumes) - {""}), among="Mounted are")
            yield places.key(at, f"volumes.{name} is not mounted by any service", hint, is_warning=True)


def _inside(document: Document, places: Places) -> Iterator[Problem]:
    sections: list[tuple[Path, tuple[Task, ...]]] = [(("workspace", "setup"), document.workspace.setup)]
    sections += [(("hooks", key), getattr(document.hooks, key)) for key in type(document.hooks).model_fields]
    sections.append((("queue", "checks"), document.queue.checks))
    for at, tasks in sections:
        for index, task in enumerate(tasks):
            service = document.services.get(task.inside)
            path = (*places.item(at, index), "inside")
            if task.inside and service is None:
                hint = did_you_mean(task.inside, document.services, among="Services")
                yield places.value(path, f"inside unknown service {task.inside!r}", hint)
            elif service is not None and (not service.in_container or service.kind == "task"):
                yield places.value(path, f"{task.inside} is no container that runs while the agent does")
            elif task.inside and at[-1] in ("setup", "on_create"):
                message = f"{'.'.join(map(str, at))} runs before services start"
                yield places.value(path, message, "Use on_start.")
