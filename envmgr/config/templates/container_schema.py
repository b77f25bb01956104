"""What a template may say about a service that runs in a container. The names are the keys."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from envmgr.config.fields import (
    Command,
    Duration,
    EnvText,
    Flag,
    Inside,
    Size,
    Slug,
    Strict,
    command,
    one_or_many,
)

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
_STRINGS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

HostName = Annotated[str, Field(pattern=_HOST)]
VolumeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Pairs = dict[str, EnvText]


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} is not an absolute path inside the container")
    return value


Absolute = Annotated[str, AfterValidator(_absolute)]


def _build(value: object) -> object:
    return {"context": value} if isinstance(value, str) else value


class Build(Strict):
    """An image built from the agent's worktree. A bare text means `context`."""

    context: Inside = "."
    """Folder of the build, relative to the top of the worktree."""
    dockerfile: Inside = "Dockerfile"
    """Relative to the context."""
    target: str = ""
    """Stage to build; without it the last one."""
    args: Pairs = Field(default_factory=dict)
    """Build arguments. They can be read in the image: no place for secrets."""


def _mount(value: object) -> object:
    """`name:/path`, `./folder:/path`, `/path`, each with `:ro` or `:rw` at the end."""
    if not isinstance(value, str):
        return value
    parts = value.split(":")
    mode = parts.pop() if len(parts) > 1 and parts[-1] in ("ro", "rw") else "rw"
    if len(parts) > 2:
        raise ValueError(f"{value!r} is not SOURCE:/TARGET or SOURCE:/TARGET:ro")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    return {"type": kind, "source": source, "target": target, "read_only": mode == "ro"}


def _within(source: str) -> str:
    """A path of the host below the worktree, without `./`."""
    kept = [part for part in source.split("/") if part not in ("", ".")]
    if ".." in kept:
        raise ValueError(
            f"{source!r} leads out of the worktree; mount what is in it, or name a volume to keep data in"
        )
    if source.startswith("~"):
        raise ValueError(f"{source!r}: write the folder in full, or relative to the worktree")
    return "/" * source.startswith("/") + "/".join(kept) or "."


class Mount(Strict):
    """A volume, a folder of the worktree, or a tmpfs. Short: `name:/path`, `./folder:/path`, each with `:ro` to forbid writing."""

    type: Literal["volume", "bind", "tmpfs"] = "volume"
    """`volume` is kept by the engine, `bind` is a file or folder of the worktree, `tmpfs` is memory."""
    source: str = ""
    """Name of the volume (without it a nameless one, gone with the container), or the path for `bind`."""
    target: Absolute
    """Absolute path inside the container."""
    read_only: Flag = False
    """Forbid writing."""
    size: Annotated[Size, Field(ge=4096)] | None = None
    """For `tmpfs`: how large it may grow."""

    @model_validator(mode="after")
    def _agrees(self) -> Mount:
        if self.type == "bind" and not self.source:
            raise ValueError("a bind needs 'source': a file or folder of the worktree")
        if self.type == "bind":
            _within(self.source)
        if (
            self.type == "volume"
            and self.source
            and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", self.source)
        ):
            raise ValueError(f"{self.source!r} is not a volume's name; a folder begins with './'")
        if self.type == "tmpfs" and self.source:
            raise ValueError("a tmpfs has no 'source'")
        if self.type != "tmpfs" and self.size is not None:
            raise ValueError("'size' is for tmpfs")
        return self

    @property
    def path(self) -> str:
        """The source of a bind in its plain form."""
        return _within(self.source)


class Attachment(Strict):
    """How a container is attached to a network."""

    aliases: tuple[HostName, ...] = ()
    """Further names of the container."""


def _networks(value: object) -> object:
    if not isinstance(value, list):
        return value
    if not all(isinstance(name, str) for name in value):
        raise ValueError("a list has names only; what comes with a value is `NAME: VALUE`")
    return {name: {} for name in value}


def _capability(value: str) -> str:
    name = value.upper().removeprefix("CAP_")
    if not re.fullmatch(r"[A-Z][A-Z_]*", name):
        raise ValueError(f"{value!r} is not a capability such as NET_ADMIN")
    return name


Capabilities = tuple[Annotated[str, AfterValidator(_capability)], ...]


