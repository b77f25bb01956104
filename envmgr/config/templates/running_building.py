"""From the checked keys about a running service to the plain values of `model`."""

from __future__ import annotations

from dataclasses import replace

from envmgr.config.templates import running_schema as said
from envmgr.model.container import Scope
from envmgr.model.service import (
    ChangeAction,
    Reaction,
    RestartPolicy,
    RestartWhen,
    RunWhen,
    ServiceKind,
    ServiceSpec,
    Tenant,
    WatchSpec,
)


def as_it_runs(spec: ServiceSpec, keys: said.RunningKeys, *, profiles: tuple[str, ...]) -> ServiceSpec:
    """The spec with what is said about it as it runs; `profiles` are all that name it."""
    return replace(
        spec,
        replicas=keys.replicas,
        scope=Scope(keys.scope),
        tenant=_tenant(keys.tenant) if keys.tenant else None,
        run_when=RunWhen(changed=keys.run_when.changed, env=keys.run_when.env) if keys.run_when else None,
        restart=restart_policy(keys.restart) if keys.restart else _usual_restarts(spec),
        fatal_exit_codes=keys.fatal_exit_codes,
        watch=tuple(_watch(watch) for watch in keys.watch),
        on_env_change=_reaction(keys.on_env_change),
        profiles=profiles,
        tty=keys.tty,
        stdin=keys.stdin,
    )


def _tenant(tenant: said.Tenant) -> Tenant:
    return Tenant(create=tenant.create or "", drop=tenant.drop or "", timeout_s=tenant.timeout)


def _usual_restarts(spec: ServiceSpec) -> RestartPolicy | None:
    """What runs is started again when it fails; a task has its one run, and what is external is in other hands."""
    return RestartPolicy() if spec.kind in (ServiceKind.PROCESS, ServiceKind.CONTAINER) else None


def restart_policy(restart: said.Restart) -> RestartPolicy:
    """When a service is started again."""
    return RestartPolicy(
        when=RestartWhen(restart.policy),
        initial_s=restart.initial,
        factor=restart.factor,
        max_s=restart.max,
        jitter=restart.jitter,
        budget=restart.budget,
        flap=restart.flap,
        reset_after_s=restart.reset_after,
    )


def _watch(watch: said.Watch) -> WatchSpec:
    return WatchSpec(
        paths=watch.paths,
        include=watch.include,
        exclude=watch.exclude,
        reaction=_reaction(watch),
        cascade=watch.cascade,
        debounce_s=watch.debounce,
    )


def _reaction(reaction: said.Reaction) -> Reaction:
    return Reaction(
        action=ChangeAction(reaction.action), signal=reaction.signal, command=reaction.command or ""
    )
