"""Which units of an agent a person means."""

from __future__ import annotations

from collections.abc import Collection

from envmgr.core.replicas import members
from envmgr.errors import Conflict, NotFound
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.runtime.incarnation import Incarnation


def chosen(inc: Incarnation, names: Collection[str]) -> frozenset[str]:
    """Units by the names of services or units; without names everything that runs on and on."""
    units = inc.services
    if not names:
        running = (ServiceKind.PROCESS, ServiceKind.CONTAINER)
        return frozenset(unit.name for unit in units if unit.kind in running and not unit.is_shared)
    found: set[str] = set()
    for name in names:
        these = members(units, name)
        if not these:
            listed = ", ".join(s.name for s in inc.spec.services) or "none"
            raise NotFound(f"{inc.name} has no service {name}", hint=f"Its services are: {listed}.")
        for unit in these:
            _refuse_foreign(inc, unit)
            found.add(unit.name)
    return frozenset(found)


def _refuse_foreign(inc: Incarnation, unit: ServiceSpec) -> None:
    if unit.kind is ServiceKind.EXTERNAL:
        raise Conflict(
            f"{unit.name} is external: {inc.name} only looks at it", hint="Restart it where it runs."
        )
    if unit.is_shared:
        raise Conflict(
            f"{unit.name} is shared by the agents of {inc.spec.repo}",
            hint="It is never restarted for one of them.",
        )
