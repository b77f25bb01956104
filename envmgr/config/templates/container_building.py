"""From the checked keys of a container to the plain values of `model`."""

from __future__ import annotations

import re
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

_PART = re.compile(
    r"""(?P<space>[ \t\r\n]+)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|(?P<plain>[^ \t\r\n'"\\]+)""",
    re.DOTALL,
)
_IN_DOUBLE = re.compile(r"""\\(?P<escaped>[$`"\\\n])|\\|[^\\]+""")


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
    """What is executed in a container: a line is split as a POSIX shell splits words, and nothing more is done to it.

    A value that was put into the line is one word, or a part of one. The result is text in late form.

    Raises:
        ValueError: A quote is not closed.
    """
    if not isinstance(command, str):
        return command
    found: list[str] = []
    at, is_in_word = 0, False
    while at < len(command):
        part = _PART.match(command, at)
        if part is None:
            raise ValueError("a quote is not closed")
        at = part.end()
        if part["space"] is None:
            if not is_in_word:
                found.append("")
            found[-1] += _meaning(part)
        is_in_word = part["space"] is None
    return tuple(found)


def _meaning(part: re.Match[str]) -> str:
    if part["double"] is not None:
        return "".join(
            escape(inner["escaped"].strip("\n")) if inner["escaped"] else _late(inner[0])
            for inner in _IN_DOUBLE.finditer(part["double"])
        )
    if part["escaped"] is not None:
        return escape(part["escaped"].strip("\n"))  # an escaped line break: the line goes on
    return _late(part["single"] if part["single"] is not None else part["plain"])


def _late(text: str) -> str:
    """References stay, every other dollar is a dollar."""
    out, end = "", 0
    for found in re.finditer(REFERENCE, text):
        out += escape(text[end : found.start()]) + found[0]
        end = found.end()
    return out + escape(text[end:])


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
