"""From a checked document to the plain values of `model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envmgr.config.problems import BadFile, Mark, Problem
from envmgr.config.templates import schema
from envmgr.config.templates import service_schema as said
from envmgr.config.templates.answers import Answers, Resolved
from envmgr.config.templates.loading import Template
from envmgr.core.placeholders import escape
from envmgr.model.service import (
    AllOf,
    AnyOf,
    Condition,
    Dependency,
    ExecProbe,
    HttpProbe,
    LogPolicy,
    LogProbe,
    PortSpec,
    Probe,
    ProcessLimits,
    Readiness,
    ServiceKind,
    ServiceSpec,
    StopPolicy,
    TcpProbe,
)
from envmgr.model.spec import (
    AgentSpec,
    AssistantSpec,
    Hooks,
    Limits,
    PortsPolicy,
    Retention,
    SecretRef,
    SecretSource,
    TaskCommand,
    WorkspaceSpec,
)

SHELL = 'exec "${SHELL:-/bin/sh}"'
Services = Mapping[str, said.Service]


def build(template: Template, answers: Answers, resolved: Resolved, *, ports: PortsPolicy) -> AgentSpec:
    """The spec. Everything was checked before, so nothing here can be refused but an unreadable prompt file."""
    document = resolved.document
    enabled = {name: service for name, service in document.services.items() if not service.disabled}
    limits = _limits(document.limits)
    return AgentSpec(
        template=template.name,
        source=template.shown,
        repo=str(answers.repo),
        name=answers.name,
        params=dict(resolved.params),
        env=dict(resolved.env),
        secrets=_secrets(resolved),
        workspace=_workspace(document.workspace, answers),
        ports=_pool(document.ports, ports),
        services=tuple(_service(name, service, enabled) for name, service in enabled.items()),
        assistant=_assistant(document.agent, answers, enabled),
        hooks=Hooks(
            on_create=_tasks(document.hooks.on_create),
            on_start=_tasks(document.hooks.on_start),
            pre_stop=_tasks(document.hooks.pre_stop),
            post_stop=_tasks(document.hooks.post_stop),
        ),
        limits=Limits(memory_bytes=limits.memory_bytes, process=limits),
        retention=Retention(worktree=document.gc.worktree),
    )


def _secrets(resolved: Resolved) -> tuple[SecretRef, ...]:
    refs = {ref.name: ref for ref in resolved.secrets}
    for name, secret in resolved.document.secrets.items():
        key = {"env": secret.name or name, "file": secret.path, "command": secret.command}[secret.source]
        refs[name] = SecretRef(name=name, source=SecretSource(secret.source), key=key or "")
    return tuple(refs.values())


def _workspace(workspace: schema.Workspace, answers: Answers) -> WorkspaceSpec:
    return WorkspaceSpec(
        base=answers.base or workspace.base,
        branch=workspace.branch,
        copy=workspace.copy_,
        setup=_tasks(workspace.setup),
        submodules=workspace.submodules,
        relative_paths=workspace.relative_paths,
    )


def _pool(ports: schema.Ports, host: PortsPolicy) -> PortsPolicy:
    first, last = ports.range or (host.first, host.last)
    return PortsPolicy(first=first, last=last, block=ports.block or host.block, bind=ports.bind or host.bind)


def _tasks(tasks: tuple[schema.Task, ...]) -> tuple[TaskCommand, ...]:
    return tuple(TaskCommand(command=task.command, timeout_s=task.timeout) for task in tasks)


def _assistant(agent: schema.Agent, answers: Answers, services: Services) -> AssistantSpec:
    return AssistantSpec(
        kind=agent.kind,
        command=agent.command or (SHELL if agent.kind == "command" else ""),
        model=agent.model,
        args=agent.args,
        prompt=_prompt(agent, answers),
        env=agent.env,
        depends_on=_edges(agent.depends_on, services),
        stop=StopPolicy(signal=agent.stop.signal, grace_s=agent.stop.grace),
        keys=agent.stop.keys,
        ready_s=agent.ready.timeout,
        permission_mode=agent.permission_mode,
    )


def _prompt(agent: schema.Agent, answers: Answers) -> str | None:
    """Late form. What a person typed or a file says is meant as it stands, dollars and all."""
    if answers.prompt is not None:
        return escape(answers.prompt)
    if agent.prompt_file is None:
        return agent.prompt
    path = answers.repo / Path(agent.prompt_file).expanduser()
    try:
        return escape(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        problem = Problem(
            mark=Mark(agent.prompt_file), path="agent.prompt_file", message=f"prompt file: {why}"
        )
        raise BadFile([problem]) from error


def _service(name: str, service: said.Service, services: Services) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        kind=ServiceKind(service.kind),
        command=service.command or "",
        shell=service.shell,
        cwd=service.cwd,
        env=service.env,
        ports=tuple(_port(key, port) for key, port in service.ports.items()),
        depends_on=_edges(service.depends_on, services),
        ready=_readiness(service.ready, service) if service.ready else None,
        exports=service.exports,
        stop=StopPolicy(signal=service.stop.signal, grace_s=service.stop.grace, command=service.stop.command),
        logs=LogPolicy(max_bytes=service.logs.max_size, keep=service.logs.keep),
        limits=_limits(service.limits),
        success_exit_codes=service.success_exit_codes,
        timeout_s=service.timeout,
        critical=service.critical,
        description=service.description,
    )


def _port(name: str, port: said.Port) -> PortSpec:
    return PortSpec(name=name, prefer=port.prefer, fixed=port.fixed, env=port.env, number=port.number)


def _edges(edges: Mapping[str, said.Edge], services: Services) -> tuple[Dependency, ...]:
    """Edges to services that are left out are left out too."""
    return tuple(
        Dependency(
            service=name,
            condition=Condition(edge.condition) if edge.condition else _usual(services[name]),
            required=edge.required,
            timeout_s=edge.timeout,
        )
        for name, edge in edges.items()
        if name in services
    )


def _usual(service: said.Service) -> Condition:
    if service.kind == "task":
        return Condition.SUCCEEDED
    return Condition.READY if service.ready else Condition.STARTED


def _readiness(ready: said.Ready, service: said.Service) -> Readiness:
    return Readiness(
        probe=_probe(ready, service),
        period_s=ready.period,
        timeout_s=ready.timeout,
        up=ready.up,
        down=ready.down,
        initial_s=ready.initial,
        deadline_s=ready.deadline,
        owner=ready.owner,
    )


def _probe(check: said.Check, service: said.Service) -> Probe:
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
        return ExecProbe(command=check.exec)
    if check.log:
        return LogProbe(pattern=check.log)
    if check.any:
        return AnyOf(probes=tuple(_probe(inner, service) for inner in check.any))
    return AllOf(probes=tuple(_probe(inner, service) for inner in check.all))


def _limits(limits: said.ProcessLimits) -> ProcessLimits:
    return ProcessLimits(memory_bytes=limits.memory, nofile=limits.nofile, pids=limits.pids, nice=limits.nice)
