"""Who waits for whom, and whether that can be waited for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from envmgr.config.nodes import find
from envmgr.config.problems import Path, Problem, did_you_mean, dotted
from envmgr.config.templates.places import Places
from envmgr.config.templates.running_lints import looks_at_log
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Edge, Service
from envmgr.core import graph

_STOP_S = 60.0
# In front of a service's port the address is understood for each viewer (runtime.viewpoint).
_OWN_ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost)\b(?!:\$\{(?:services\.[^.}]+\.)?ports\.)")


def lint_edges(document: Document, places: Places) -> Iterator[Problem]:
    """Unknown names, conditions that cannot come, cycles, and how long a stop takes along the edges."""
    yield from _edges(("agent",), document.agent.depends_on, document, places)
    for name, service in document.services.items():
        yield from _edges(("services", name), service.depends_on, document, places)
    yield from _exports(document, places)
    edges = {name: list(service.depends_on) for name, service in document.services.items()}
    if cycle := graph.find_cycle(edges):
        path = places.entry(("services", cycle[0], "depends_on"), cycle[1])
        yield places.key(path, f"services wait for each other: {' -> '.join(cycle)}", "Remove one of these.")
    else:
        yield from _graces(document, edges, places)


def _edges(at: Path, edges: Mapping[str, Edge], document: Document, places: Places) -> Iterator[Problem]:
    for name, edge in edges.items():
        path = places.entry((*at, "depends_on"), name)
        target = document.services.get(name)
        if target is None:
            hint = did_you_mean(name, document.services, among="Services")
            yield places.key(path, f"{dotted(at)} depends on unknown service {name!r}", hint)
        elif complaint := _complaint(name, target, edge):
            yield places.key(path, f"{dotted(at)} {complaint[0]}", complaint[1])
        elif edge.condition == "completed" and target.critical:
            message = f"{dotted(at)} only waits for the end of {name}, so it starts after a failure, too, which is critical"
            hint = f"Wait for `succeeded`, or give {name} `critical: false`."
            yield places.key(path, message, hint, is_warning=True)


def _complaint(name: str, target: Service, edge: Edge) -> tuple[str, str] | None:
    match edge.condition:
        case "log" if not looks_at_log(target.ready):
            return (
                f"waits for a line in the log of {name}, but its 'ready' looks at none",
                f"Give {name} `ready: {{log: ...}}`.",
            )
        case "ready" if target.kind == "task":
            return f"waits for task {name} to be ready", "Use `condition: succeeded`."
        case "ready" if target.ready is None and target.startup is None:
            return (
                f"waits for {name} to be ready, but {name} has no 'ready'",
                "Give it a probe, or use `started`.",
            )
        case "completed" | "succeeded" if target.kind != "task":
            return (
                f"waits for {name} to end, but {name} is no task",
                "Give it `kind: task`, or wait for `ready`.",
            )
    return None


def _exports(document: Document, places: Places) -> Iterator[Problem]:
    """127.0.0.1 is another place for a container."""
    for name, service in document.services.items():
        users = [
            user
            for user, other in document.services.items()
            if other.in_container and name in other.depends_on
        ]
        for key, text in service.exports.items() if users else ():
            if found := _OWN_ADDRESS.search(text):
                message = f"services.{name}.exports.{key} says {found[0]}, which inside of {users[0]} is {users[0]} itself"
                hint = "Write ${host}, and ${ports.NAME} for the port: each dependant gets what it can reach."
                yield places.value(("services", name, "exports", key), message, hint, is_warning=True)


def _graces(document: Document, edges: graph.Edges, places: Places) -> Iterator[Problem]:
    """Stopping goes along the dependencies, so the longest path of graces has to fit.

    Graces that somebody wrote are an error: no stop will ever wait that long. A chain that is long by itself ends in time
    all the same when each of it is quick, so there it is only said.
    """
    users = graph.dependants(edges)
    total: dict[str, float] = {}
    paths: dict[str, tuple[Path, ...]] = {}
    for name in graph.stop_order(edges):
        above = max((user for user in users[name] if user in total), key=total.__getitem__, default="")
        grace_s = document.services[name].stop.grace if _is_stopped(document.services[name]) else 0.0
        total[name] = (total[above] if above else document.agent.stop.grace) + grace_s
        paths[name] = (
            *(paths[above] if above else (("agent", "stop", "grace"),)),
            ("services", name, "stop", "grace"),
        )
    last = max(total, key=total.__getitem__, default="")
    if not last or total[last] <= _STOP_S:
        return
    message = f"stopping may take {total[last]:.0f} s, more than the {_STOP_S:.0f} s allowed for a stop"
    written = [path for path in paths[last] if find(places.tree, path)]
    if written:
        longest = max(written, key=lambda path: _seconds(document, path))
        yield places.value(longest, message, "Shorten the graces along this path.")
    else:
        yield places.key(("services", last), message, "Shorten 'stop: {grace: ...}'.", is_warning=True)


def _is_stopped(service: Service) -> bool:
    return service.kind in ("process", "container") and not service.disabled


def _seconds(document: Document, path: Path) -> float:
    return document.agent.stop.grace if path[0] == "agent" else document.services[str(path[1])].stop.grace
