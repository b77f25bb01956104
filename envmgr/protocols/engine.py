"""The container engine: images, containers, networks and volumes that carry our labels.

The engine outlives the daemon and is its own keeper: containers are found again by their labels. Whatever a call
creates carries the labels it was given from its first moment on. Events are hints; the truth is a listing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from envmgr.model.container import BuildSpec, MountSpec, PullPolicy
from envmgr.model.observe import Seen

Labels = Mapping[str, str]
Progress = Callable[[str], None]
"""A line for people about a pull or a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A port inside the container and where it is reached on this host."""

    container: int
    host: int
    protocol: str = "tcp"
    bind: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLimits:
    """Enforced by the engine; None means without."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLaunch:
    """A container to run.

    Attributes:
        name: Unique on the engine.
        command: None keeps the image's.
        mounts: With volume names of the engine and absolute host paths as sources.
        networks: Engine's network name -> aliases in it.
        log_bytes: Size at which the engine rotates its own copy of the output.
    """

    name: str
    image: str
    labels: Labels
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountSpec, ...] = ()
    publish: tuple[Publish, ...] = ()
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    hostname: str = ""
    platform: str = ""
    init: bool = False
    read_only: bool = False
    shm_bytes: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    limits: ContainerLimits = ContainerLimits()
    stop_signal: str = "SIGTERM"
    tty: bool = False
    stdin: bool = False
    log_bytes: int = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the engine reports it.

    Attributes:
        state: `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        pid: Of its first process on this host; 0 when it does not run.
        exit_code: None while it has not ended.
        error: Why it could not be started, in the engine's words.
        health: `starting`, `healthy`, `unhealthy`; empty when the image has no check.
        addresses: Network name -> its IP address there.
        published: (port inside, protocol) -> host port.
        sources: Host paths and volume names it mounts.
        is_sketch: The engine lists it and could not tell more in time: pid, times, health and error are not known.
    """

    id: str
    name: str
    image: str
    labels: Labels
    state: str
    pid: int = 0
    exit_code: int | None = None
    out_of_memory: bool = False
    error: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float | None = None
    health: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[tuple[int, str], int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    is_sketch: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether its first process runs (or is paused)."""
        return self.state in ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What `doctor` tells about the engine."""

    version: str
    api: str
    cgroup: str
    storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Which engine is used.

    Attributes:
        source: Who says so, such as `DOCKER_HOST`.
        variables: Environment that makes docker's own command line use it.
    """

    url: str
    source: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A network, a volume or an image of ours."""

    name: str
    labels: Labels
    created_at: str = ""


class Engine(Protocol):
    """A container engine. All calls have deadlines; what the engine refuses is `Unavailable` in its own words.

    Raises (any call): Unobservable when the engine does not answer in time; Unavailable when it is down. Creating twice
    with the same name and the same labels is one creation; with other labels it is a Conflict.
    """

    async def look(self) -> Seen[EngineFacts]:
        """Whether it answers; never raises. Absent when there is no engine on this host."""

    async def knock(self) -> Seen[None]:
        """Whether somebody takes connections at its address: cheap, asks nothing, never raises.

        Absent when there is no engine on this host, or none that this user may reach; Unknown when nobody serves it now.
        """

    async def whereabouts(self) -> EngineAddress | None:
        """Where a call would go now; None when there is no engine on this host. Asks nothing.

        Raises:
            ConfigError: The address it was told cannot be used.
        """

    # --- images

    async def image(
        self, reference: str, *, pull: PullPolicy, platform: str = "", tell: Progress | None = None
    ) -> str:
        """Make sure the image is there; returns its id.

        Raises:
            ConfigError: No such image, or access refused.
            Unavailable: The registry cannot be reached.
        """

    async def build(
        self, tag: str, build: BuildSpec, *, root: Path, labels: Labels, tell: Progress | None = None
    ) -> str:
        """Build an image from `root / build.context`; returns its id. Raises ConfigError with the end of the output."""

    async def images(self, labels: Labels) -> Seen[Sequence[Found]]:
        """Images that carry all these labels: one for each tag; by its id one that has lost its tag to a later build."""

    async def remove_image(self, reference: str) -> None:
        """Remove an image that `build` made; one in use, or gone, is left alone."""

    # --- networks and volumes

    async def ensure_network(self, name: str, labels: Labels) -> None:
        """Create a bridge network unless it exists."""

    async def ensure_volume(self, name: str, labels: Labels) -> bool:
        """Create a volume unless it exists; whether it is new."""

    async def networks(self, labels: Labels) -> Seen[Sequence[Found]]:
        """Networks that carry all these labels."""

    async def volumes(self, labels: Labels) -> Seen[Sequence[Found]]:
        """Volumes that carry all these labels."""

    async def connect_network(self, network: str, container: str, *, aliases: Sequence[str]) -> None:
        """Let a container take part in one more network, under these names; connecting twice is harmless."""

    async def disconnect_network(self, network: str, container: str) -> None:
        """Take it out again; harmless when it has no part in it, or either is gone."""

    async def remove_network(self, name: str) -> None:
        """Verified; removing twice is harmless. Raises Conflict while containers use it."""

    async def remove_volume(self, name: str) -> None:
        """Verified; removing twice is harmless. Raises Conflict while containers use it."""

    # --- containers

    async def run(
        self, launch: ContainerLaunch, *, before_start: Callable[[], Awaitable[None]] | None = None
    ) -> Container:
        """Create and start. An existing container of that name with the same labels is started if need be.

        Args:
            before_start: Awaited when it is created: what it needs only now, such as its networks. When that fails, the
                container goes.

        Raises:
            Conflict: A published port is taken (`code` `conflict.port`), or the name belongs to others.
            ConfigError: The engine refuses the configuration (a mount, a user, a program that is not in the image).
        """

    async def start(self, container: str) -> Container:
        """Start one that has ended, keeping it as it is."""

    async def inspect(self, container: str) -> Seen[Container]:
        """One by id or name."""

    async def containers(self, labels: Labels) -> Seen[Sequence[Container]]:
        """All, ended ones too, that carry all these labels (an empty value matches any).

        One that the engine cannot tell about in time is a sketch, and keeps nobody from seeing the others.
        """

    async def mounting(self, source: str) -> Seen[Sequence[Container]]:
        """All that mount this host path, something below it, or this volume."""

    async def signal(self, container: str, signal: str) -> None:
        """Signal its first process; one that has ended is left alone."""

    async def stop(self, container: str, *, signal: str, grace_s: float) -> None:
        """Signal, grace, KILL; returns when it has surely ended. Stopping twice is harmless."""

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes, verified; killed first if it runs. Removing twice is harmless."""

    async def pause(self, container: str) -> None:
        """Freeze all its processes; pausing twice is harmless."""

    async def unpause(self, container: str) -> None:
        """Let them go on; harmless when not paused."""

    async def execute(
        self, container: str, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command inside; exit status and the end of its output. 124 when time is up."""

    def output(self, container: str, *, since: float = 0.0) -> AsyncIterator[tuple[float, bytes]]:
        """(Unix time, raw bytes of a line with its newline) from `since` on, as it comes; ends with the container."""

    def changes(self) -> AsyncIterator[str]:
        """Ids of containers something happened to; hints only. Ends (Unobservable) when the engine goes away."""

    # --- data

    async def volume_bytes(self, volumes: Sequence[str]) -> int:
        """What these volumes hold together; missing ones count nothing. May take the engine some seconds to count."""

    async def export_volume(self, volume: str, target: Path, *, image: str) -> int:
        """Write the volume's content as a tar file (owners and modes kept); returns its size in bytes.

        `image` is any image that is there; a container is created from it, never started.
        """

    async def clear_copies(self) -> None:
        """Remove what killed processes of this installation left of such copying."""

    async def import_volume(self, volume: str, source: Path, *, image: str) -> None:
        """Fill an empty volume from such a tar file."""
