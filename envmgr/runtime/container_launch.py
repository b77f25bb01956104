"""From a unit of a template to what the engine is asked to run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from envmgr.core.placeholders import render
from envmgr.model.container import MountKind, MountSpec, Scope
from envmgr.model.ids import LABEL_HASH, volume_name
from envmgr.model.service import ServiceSpec
from envmgr.protocols.engine import ContainerLaunch, ContainerLimits, Publish
from envmgr.runtime import owning, rendering, viewpoint
from envmgr.runtime.incarnation import Incarnation

_HASH_CHARS = 16
_ENGINE_LOG_BYTES = 10_000_000  # what the engine keeps for us while nobody copies it


def build(
    inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str], *, image: str
) -> ContainerLaunch:
    """What to run, with a label that tells whether an existing container is the same."""
    spec = service.container
    assert spec is not None, "only containers run in the engine"
    known = rendering.values(inc, secrets, service.name, viewer=service)
    command = rendering.command(service.command, service.shell, known) if service.command else None
    entrypoint = spec.entrypoint and tuple(render(word, known, shell=False) for word in spec.entrypoint)
    launch = ContainerLaunch(
        name=owning.container(inc, service.name),
        image=image,
        labels={},
        command=command,
        entrypoint=entrypoint,
        env=rendering.service_env(inc, service, secrets),
        mounts=tuple(_mount(inc, mount) for mount in spec.mounts),
        publish=tuple(_publish(inc, service)),
        networks={owning.network(inc, name): (service.name, *spec.aliases) for name in spec.networks},
        user=spec.user,
        workdir=spec.workdir,
        hostname=spec.hostname,
        platform=spec.platform,
        init=spec.init,
        read_only=spec.read_only,
        shm_bytes=spec.shm_bytes,
        cap_add=spec.cap_add,
        cap_drop=spec.cap_drop,
        extra_hosts={viewpoint.HOST_ALIAS: "host-gateway", **spec.extra_hosts},
        sysctls=spec.sysctls,
        limits=ContainerLimits(
            memory_bytes=service.limits.memory_bytes, cpus=service.limits.cpus, pids=service.limits.pids
        ),
        stop_signal=service.stop.signal,
        tty=service.tty,
        stdin=service.stdin,
        log_bytes=max(_ENGINE_LOG_BYTES, service.logs.max_bytes),
    )
    labels = {**spec.labels, **owning.new(inc, service.name), LABEL_HASH: _digest(launch)}
    return replace(launch, labels=labels)


def _digest(launch: ContainerLaunch) -> str:
    return hashlib.sha256(repr(launch).encode()).hexdigest()[:_HASH_CHARS]


def _mount(inc: Incarnation, mount: MountSpec) -> MountSpec:
    """Named volumes become the agent's own; files and folders are those of its worktree."""
    match mount.kind:
        case MountKind.VOLUME if mount.source:
            return replace(mount, source=_volume(inc, mount.source))
        case MountKind.BIND:
            return replace(mount, source=str(inc.path / mount.source))
    return mount


def _volume(inc: Incarnation, name: str) -> str:
    is_shared = any(v.name == name and v.scope is Scope.SHARED for v in inc.spec.volumes)
    return owning.shared_volume(inc, name) if is_shared else volume_name(inc.id, name)


def make_folders(inc: Incarnation, service: ServiceSpec) -> None:
    """Make folders of the worktree that are mounted and not there, as the person: the engine would refuse. Blocking."""
    assert service.container is not None, "only containers mount folders"
    for mount in service.container.mounts:
        path = inc.path / mount.source
        if mount.kind is MountKind.BIND and not Path(mount.source).is_absolute() and not path.exists():
            path.mkdir(parents=True)


def _publish(inc: Incarnation, service: ServiceSpec) -> list[Publish]:
    return [
        Publish(
            container=viewpoint.inside(inc, service, port),
            host=inc.port(service.name, port.name),
            protocol=port.protocol,
            bind=port.bind or inc.spec.ports.bind,
        )
        for port in service.ports
    ]
