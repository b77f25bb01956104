"""Containers and volumes as a template resolves to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PullPolicy(StrEnum):
    """When an image is fetched."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class MountKind(StrEnum):
    """What is mounted."""

    VOLUME = "volume"
    BIND = "bind"
    TMPFS = "tmpfs"


class Scope(StrEnum):
    """Who uses it: one agent, or all agents of a repository together."""

    AGENT = "agent"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """An image built from the agent's worktree.

    Attributes:
        context: Folder, relative to the worktree.
        dockerfile: Relative to the context.
        target: Stage to build; empty for the last one.
    """

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec:
    """A mount of a container.

    Attributes:
        source: Name of a volume of the template, or a file or folder (relative to the worktree, or absolute on the
            host); empty for tmpfs and for anonymous volumes.
        target: Absolute path inside the container.
        size_bytes: Of a tmpfs; None for the engine's default.
    """

    kind: MountKind
    source: str = ""
    target: str
    read_only: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What makes a service run in a container. The service's `command` is given to the image's entry point.

    Attributes:
        image: Reference; with `build` a tag for the result (empty: named after agent and service).
        entrypoint: None keeps the image's; an empty tuple removes it.
        networks: Names of the agent's networks; `default` when the template names none.
        aliases: Further names under which the others find it; its service name always works.
        workdir: Absolute path inside; empty keeps the image's.
        cap_add, cap_drop: Linux capabilities, without `CAP_`.
        labels: Further labels; the owner labels of envmgr cannot be replaced.
    """

    image: str = ""
    build: BuildSpec | None = None
    entrypoint: tuple[str, ...] | None = None
    mounts: tuple[MountSpec, ...] = ()
    user: str = ""
    networks: tuple[str, ...] = ("default",)
    aliases: tuple[str, ...] = ()
    hostname: str = ""
    workdir: str = ""
    platform: str = ""
    pull: PullPolicy = PullPolicy.MISSING
    init: bool = False
    read_only: bool = False
    shm_bytes: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """How a new, empty volume is filled before its first user starts; exactly one of the two.

    Attributes:
        snapshot: Name or number of an envmgr snapshot; its volume of the same name is copied.
        script: Runs once in a container with the volume at `/seed` (working directory) and the worktree, read-only, at
            `/worktree`.
        image: For `script`; empty means the image of the first service that mounts the volume.
    """

    snapshot: str = ""
    script: str | tuple[str, ...] = ""
    image: str = ""
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A named volume of the template: one per agent, or one for all agents of the repository."""

    name: str
    scope: Scope = Scope.AGENT
    seed: Seed | None = None
