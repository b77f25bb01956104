"""The difference of two resolved specs: what changes for each unit, with what effect, and who follows.

Pure. The environment of a unit is compared as it will be put together at its launch (`runtime.rendering`): the template's, what
its dependencies export, its own; so a changed export reaches exactly those that use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from envmgr.core import graph
from envmgr.core.differences import differences, shown
from envmgr.core.impacts import agent_rule, env_impact, service_rule
from envmgr.core.placeholders import references
from envmgr.core.replicas import expand
from envmgr.model.change import Fate, FieldChange, Impact, Plan, UnitChange
from envmgr.model.container import MountKind, Scope
from envmgr.model.probe import NotifyProbe, Probe
from envmgr.model.service import PortSpec, ServiceSpec
from envmgr.model.spec import AgentSpec

Builds = Mapping[str, str]
"""Unit -> digest of the files its image is built by."""

_KEYS = ("name", "service", "target")
_SHARED_NOTE = "shared by the agents of the repository: when its last user is gone"


def plan(old: AgentSpec, new: AgentSpec, *, builds: tuple[Builds, Builds] = ({}, {})) -> Plan:
    """What to do so that an agent that runs `old` runs `new`.

    Args:
        builds: Digests at the launch, and now.
    """
    before, after = _units(old), _units(new)
    known = _Environments(old), _Environments(new)
    changed: dict[str, UnitChange] = {}
    for name in [*before, *(n for n in after if n not in before)]:
        change = _unit(before.get(name), after.get(name), known, builds)
        if change is not None:
            changed[name] = change
    changed |= _followers(before, known[1], changed)
    ordered = tuple(changed[name] for name in _order(before, after) if name in changed)
    agent = tuple(_agent_fields(old, new))
    consents = tuple(_consents(old, new, before, after, changed))
    digest = hashlib.sha256(repr((old.name, ordered, agent, consents)).encode()).hexdigest()[:12]
    return Plan(agent=new.name, units=ordered, fields=agent, consents=consents, fingerprint=digest)


def _units(spec: AgentSpec) -> dict[str, ServiceSpec]:
    return {unit.name: unit for unit in expand(spec.services)}


def _order(before: Mapping[str, ServiceSpec], after: Mapping[str, ServiceSpec]) -> tuple[str, ...]:
    """As they start; what is only removed comes first, as it has to."""
    gone = [name for name in before if name not in after]
    return (*gone, *graph.start_order({n: [e.service for e in u.depends_on] for n, u in after.items()}))


# --- one unit ----------------------------------------------------------------------------------------------------


def _unit(
    old: ServiceSpec | None,
    new: ServiceSpec | None,
    known: tuple[_Environments, _Environments],
    builds: tuple[Builds, Builds],
) -> UnitChange | None:
    if old is None or new is None:
        there = new or old
        assert there is not None, "it is in one of the two"
        fate = Fate.ADDED if old is None else Fate.REMOVED
        return UnitChange(unit=there.name, fate=fate, impact=Impact.REPLAN)
    found = [*_own_fields(old, new), *_variables(old, new, known)]
    digests = tuple(side.get(new.name, "") for side in builds)
    if all(digests) and digests[0] != digests[1]:
        found.append(
            FieldChange(path="container.build", old=digests[0], new=digests[1], impact=Impact.RECREATE,
                        note="the files it is built by have changed")
        )  # fmt: skip
    if not found:
        return None
    if Scope.SHARED in (old.scope, new.scope) and old.scope is new.scope:
        found = [_softened(change) for change in found]
    return UnitChange(unit=new.name, fate=Fate.CHANGED, impact=_highest(found), fields=tuple(found))


def _highest(found: list[FieldChange]) -> Impact:
    return max((change.impact for change in found), key=lambda impact: impact.rank)


def _softened(change: FieldChange) -> FieldChange:
    """One agent never ends what others use."""
    if change.impact.rank <= Impact.LIVE.rank:
        return change
    return FieldChange(
        path=change.path, old=change.old, new=change.new, impact=Impact.NONE, note=_SHARED_NOTE
    )


def _own_fields(old: ServiceSpec, new: ServiceSpec) -> Iterator[FieldChange]:
    for path, before, after in differences(old, new):
        if path[0] == "env":
            continue  # a part of the whole environment, see `_variables`
        impact, note = service_rule(new, path)
        if path[0] in ("ready", "startup") and _notifies(old) != _notifies(new):
            impact, note = (Impact.RESTART, "NOTIFY_SOCKET is given at the start")
        yield FieldChange(path=shown(path), old=before, new=after, impact=impact, note=note)


def _notifies(service: ServiceSpec) -> bool:
    def in_probe(probe: Probe) -> bool:
        return isinstance(probe, NotifyProbe) or any(in_probe(p) for p in getattr(probe, "probes", ()))

    return any(in_probe(look.probe) for look in (service.startup, service.ready) if look is not None)


# --- its environment ---------------------------------------------------------------------------------------------


class _Environments:
    """Environments of the units of one spec, with references in place of ports and secrets."""

    def __init__(self, spec: AgentSpec) -> None:
        self._spec = spec
        self.units = _units(spec)
        self._edges = {name: [e.service for e in unit.depends_on] for name, unit in self.units.items()}

    def of(self, name: str) -> dict[str, tuple[str, str]]:
        """Variable -> (value, where it comes from). Port variables of services it does not need are left out."""
        needed = graph.closure(self._edges, [name])
        personal = self._spec.inherited if self.units[name].container else ()
        found = {k: (v, "of the template") for k, v in self._spec.env.items() if k not in personal}
        found |= {s.name: (f"{s.source.value} {s.key}", "secret") for s in self._spec.secrets}
        for upstream in (u for u in self.units.values() if u.name in needed):
            for port in upstream.ports:
                if port.env and upstream.name == name:
                    found[port.env] = (_port_reference(upstream.name, port.name), "")
            if upstream.name != name:
                origin = f"exported by {upstream.name}"
                found |= {k: (_absolute(v, upstream.name), origin) for k, v in upstream.exports.items()}
        return found | {k: (_absolute(v, name), "") for k, v in self.units[name].env.items()}

    def uses(self, name: str) -> set[str]:
        """References in what the unit was started with."""
        unit = self.units[name]
        found = {ref for value, _ in self.of(name).values() for ref in references(value, shell=False)}
        words = (unit.command,) if isinstance(unit.command, str) else unit.command
        is_line = isinstance(unit.command, str)
        for word in (*words, *((unit.container.entrypoint or ()) if unit.container else ())):
            found |= set(references(_absolute(word, name), shell=is_line))
        return found


def _port_reference(service: str, port: str) -> str:
    return f"${{services.{service}.ports.{port}}}"


def _absolute(text: str, service: str) -> str:
    return text.replace("${ports.", f"${{services.{service}.ports.")


def _variables(
    old: ServiceSpec, new: ServiceSpec, known: tuple[_Environments, _Environments]
) -> Iterator[FieldChange]:
    before, after = known[0].of(old.name), known[1].of(new.name)
    impact, note = env_impact(new)
    for key in sorted(before.keys() | after.keys()):
        was, origin = before.get(key, ("", ""))
        now, newer = after.get(key, ("", origin))
        if was != now or (key in before) != (key in after):
            told = ", ".join(part for part in (newer or origin, note) if part)
            yield FieldChange(path=f"env.{key}", old=was, new=now, impact=impact, note=told)


# --- who follows ---------------------------------------------------------------------------------------------------


def _followers(
    before: Mapping[str, ServiceSpec], known: _Environments, changed: Mapping[str, UnitChange]
) -> dict[str, UnitChange]:
    """Units that start anew only because of others: edges with `restart`, and ports that move under them."""
    after, reasons = known.units, _moved(before, known)
    waiting = [name for name, change in changed.items() if change.starts_anew and name in after]
    waiting += [name for name in reasons if name not in waiting]
    seen = set(waiting)
    while waiting:
        name = waiting.pop(0)
        for unit in after.values():
            edge = next((e for e in unit.depends_on if e.service == name and e.restart), None)
            if edge is not None and unit.name in before and unit.name not in seen:
                reasons.setdefault(unit.name, f"restarts with {name}")
                waiting.append(unit.name)
                seen.add(unit.name)
    return {
        name: _following(after[name], changed.get(name), why)
        for name, why in reasons.items()
        if name not in changed or not changed[name].starts_anew
    }


def _following(unit: ServiceSpec, own: UnitChange | None, why: str) -> UnitChange:
    # What was rendered at creation cannot change in a container; for an edge a plain restart would do, and costs as much.
    is_fixed = unit.container is not None and why.startswith("uses")
    return UnitChange(
        unit=unit.name,
        fate=own.fate if own else Fate.FOLLOWS,
        impact=Impact.RECREATE if is_fixed else Impact.RESTART,
        fields=own.fields if own else (),
        because=why,
    )


def _moved(before: Mapping[str, ServiceSpec], known: _Environments) -> dict[str, str]:
    """Units that were started with the number of a port that is another one now."""
    ports = {
        f"services.{new.name}.ports.{port.name}"
        for new in known.units.values()
        for port in new.ports
        for was in (before[new.name].ports if new.name in before else ())
        if was.name == port.name and _number(was) != _number(port)
    }
    if not ports:
        return {}
    found = {}
    for name in known.units:
        owners = sorted({ref.split(".")[1] for ref in known.uses(name) & ports} - {name})
        if owners and name in before:
            found[name] = f"uses a port of {', '.join(owners)} that moves"
    return found


def _number(port: PortSpec) -> tuple[int | None, ...]:
    return port.number, port.container, port.prefer if port.fixed else None


# --- the agent, and what needs a yes -----------------------------------------------------------------------------


def _agent_fields(old: AgentSpec, new: AgentSpec) -> Iterator[FieldChange]:
    for path, before, after in differences(old, new):
        if path[0] not in _NOT_SHOWN:
            impact, note = agent_rule(path)
            yield FieldChange(path=shown(path), old=before, new=after, impact=impact, note=note)


_NOT_SHOWN = ("services", "name", "files", "asked", "inherited", "origin")


def _consents(
    old: AgentSpec,
    new: AgentSpec,
    before: Mapping[str, ServiceSpec],
    after: Mapping[str, ServiceSpec],
    changed: Mapping[str, UnitChange],
) -> Iterator[str]:
    for name in changed:
        if name in before:
            yield from _lost_mounts(before[name], after.get(name), changed[name])
    scopes = {volume.name: volume.scope for volume in old.volumes}
    for volume in new.volumes:
        if volume.name in scopes and scopes[volume.name] is not volume.scope:
            yield (
                f"volume {volume.name} becomes {volume.scope.value}: another, empty one is used; the data of the old one stays"
            )


def _lost_mounts(old: ServiceSpec, new: ServiceSpec | None, change: UnitChange) -> Iterator[str]:
    if old.container is None or change.impact not in (Impact.RECREATE, Impact.REPLAN):
        return
    there = {m.target: m for m in new.container.mounts} if new and new.container else {}
    for mount in old.container.mounts:
        if mount.kind is not MountKind.VOLUME:
            continue
        kept = there.get(mount.target)
        if not mount.source:
            yield f"{old.name} is made anew without what is in its anonymous volume at {mount.target}; name the volume to keep it"
        elif kept is None or kept.kind is not MountKind.VOLUME:
            yield f"{old.name} no longer uses volume {mount.source} at {mount.target}; its data stays"
        elif kept.source != mount.source:
            yield (
                f"{old.name} uses volume {kept.source or '(anonymous)'} instead of {mount.source} at {mount.target};"
                f" the data of {mount.source} stays"
            )