def _hosts(value: object) -> object:
    """A list of `name:address` is accepted, too."""
    if not isinstance(value, list):
        return value
    pairs = [re.split(r"[:=]", str(entry), maxsplit=1) for entry in value]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError("entries are NAME:ADDRESS")
    return dict(pairs)


def _labels(value: dict[str, str]) -> dict[str, str]:
    if any(name.startswith("envmgr.") for name in value):
        raise ValueError("labels that begin with 'envmgr.' belong to envmgr")
    return value


def _entrypoint(value: object) -> str | tuple[str, ...]:
    return () if value == [] else command(value)


EntryPoint = Annotated[str | tuple[str, ...], PlainValidator(_entrypoint), WithJsonSchema(_STRINGS)]


class ContainerKeys(Strict):
    """Keys of a service that runs in a container."""

    image: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\s-]\S*$")] | None = None
    """Image to run; with `build` a tag for what is built. A service with `image` or `build` runs in a container."""
    build: Annotated[Build, BeforeValidator(_build, json_schema_input_type=Build | str)] | None = None
    """Build the image from the worktree; a bare text is the folder."""
    entrypoint: EntryPoint | None = None
    """Instead of the image's entry point; an empty list removes it."""
    volumes: tuple[Annotated[Mount, BeforeValidator(_mount, json_schema_input_type=Mount | str)], ...] = ()
    """What is mounted. A named volume is the agent's own, unless `volumes` at the top shares it."""
    user: str = ""
    """User, or `uid:gid`, inside the container."""
    networks: Annotated[
        dict[Slug, Attachment],
        BeforeValidator(_networks, json_schema_input_type=dict[Slug, Attachment] | list[str]),
    ] = Field(default_factory=dict)
    """The agent's networks it is attached to, by name; without it `default`. Services of a network find each other by service name."""
    aliases: tuple[HostName, ...] = ()
    """Further names under which other containers find it, besides the service's name."""
    hostname: HostName | None = None
    """Its own idea of its name."""
    workdir: Absolute | None = None
    """Working directory inside; without it the image's."""
    tmpfs: Annotated[
        tuple[Absolute, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
    ] = ()
    """Paths inside that are kept in memory."""
    init: Flag = False
    """Run a small init as process 1 that forwards signals and reaps."""
    read_only: Flag = False
    """Mount the image's files read-only."""
    shm_size: Annotated[Size, Field(ge=4096)] | None = None
    """Size of `/dev/shm`."""
    cap_add: Capabilities = ()
    """Linux capabilities to add."""
    cap_drop: Capabilities = ()
    """Linux capabilities to drop; `ALL` for all."""
    extra_hosts: Annotated[Pairs, BeforeValidator(_hosts, json_schema_input_type=Pairs | list[str])] = Field(
        default_factory=dict
    )
    """Host names and their addresses, for its `/etc/hosts`; `host-gateway` stands for this machine."""
    sysctls: Pairs = Field(default_factory=dict)
    """Kernel parameters of its namespaces."""
    labels: Annotated[Pairs, AfterValidator(_labels)] = Field(default_factory=dict)
    """Labels of the container."""
    platform: str = ""
    """Such as `linux/amd64`; without it the engine's."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When the image is fetched."""


class SeedKeys(Strict):
    """How a new, empty volume is filled before its first user starts: from a snapshot, or by a script."""

    snapshot: str = ""
    """Name or number of a snapshot; its volume of the same name is copied."""
    script: Command | None = None
    """Runs once in a container, in `/seed`, which is the volume; the worktree is at `/worktree`, read-only."""
    image: str = ""
    """For `script`; without it the image of the first service that mounts the volume."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 600.0
    """Time it may take."""

    @model_validator(mode="after")
    def _one(self) -> SeedKeys:
        if bool(self.snapshot) == (self.script is not None):
            raise ValueError("needs exactly one of snapshot, script")
        if self.snapshot and self.image:
            raise ValueError("'image' goes with 'script'")
        return self


class Volume(Strict):
    """A named volume. Volumes that services name need not stand here; it is the place to share or fill one."""

    scope: Literal["agent", "shared"] = "agent"
    """`agent`: each agent has its own; `shared`: all agents of the repository use one."""
    seed: SeedKeys | None = None
    """How it is filled when it is new."""
