"""From a checked document to the plain values of `model`."""

from __future__ import annotations

from pathlib import Path

from envmgr.config.problems import BadFile, Mark, Problem
from envmgr.config.templates import schema
from envmgr.config.templates.agent_schema import Agent
from envmgr.config.templates.answers import Answers, Resolved
from envmgr.config.templates.container_building import volumes
from envmgr.config.templates.loading import Template
from envmgr.config.templates.recovery_building import recovery_policy
from envmgr.config.templates.selecting import enabled, profiles_of
from envmgr.config.templates.service_building import Services, dependencies, process_limits, service_spec
from envmgr.core.placeholders import escape
from envmgr.model.service import StopPolicy
from envmgr.model.spec import (
    AgentSpec,
    AssistantSpec,
    Hooks,
    Limits,
    PortsPolicy,
    QueuePolicy,
    Retention,
    SecretRef,
    SecretSource,
    TaskCommand,
    WorkspaceSpec,
)

_ATTACH_S = 60.0  # somebody waits
SHELL = 'exec "${SHELL:-/bin/sh}"'


def build(template: Template, answers: Answers, resolved: Resolved, *, ports: PortsPolicy) -> AgentSpec:
    """The spec. Everything was checked before, so nothing here can be refused but an unreadable prompt file."""
    document = resolved.document
    services = enabled(document, answers.profiles)
    limits = process_limits(document.limits)
    return AgentSpec(
        template=template.name,
        source=template.shown,
        repo=str(answers.repo),
        name=answers.name,
        params=dict(resolved.params),
        env=dict(resolved.env),
        inherited=resolved.inherited,
        secrets=_secrets(resolved),
        workspace=_workspace(document.workspace, answers),
        ports=_pool(document.ports, ports),
        services=tuple(
            service_spec(name, services, profiles=profiles_of(document, name)) for name in services
        ),
        assistant=_assistant(document.agent, answers, services),
        hooks=Hooks(
            on_create=_tasks(document.hooks.on_create),
            on_start=_tasks(document.hooks.on_start),
            on_attach=_tasks(document.hooks.on_attach, usual_s=_ATTACH_S),
            pre_stop=_tasks(document.hooks.pre_stop),
            post_stop=_tasks(document.hooks.post_stop),
        ),
        queue=QueuePolicy(
            mode=document.queue.mode,
            types=document.queue.types,
            checks=_tasks(document.queue.checks),
            rounds=document.queue.rounds,
        ),
        limits=Limits(memory_bytes=limits.memory_bytes, process=limits),
        retention=Retention(
            worktree=document.gc.worktree,
            volumes=document.gc.volumes,
            after_stop_s=document.gc.after_stop,
        ),
        recovery=recovery_policy(document.recovery),
        volumes=volumes(document.volumes, services.values()),
        profiles=answers.profiles,
        shared_daemons=document.shared_daemons,
        files=_files(template, answers, resolved),
    )


def _files(template: Template, answers: Answers, resolved: Resolved) -> tuple[str, ...]:
    files = [*template.files, *resolved.files]
    if resolved.document.agent.prompt_file is not None:
        files.append(answers.repo / Path(resolved.document.agent.prompt_file).expanduser())
    return tuple(dict.fromkeys(str(file) for file in files))


def _secrets(resolved: Resolved) -> tuple[SecretRef, ...]:
    refs = {ref.name: ref for ref in resolved.secrets}
    for name, secret in resolved.document.secrets.items():
        key = {"env": secret.name or name, "file": secret.path, "command": secret.command}[secret.source]
        refs[name] = SecretRef(
            name=name, source=SecretSource(secret.source), key=key or "", ttl_s=secret.ttl or 0.0
        )
    return tuple(refs.values())


def _workspace(workspace: schema.Workspace, answers: Answers) -> WorkspaceSpec:
    return WorkspaceSpec(
        base=answers.base or workspace.base,
        branch=workspace.branch,
        copy=workspace.copy_,
        cache=workspace.cache,
        link=workspace.link,
        setup=_tasks(workspace.setup),
        submodules=workspace.submodules,
        relative_paths=workspace.relative_paths,
    )


def _pool(ports: schema.Ports, host: PortsPolicy) -> PortsPolicy:
    first, last = ports.range or (host.first, host.last)
    return PortsPolicy(first=first, last=last, block=ports.block or host.block, bind=ports.bind or host.bind)


def _tasks(tasks: tuple[schema.Task, ...], *, usual_s: float | None = None) -> tuple[TaskCommand, ...]:
    """`usual_s`: time for those that do not say; None for the usual of all tasks."""
    return tuple(
        TaskCommand(
            command=task.command,
            timeout_s=task.timeout if usual_s is None or "timeout" in task.model_fields_set else usual_s,
            inside=task.inside,
        )
        for task in tasks
    )


def _assistant(agent: Agent, answers: Answers, services: Services) -> AssistantSpec:
    return AssistantSpec(
        kind=agent.kind,
        command=agent.command or (SHELL if agent.kind == "command" else ""),
        model=agent.model,
        args=agent.args,
        prompt=_prompt(agent, answers),
        env=agent.env,
        depends_on=dependencies(agent.depends_on, services),
        stop=StopPolicy(signal=agent.stop.signal, grace_s=agent.stop.grace),
        keys=agent.stop.keys,
        ready_s=agent.ready.timeout,
        permission_mode=agent.permission_mode,
        resume=agent.resume,
        capabilities=agent.capabilities,
        tools=agent.tools,
        scopes=agent.scopes,
    )


def _prompt(agent: Agent, answers: Answers) -> str | None:
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
