"""Terminals, their keys, and sockets that are opened before a service: what goes with what."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.config.problems import Path, Problem
from envmgr.config.templates.places import Places
from envmgr.config.templates.probe_schema import Check
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Service


def lint_terminals(document: Document, places: Places) -> Iterator[Problem]:
    """About `tty`, `stdin`, `stop.keys` and `listen`."""
    for name, service in document.services.items():
        at: Path = ("services", name)
        for key in ("tty", "stdin"):
            if service.kind == "external" and places.is_written((*at, key)):
                yield places.key((*at, key), f"services.{name} is external: it has no {key!r}")
        if service.stop.keys and places.is_written((*at, "stop", "keys")):
            yield from _keys(name, service, places)
        for key, port in service.ports.items():
            if port.listen:
                yield from _listen(name, service, key, places)


def _keys(name: str, service: Service, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name, "stop", "keys")
    if service.in_container:
        message = f"services.{name} is a container: 'keys' is for processes"
        yield places.key(at, message, "Use 'signal', or 'command', which runs inside.")
    elif not service.tty:
        yield places.key(at, f"services.{name}.stop: keys need a terminal", "Add `tty: true`.")


def _listen(name: str, service: Service, key: str, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name, "ports", key, "listen")
    if service.kind != "process" or service.in_container:
        yield places.key(at, f"services.{name}.ports.{key}: 'listen' is for processes that keep running")
    else:
        for look in (look for look, check in service.looks.items() if _connects(check, key, service)):
            message = (
                f"services.{name}.ports.{key} is open before the service runs: a connection proves nothing"
            )
            yield places.key(at, message, f"Let {look!r} use http, log, notify or exec.")


def _connects(check: Check, key: str, service: Service) -> bool:
    """Whether a bare connection to the port is enough to be ready."""
    if check.tcp:
        return (check.tcp.port or next(iter(service.ports), "")) == key
    return any(_connects(inner, key, service) for inner in (*check.any, *check.all))
