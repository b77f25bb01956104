"""What a well-formed template can still have wrong; each part of it is looked at by a module of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from envmgr.config.nodes import Table, find
from envmgr.config.problems import Path, Problem, did_you_mean, dotted
from envmgr.config.templates import params
from envmgr.config.templates.container_lints import lint_containers
from envmgr.config.templates.edge_lints import lint_edges
from envmgr.config.templates.places import Places
from envmgr.config.templates.port_lints import lint_ports
from envmgr.config.templates.probe_schema import Check
from envmgr.config.templates.queue_lints import lint_queue
from envmgr.config.templates.running_lints import lint_running
from envmgr.config.templates.schema import Document
from envmgr.config.templates.selecting import lint_selection
from envmgr.config.templates.service_schema import Service
from envmgr.config.templates.terminal_lints import lint_terminals


def lint(document: Document, tree: Table, *, chosen: Collection[str] | None = None) -> list[Problem]:
    """All findings.

    Args:
        document: As checked.
        tree: What it was made from; gives the places.
        chosen: Profiles of a spawn; None while nobody has chosen.
    """
    places = Places(tree)
    return [
        *params.lint(document.params, tree),
        *_agent(document, places),
        *_secrets(document, places),
        *_services(document, places),
        *lint_ports(document, places),
        *lint_edges(document, places),
        *lint_containers(document, places),
        *lint_running(document, places),
        *lint_terminals(document, places),
        *lint_queue(document, places),
        *lint_selection(document, places, chosen),
    ]


def _agent(document: Document, places: Places) -> Iterator[Problem]:
    if document.agent.prompt is not None and document.agent.prompt_file is not None:
        message = "agent has both 'prompt' and 'prompt_file'"
        yield places.key(("agent", "prompt_file"), message, "Keep one.")


def _secrets(document: Document, places: Places) -> Iterator[Problem]:
    own = {"env": "name", "file": "path", "command": "command"}
    for name, secret in document.secrets.items():
        at: Path = ("secrets", name)
        wanted = own[secret.source]
        if secret.source != "env" and getattr(secret, wanted) is None:
            yield places.key(at, f"secrets.{name} needs {wanted!r}")
        for key in own.values():
            if key != wanted and getattr(secret, key) is not None:
                message = f"secrets.{name}: {key!r} does not go with `from: {secret.source}`"
                yield places.key((*at, key), message)
        if secret.ttl is not None and secret.source != "command":
            message = f"secrets.{name}: 'ttl' goes with `from: command`"
            yield places.key((*at, "ttl"), message, "Others are read anew each time.")


def _services(document: Document, places: Places) -> Iterator[Problem]:
    for name, service in document.services.items():
        yield from _service(name, service, places)
        for key, check in service.looks.items():
            yield from _check(name, service, check, ("services", name, key), places)
        if service.live:
            yield from _once_true(service.live, ("services", name, "live"), places)


def _service(name: str, service: Service, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name)
    if service.kind == "external":
        if service.command is not None:
            yield places.key((*at, "command"), f"services.{name} is external, so it has no command")
    elif service.command is None and not service.in_container and service.kind != "container":
        hint = "Or 'image' for a container, or `kind: external` for something envmgr does not start."
        yield places.key(at, f"services.{name} needs 'command'", hint)
    if service.kind == "task" and service.ready:
        message = f"services.{name} is a task: it is done, not ready"
        yield places.key((*at, "ready"), message, "Remove 'ready'.")
    if service.kind != "task" and find(places.tree, (*at, "timeout")):
        hint = "For the time until it is ready use `ready: {deadline: ...}`."
        yield places.key((*at, "timeout"), f"services.{name}: 'timeout' is for tasks", hint)


def _check(name: str, service: Service, check: Check, at: Path, places: Places) -> Iterator[Problem]:
    """Probes look at ports that are there."""
    for kind in ("any", "all"):
        for index, inner in enumerate(getattr(check, kind)):
            yield from _check(name, service, inner, (*at, kind, index), places)
    kind = "http" if check.http else "tcp"
    probe = check.http or check.tcp
    if probe is None:
        return
    path: Path = (*at, kind, "port") if isinstance(find(places.tree, (*at, kind)), Table) else (*at, kind)
    key = probe.port or next(iter(service.ports), "")
    if probe.port is None and len(service.ports) != 1:
        count = len(service.ports) or "no"
        yield places.value(path, f"{dotted(at)}.{kind} needs 'port': services.{name} has {count} ports")
    elif probe.port is not None and probe.port not in service.ports and not _is_outer(probe.port, service):
        hint = did_you_mean(probe.port, service.ports) or "Declare it under 'ports'."
        yield places.value(path, f"{dotted(at)}.{kind}: services.{name} has no port {probe.port!r}", hint)
    elif key in service.ports and service.ports[key].protocol == "udp":
        message = f"{dotted(at)}.{kind}: port {key!r} is udp, where nothing accepts a connection"
        yield places.value(path, message, "Use exec or log.")


def _once_true(check: Check, at: Path, places: Places) -> Iterator[Problem]:
    """What is said once stays said, however the service is later."""
    for kind in ("any", "all"):
        for index, inner in enumerate(getattr(check, kind)):
            yield from _once_true(inner, (*at, kind, index), places)
    for kind in ("log", "notify"):
        if getattr(check, kind):
            message = f"{dotted(at)}: {kind!r} stays true for ever, so it tells nothing of what still works"
            yield places.key((*at, kind), message, "Use http, tcp, exec, process or resource.")


def _is_outer(port: str, service: Service) -> bool:
    return service.kind == "external" and port.isdecimal() and 1 <= int(port) <= 65535
