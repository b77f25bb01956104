"""The parts of an incident's context: what can be asked about an agent at the moment in which something of it failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from envmgr.aio import blocking
from envmgr.core.replicas import FRONTS
from envmgr.model.incident import Incident, Part, Symptom
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.series import HOST
from envmgr.runtime import last_lines, runners, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation, Systems

_LINES = 200
_LINE_CHARS = 2000
_LOGS_CHARS = 400_000
_SERIES_S = 600.0
_EVENTS = 100
_BEFORE = 20
_LOOK_S = 4.0

Json = Any  # plain values, as JSON has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a bundle is about."""

    actor: Actor
    inc: Incarnation
    incident: Incident
    symptom: Symptom

    @property
    def systems(self) -> Systems:
        """Of the agent."""
        return self.inc.systems

    def units(self) -> list[ServiceSpec]:
        """The unit that failed and everything it needs; of other failures all units."""
        names = {unit.name for unit in self.inc.services}
        if self.incident.part is Part.SERVICE and self.incident.subject in names:
            names = _upstream(self.inc, self.incident.subject)
        return [unit for unit in self.inc.services if unit.name in names]


Gather = Callable[[Subject], Awaitable[Json]]
"""Asks for one part; whatever it raises becomes the reason why that part is missing."""


def _upstream(inc: Incarnation, name: str) -> set[str]:
    known = {unit.name: unit for unit in inc.services}
    found, waiting = set[str](), [name]
    while waiting:
        if (unit := known.get(waiting.pop())) is not None and unit.name not in found:
            found.add(unit.name)
            waiting += [edge.service for edge in unit.depends_on]
    return found


async def incident(about: Subject) -> Json:
    """What it was taken for."""
    return asdict(replace(about.incident, climbs=()))


async def exit_record(about: Subject) -> Json:
    """How it ended, and what was seen then; its last lines are in `logs`."""
    return asdict(replace(about.symptom, output=()))


async def logs(about: Subject) -> Json:
    """Last lines by unit, across launches; of the assistant what stood on its screen."""
    running = [u for u in about.units() if runners.needs_runner(u) and u.kind not in FRONTS]
    each = _LOGS_CHARS // max(1, len(running))
    found: dict[str, list[str]] = {}
    for unit in running:
        path = sharing.log(about.inc, unit)
        lines = await blocking.look("file", _LOOK_S, last_lines.of_log, path, count=_LINES)
        found[unit.name] = _last(lines, each)
    if about.symptom.output and about.incident.subject not in found:
        found[about.incident.part.value] = _last(about.symptom.output, _LOGS_CHARS)
    return found


def _last(lines: Sequence[str], chars: int) -> list[str]:
    """As many of the last ones as may be."""
    kept: list[str] = []
    for line in reversed(lines):
        cut = line[:_LINE_CHARS]
        chars -= len(cut)
        if chars < 0:
            break
        kept.append(cut)
    return kept[::-1]


async def units(about: Subject) -> Json:
    """The graph of dependencies with states, and when each became ready."""
    states = about.actor.services
    return {
        unit.name: {
            "kind": unit.kind.value,
            "state": states[unit.name].state.value if unit.name in states else "unknown",
            "detail": states[unit.name].detail if unit.name in states else "",
            "needs": {edge.service: edge.condition.value for edge in unit.depends_on},
        }
        for unit in about.inc.services
    }


async def configuration(about: Subject) -> Json:
    """What was in force, and what has happened to it since the unit was last ready."""
    spec = about.inc.spec
    text = json.dumps(asdict(spec), sort_keys=True, default=str)
    events = await about.systems.store.read(lambda tx: tx.last_events(agent=about.inc.id, limit=_EVENTS * 10))
    ready = [
        n
        for n, event in enumerate(events)
        if event.kind == "service.ready" and event.data.get("service") == about.incident.subject
    ]
    since = events[ready[-1] + 1 :] if ready else events
    drift = [asdict(one) for one in about.actor.state.conditions if one.type == "Drifted"]
    return {
        "hash": hashlib.blake2s(text.encode(), digest_size=8).hexdigest(),
        "template": spec.template,
        "source": spec.source,
        "last_ready_at": events[ready[-1]].at if ready else None,
        "changes_since_ready": [_event(e) for e in since if e.kind.startswith(("change.", "template."))],
        "drift": drift,
        "units": {unit.name: asdict(unit) for unit in about.units()},
    }


async def events(about: Subject) -> Json:
    """What has happened to the agent."""
    found = await about.systems.store.read(lambda tx: tx.last_events(agent=about.inc.id, limit=_EVENTS))
    return [_event(event) for event in found]


def _event(event: Any) -> Json:  # an event of the store
    return {"at": event.at, "kind": event.kind, **event.data}


async def series(about: Subject) -> Json:
    """Probes and what was used in the last ten minutes: of the agent, and of the machine."""
    since_at = about.systems.now() - _SERIES_S
    found: dict[str, list[list[float]]] = {}
    for agent, whose in ((about.inc.id, ""), (HOST, "host")):
        for one in await about.systems.series.read(agent, since_at=since_at):
            name = " ".join(word for word in (whose, one.subject, one.metric) if word)
            found.setdefault(name, []).append([round(one.at, 1), one.value])
    return found


async def processes(about: Subject) -> Json:
    """Who runs for the agent."""
    match await about.systems.processes.members(about.inc.marks()):
        case Present(members):
            return [{"pid": one.identity.pid, "command": one.command, "proof": one.proof} for one in members]
        case Unknown(reason):
            return {"unknown": reason}
    return []


async def ports(about: Subject) -> Json:
    """Who listens on the agent's ports."""
    return await blocking.look("proc", _LOOK_S, _listeners, about.inc)


def _listeners(inc: Incarnation) -> Json:
    systems, found = inc.systems, []
    for (service, name), port in sorted(inc.ports.items()):
        owner = systems.sockets.listener(port)
        who: Json = None
        if isinstance(owner, Present):
            who = {"pid": owner.value.pid, "command": systems.processes.command(owner.value.pid)}
        elif isinstance(owner, Unknown):
            who = {"unknown": owner.reason}
        found.append({"service": service, "name": name, "port": port, "listener": who})
    return found


async def git(about: Subject) -> Json:
    """What the worktree holds that exists nowhere else."""
    tree = about.inc.worktree or about.inc.prior
    if tree is None:
        return None
    work = await about.systems.workspaces.work(tree)
    return {"path": str(tree.path), "branch": tree.branch, "base": tree.base, **asdict(work)}


async def before(about: Subject) -> Json:
    """Earlier incidents of the agent and what was done about them."""
    found = await about.systems.store.read(lambda tx: tx.incidents(agent=about.inc.id, limit=_BEFORE))
    return [
        {
            "id": one.id,
            "words": one.words,
            "failure": one.diagnosis.failure.value,
            "opened_at": one.opened_at,
            "closed_at": one.closed_at,
            "rungs": [asdict(climb) for climb in one.climbs],
        }
        for one in found
        if one.id != about.incident.id
    ]


PARTS: Mapping[str, Gather] = {
    "incident": incident,
    "exit": exit_record,
    "logs": logs,
    "units": units,
    "configuration": configuration,
    "ports": ports,
    "processes": processes,
    "git": git,
    "series": series,
    "events": events,
    "before": before,
}
"""In the order in which they stand in the file; the last ones are the first to go when it gets too large."""
