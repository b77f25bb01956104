"""From the checked keys of a container to the plain values of `model`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from envmgr.config.templates import container_schema as said
from envmgr.config.templates.service_schema import Service
from envmgr.core.placeholders import REFERENCE, escape
from envmgr.model.container import (
    BuildSpec,
    ContainerSpec,
    MountKind,
    MountSpec,
    PullPolicy,
    Scope,
    Seed,
    VolumeSpec,
)

_STAND_IN = "\ue000{}\ue001"


def container(service: Service) -> ContainerSpec | None:
    """None when the service runs on the host."""
    if not service.in_container:
        return None
    attached = service.networks.values()
    return ContainerSpec(
        image=service.image or "",
        build=_build(service.build) if service.build else None,
        entrypoint=None if service.entrypoint is None else words(service.entrypoint),
        mounts=(*map(_mount, service.volumes), *map(_tmpfs, service.tmpfs)),
        user=service.user,
        networks=tuple(service.networks) or ("default",),
        aliases=tuple(dict.fromkeys([*service.aliases, *(a for one in attached for a in one.aliases)])),
        hostname=service.hostname or "",
        workdir=service.workdir or "",
        platform=service.platform,
        pull=PullPolicy(service.pull),
        init=service.init,
        read_only=service.read_only,
        shm_bytes=service.shm_size,
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        extra_hosts=service.extra_hosts,
        sysctls=service.sysctls,
        labels=service.labels,
    )


def words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """What is executed in a container: a line is split as a shell splits words, and nothing more is done to it.

    A value that was put into the line is one word, or a part of one. The result is text in late form.

    Raises:
        ValueError: A quote is not closed.
    """
    if not isinstance(command, str):
        return command
    names: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        names.append(found[0])
        return _STAND_IN.format(len(names) - 1)

    def put_back(found: re.Match[str]) -> str:
        return names[int(found[1])]

    split = shlex.split(re.sub(REFERENCE, stand_in, command))
    return tuple(re.sub(_STAND_IN.format("([0-9]+)"), put_back, escape(word)) for word in split)


def _build(build: said.Build) -> BuildSpec:
    return BuildSpec(context=build.context, dockerfile=build.dockerfile, target=build.target, args=build.args)


def _mount(mount: said.Mount) -> MountSpec:
    return MountSpec(
        kind=MountKind(mount.type),
        source=mount.path if mount.type == "bind" else mount.source,
        target=mount.target,
        read_only=mount.read_only,
        size_bytes=mount.size,
    )


def _tmpfs(path: str) -> MountSpec:
    return MountSpec(kind=MountKind.TMPFS, target=path)


def volumes(declared: Mapping[str, said.Volume], services: Iterable[Service]) -> tuple[VolumeSpec, ...]:
    """Every named volume that one of the services mounts, declared or not, in the order of first use."""
    names = dict.fromkeys(
        mount.source
        for service in services
        for mount in service.volumes
        if mount.type == "volume" and mount.source
    )
    return tuple(_volume(name, declared.get(name)) for name in names)


def _volume(name: str, volume: said.Volume | None) -> VolumeSpec:
    if volume is None:
        return VolumeSpec(name=name)
    return VolumeSpec(name=name, scope=Scope(volume.scope), seed=_seed(volume.seed) if volume.seed else None)


def _seed(seed: said.SeedKeys) -> Seed:
    return Seed(snapshot=seed.snapshot, script=seed.script or "", image=seed.image, timeout_s=seed.timeout)
