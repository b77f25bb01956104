"""From the checked probes of a service to the plain values of `model`."""

from __future__ import annotations

from envmgr.config.templates import probe_schema as probing
from envmgr.config.templates import service_schema as said
from envmgr.model.probe import (
    AllOf,
    AnyOf,
    ExecProbe,
    HttpProbe,
    ImageHealth,
    Liveness,
    LogProbe,
    NotifyProbe,
    Probe,
    ProcessProbe,
    Readiness,
    ResourceProbe,
    Startup,
    TcpProbe,
)

_DEADLINE_S = 60.0
_CONTAINER_DEADLINE_S = 120.0


def startup(service: said.Service) -> Startup | None:
    """How to tell that it has started."""
    look = service.startup
    if look is None:
        return None
    return Startup(
        probe=_probe(look, service),
        period_s=look.period,
        timeout_s=look.timeout,
        up=look.up,
        initial_s=look.initial,
        deadline_s=_deadline_s(look.deadline, service),
        owner=look.owner,
    )


def readiness(service: said.Service) -> Readiness | None:
    """How to tell that it is ready."""
    look = service.ready
    if look is None:
        return None
    return Readiness(
        probe=_probe(look, service),
        period_s=look.period,
        timeout_s=look.timeout,
        up=look.up,
        down=look.down,
        initial_s=look.initial,
        deadline_s=_deadline_s(look.deadline, service),
        owner=look.owner,
    )


def liveness(service: said.Service) -> Liveness | None:
    """How to tell that it still works."""
    look = service.live
    if look is None:
        return None
    return Liveness(
        probe=_probe(look, service),
        period_s=look.period,
        timeout_s=look.timeout,
        down=look.down,
        grace_s=look.grace,
        owner=look.owner,
    )


def _deadline_s(said_s: float | None, service: said.Service) -> float:
    return said_s or (_CONTAINER_DEADLINE_S if service.in_container else _DEADLINE_S)


def _probe(check: probing.Check, service: said.Service) -> Probe:
    if check.http:
        http = check.http
        return HttpProbe(
            port=http.port or next(iter(service.ports)),
            path=http.path,
            host=http.host,
            scheme=http.scheme,
            headers=http.headers,
            status=http.status,
            body=http.body,
        )
    if check.tcp:
        return TcpProbe(port=check.tcp.port or next(iter(service.ports)), host=check.tcp.host)
    if check.exec:
        return ExecProbe(command=check.exec, inside=check.inside)
    if check.log:
        return LogProbe(pattern=check.log)
    if check.health or check.notify:
        return ImageHealth() if check.health else NotifyProbe()
    if check.process:
        return ProcessProbe(pattern=check.process.match or "", count=check.process.count)
    if check.resource:
        use = check.resource
        return ResourceProbe(memory_bytes=use.memory, cpus=use.cpus, open_files=use.files)
    if check.any:
        return AnyOf(probes=tuple(_probe(inner, service) for inner in check.any))
    return AllOf(probes=tuple(_probe(inner, service) for inner in check.all))
