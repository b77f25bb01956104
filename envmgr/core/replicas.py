"""What runs for a replicated service: its instances, and in front of them the service's own name.

Whoever depends on `api`, or asks for its port, means the unit in front: a balancer on the stable ports, or, without ports, a
group that only stands for its instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from envmgr.model.container import ContainerSpec, MountKind, Scope
from envmgr.model.probe import LogProbe, Readiness
from envmgr.model.service import (
    Condition,
    Dependency,
    LogPolicy,
    PortSpec,
    RestartPolicy,
    RestartWhen,
    ServiceKind,
    ServiceSpec,
    StopPolicy,
)

MOST = 10
LISTENS = "balancer listens"
"""What a balancer writes to its log once it listens on all its ports."""

FRONTS = (ServiceKind.BALANCER, ServiceKind.GROUP)


def expand(services: Sequence[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    """The units of these services; one that is not replicated is its own unit."""
    return tuple(unit for service in services for unit in _units(service))


def can_replicate(service: ServiceSpec) -> bool:
    """Whether more than one of it makes sense: tasks end, external and shared services are not one agent's."""
    return service.kind in (ServiceKind.PROCESS, ServiceKind.CONTAINER) and service.scope is Scope.AGENT


def shared_volumes(service: ServiceSpec) -> tuple[str, ...]:
    """Named volumes that all instances would write to; most databases lose data by that."""
    mounts = service.container.mounts if service.container else ()
    return tuple(m.source for m in mounts if m.kind is MountKind.VOLUME and m.source and not m.read_only)


def instance_name(service: str, index: int) -> str:
    """`api-0`."""
    return f"{service}-{index}"


def clashes(services: Sequence[ServiceSpec]) -> tuple[str, ...]:
    """Names that two units would have, as when `api` has replicas and another service is called `api-0`."""
    names = [unit.name for unit in expand(services)]
    return tuple(sorted({name for name in names if names.count(name) > 1}))


def members(units: Sequence[ServiceSpec], name: str) -> tuple[ServiceSpec, ...]:
    """The instances behind a name, lowest index first; of any other unit just itself."""
    instances = tuple(unit for unit in units if unit.replica_of == name)
    return instances or tuple(unit for unit in units if unit.name == name)


def differences(
    before: Sequence[ServiceSpec], after: Sequence[ServiceSpec]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Units that go, dependable order left to the caller, and units that come.

    A unit that becomes another kind of thing under the same name (a process makes room for its balancer) does both.
    Of a service's instances the highest index goes first.
    """
    old, new = _by_name(before), _by_name(after)
    changed = {name for name in old.keys() & new.keys() if _nature(old[name]) != _nature(new[name])}
    gone = [unit for unit in before if unit.name not in new or unit.name in changed]
    come = [unit.name for unit in after if unit.name not in old or unit.name in changed]
    gone.sort(key=lambda unit: -unit.index)
    return tuple(unit.name for unit in gone), tuple(come)


def _by_name(units: Sequence[ServiceSpec]) -> Mapping[str, ServiceSpec]:
    return {unit.name: unit for unit in units}


def _nature(unit: ServiceSpec) -> tuple[ServiceKind, bool]:
    return unit.kind, unit.container is not None


def _units(service: ServiceSpec) -> tuple[ServiceSpec, ...]:
    if service.replicas is None or not can_replicate(service):
        return (service,)
    instances = tuple(_instance(service, index) for index in range(service.replicas))
    return (*instances, _front(service, instances))


def _instance(service: ServiceSpec, index: int) -> ServiceSpec:
    """Preferred and fixed numbers, and what people open, belong to the stable port."""
    ports = tuple(
        replace(port, prefer=None, fixed=False, open=False, bind="127.0.0.1" if port.bind else "")
        for port in service.ports
    )
    return replace(
        service,
        name=instance_name(service.name, index),
        env={**service.env, "ENVMGR_REPLICA": str(index)},
        ports=ports,
        exports={},
        container=_container(service, index),
        replicas=None,
        replica_of=service.name,
        index=index,
    )


def _container(service: ServiceSpec, index: int) -> ContainerSpec | None:
    """Each answers to the service's name, too, so that the engine's name service spreads what comes from containers."""
    inside = service.container
    if inside is None:
        return None
    hostname = f"{inside.hostname}-{index}" if inside.hostname else ""
    return replace(inside, aliases=(*inside.aliases, service.name), hostname=hostname)


def _front(service: ServiceSpec, instances: Sequence[ServiceSpec]) -> ServiceSpec:
    ports = tuple(_stable(port) for port in service.ports if port.protocol == "tcp")
    edges = tuple(
        Dependency(service=one.name, condition=Condition.READY, required=False) for one in instances
    )
    return ServiceSpec(
        name=service.name,
        kind=ServiceKind.BALANCER if ports else ServiceKind.GROUP,
        ports=ports,
        depends_on=edges,
        ready=Readiness(probe=LogProbe(pattern=f"(?m)^{LISTENS}"), deadline_s=15.0) if ports else None,
        exports=service.exports,
        stop=StopPolicy(grace_s=2.0),
        logs=LogPolicy(max_bytes=1_000_000, keep=1),
        restart=RestartPolicy(when=RestartWhen.ALWAYS) if ports else None,
        critical=service.critical,
        description=service.description,
        replicas=service.replicas,
        profiles=service.profiles,
    )


def _stable(port: PortSpec) -> PortSpec:
    """The balancer is a process of the host, whatever its instances are."""
    return replace(port, container=None, listen=False)
