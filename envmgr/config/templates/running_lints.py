"""What is said about a running service must go with what it is."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.config.problems import Path, Problem
from envmgr.config.templates.places import Places
from envmgr.config.templates.running_schema import Reaction
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Check, Service

_OF_WHAT_RUNS = ("replicas", "scope", "tenant", "restart", "watch", "on_env_change", "fatal_exit_codes")


def lint_running(document: Document, places: Places) -> Iterator[Problem]:
    """About replicas, restarts and reactions."""
    for name, service in document.services.items():
        at: Path = ("services", name)
        if service.kind in ("task", "external"):
            article = "a task" if service.kind == "task" else "external"
            for key in _OF_WHAT_RUNS:
                if places.is_written((*at, key)):
                    yield places.key((*at, key), f"services.{name} is {article}: it has no {key!r}")
        if service.kind != "task" and service.run_when is not None:
            yield places.key((*at, "run_when"), f"services.{name} is no task: it has no 'run_when'")
        if service.scope == "shared" and service.replicas is not None:
            yield places.key((*at, "replicas"), f"services.{name} is shared: it has one instance for all")
        if service.scope == "agent" and service.tenant is not None:
            yield places.key((*at, "tenant"), f"services.{name}: 'tenant' goes with `scope: shared`")
        if not service.in_container:
            yield from _recreations(name, service, places)


def _recreations(name: str, service: Service, places: Places) -> Iterator[Problem]:
    reactions: list[tuple[Path, Reaction]] = [(("on_env_change",), service.on_env_change)]
    reactions += [(places.item(("services", name, "watch"), i)[2:], w) for i, w in enumerate(service.watch)]
    for below, reaction in reactions:
        if reaction.action == "recreate":
            path = ("services", name, *below)
            yield places.value(
                path, f"services.{name}.{below[0]}: only a container can be made anew", "Use restart."
            )


def looks_at_log(check: Check | None) -> bool:
    """Whether a line of the log is needed for readiness."""
    if check is None:
        return False
    return check.log is not None or any(map(looks_at_log, check.all)) or any(map(looks_at_log, check.any))
