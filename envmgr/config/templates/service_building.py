"""From the checked keys of a service to the plain values of `model`."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.config.templates import service_schema as said
from envmgr.config.templates.container_building import container, words
from envmgr.config.templates.probe_building import liveness, readiness, startup
from envmgr.config.templates.running_building import as_it_runs
from envmgr.model.service import (
    Condition,
    Dependency,
    LogPolicy,
    PortSpec,
    ProcessLimits,
    ServiceKind,
    ServiceSpec,
    StopPolicy,
)

Services = Mapping[str, said.Service]


def service_spec(name: str, services: Services, *, profiles: tuple[str, ...] = ()) -> ServiceSpec:
    """One service of those that take part; `profiles` are all that name it."""
    service = services[name]
    spec = ServiceSpec(
        name=name,
        kind=ServiceKind(service.kind),
        command=_command(service),
        shell=service.shell,
        cwd=service.cwd,
        env=service.env,
        ports=tuple(_port(key, port) for key, port in service.ports.items()),
        depends_on=dependencies(service.depends_on, services),
        startup=startup(service),
        ready=readiness(service),
        live=liveness(service),
        exports=service.exports,
        stop=_stop(service.stop),
        logs=LogPolicy(max_bytes=service.logs.max_size, keep=service.logs.keep, quiet=service.logs.quiet),
        limits=process_limits(service.limits),
        success_exit_codes=service.success_exit_codes,
        timeout_s=service.timeout,
        critical=service.critical,
        description=service.description,
        container=container(service),
    )
    return as_it_runs(spec, service, profiles=profiles)


def _command(service: said.Service) -> str | tuple[str, ...]:
    if service.command is None:
        return () if service.in_container else ""
    return words(service.command) if service.in_container else service.command


def _stop(stop: said.Stop) -> StopPolicy:
    return StopPolicy(signal=stop.signal, grace_s=stop.grace, command=stop.command, keys=stop.keys)


def _port(name: str, port: said.Port) -> PortSpec:
    return PortSpec(
        name=name,
        prefer=port.prefer,
        fixed=port.fixed,
        env=port.env,
        number=port.number,
        container=port.container,
        protocol=port.protocol,
        bind=port.bind,
        open=port.open,
        listen=port.listen,
    )


def dependencies(edges: Mapping[str, said.Edge], services: Services) -> tuple[Dependency, ...]:
    """Edges to services that are left out are left out too."""
    return tuple(
        Dependency(
            service=name,
            condition=_condition(edge.condition) if edge.condition else _usual(services[name]),
            required=edge.required,
            timeout_s=edge.timeout,
            restart=edge.restart,
        )
        for name, edge in edges.items()
        if name in services
    )


def _condition(word: str) -> Condition:
    """`log` is `ready` of a service whose probe looks at its log."""
    return Condition.READY if word == "log" else Condition(word)


def _usual(service: said.Service) -> Condition:
    if service.kind == "task":
        return Condition.SUCCEEDED
    return Condition.READY if service.ready or service.startup else Condition.STARTED


def process_limits(limits: said.ProcessLimits) -> ProcessLimits:
    """Limits of a service, or of the whole agent."""
    return ProcessLimits(
        memory_bytes=limits.memory,
        cpus=limits.cpus,
        nofile=limits.nofile,
        pids=limits.pids,
        nice=limits.nice,
    )
