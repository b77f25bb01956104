"""What the engine is told to create, as the documents of its API."""

from __future__ import annotations

from typing import Any

from envmgr.model.container import MountKind, MountSpec
from envmgr.protocols.engine import ContainerLaunch, Publish

Body = dict[str, Any]
"""A JSON document for the engine."""

# Two files of the engine's own log are enough: ours is the one that people read.
_LOG_FILES = "2"


def container(launch: ContainerLaunch) -> Body:
    """For `POST /containers/create`, in the first of its networks; `attachment` is for the others."""
    first = next(iter(launch.networks), None)
    body: Body = {
        "Image": launch.image,
        "Cmd": _words(launch.command),
        "Entrypoint": _entrypoint(launch),
        "Env": [f"{name}={value}" for name, value in launch.env.items()],
        "Labels": dict(launch.labels),
        "User": launch.user,
        "WorkingDir": launch.workdir,
        "Hostname": launch.hostname,
        "StopSignal": launch.stop_signal,
        "Tty": launch.tty or None,
        "OpenStdin": launch.stdin or None,
        "ExposedPorts": {_inside(port): {} for port in launch.publish},
        "HostConfig": _host(launch, first),
    }
    if first is not None:
        body["NetworkingConfig"] = {"EndpointsConfig": {first: attachment(launch, first)}}
    return {name: value for name, value in body.items() if value not in (None, "", {})}


def attachment(launch: ContainerLaunch, network: str) -> Body:
    """How the container takes part in one of its networks."""
    return {"Aliases": list(launch.networks[network])}


def bindings(publish: tuple[Publish, ...]) -> dict[str, list[dict[str, str]]]:
    """Published ports as the engine writes them, in creating and in inspecting."""
    bound: dict[str, list[dict[str, str]]] = {}
    for port in publish:
        bound.setdefault(_inside(port), []).append({"HostIp": port.bind, "HostPort": str(port.host)})
    return bound


def copier(image: str, *, volume: str, target: str, labels: dict[str, str]) -> Body:
    """A container that is never started: through it a volume's content is reached."""
    mount = {"Type": "volume", "Source": volume, "Target": target, "VolumeOptions": {"NoCopy": True}}
    return {
        "Image": image,
        "Cmd": ["true"],
        "Entrypoint": [],
        "Labels": labels,
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
    }


def _host(launch: ContainerLaunch, network: str | None) -> Body:
    limits = launch.limits
    body: Body = {
        "NetworkMode": network,
        "PortBindings": bindings(launch.publish),
        "Mounts": [_mount(mount) for mount in launch.mounts],
        "Init": launch.init or None,
        "ReadonlyRootfs": launch.read_only or None,
        "ShmSize": launch.shm_bytes,
        "CapAdd": list(launch.cap_add),
        "CapDrop": list(launch.cap_drop),
        "ExtraHosts": [f"{name}:{address}" for name, address in launch.extra_hosts.items()],
        "Sysctls": dict(launch.sysctls),
        "Memory": limits.memory_bytes,
        # No swap on top: a limit that swaps first is noticed too late.
        "MemorySwap": limits.memory_bytes,
        "NanoCpus": None if limits.cpus is None else round(limits.cpus * 1e9),
        "PidsLimit": limits.pids,
        # Readable whatever the default is, and the only one that keeps bytes as they are: JSON cannot.
        "LogConfig": {
            "Type": "local",
            "Config": {"max-size": str(launch.log_bytes), "max-file": _LOG_FILES},
        },
    }
    return {name: value for name, value in body.items() if value not in (None, [], {})}


def _mount(mount: MountSpec) -> Body:
    body: Body = {"Type": mount.kind.value, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.source:
        body["Source"] = mount.source
    if mount.kind is MountKind.TMPFS and mount.size_bytes is not None:
        body["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
    return body


def _entrypoint(launch: ContainerLaunch) -> list[str] | None:
    # One empty word is the engine's way to say "none at all"; an empty list means "as the image has it".
    return [""] if launch.entrypoint == () else _words(launch.entrypoint)


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _inside(port: Publish) -> str:
    return f"{port.container}/{port.protocol}"
