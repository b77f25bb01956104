"""What a template may say about a service. The names are the keys; docs/reference/template.md is made from this file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from envmgr.config.fields import (
    Command,
    Count,
    DottedEnv,
    Duration,
    Env,
    EnvName,
    Flag,
    Inside,
    PortNumber,
    Signal,
    Size,
    Slug,
    Strict,
    Strings,
)
from envmgr.config.templates.container_schema import ContainerKeys
from envmgr.config.templates.probe_schema import Check, Live, Ready, Startup
from envmgr.config.templates.running_schema import RunningKeys

_CONDITIONS = ("started", "ready", "completed", "succeeded", "log")
_ALIASES = {
    "service_started": "started",
    "process_started": "started",
    "service_healthy": "ready",
    "process_healthy": "ready",
    "process_completed": "completed",
    "service_completed_successfully": "succeeded",
    "process_completed_successfully": "succeeded",
    "process_log_ready": "log",
}


def _condition(value: str) -> str:
    name = _ALIASES.get(value, value)
    if name not in _CONDITIONS:
        raise ValueError(f"{value!r} is not a condition; use {', '.join(_CONDITIONS)}")
    return name


def _names(value: object) -> object:
    """A list of names is a map to nothing special."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(name, str) for name in value):
        raise ValueError("a list has names only; what comes with a value is `NAME: VALUE`")
    return {name: {} for name in value}


def _port(value: object) -> object:
    return {"prefer": value} if isinstance(value, int | str) else value


class Port(Strict):
    """A port the service needs. A bare number means `prefer`."""

    prefer: PortNumber | None = None
    """Number to take if it is free; otherwise one of the agent's block."""
    fixed: Flag = False
    """Fail instead of taking another number than `prefer`."""
    env: EnvName | None = None
    """Variable that carries the number, besides `<SERVICE>_<NAME>_PORT` and, for a single port, `PORT`."""
    number: PortNumber | None = None
    """For `kind: external`: where it already listens."""
    container: PortNumber | None = None
    """For containers: the port inside, which is published at the leased number. Without it that is the number inside, too, and the
    program finds it in its variable."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """For containers: `tcp` or `udp`."""
    bind: str = ""
    """For containers: address of this machine it is published on; without it the one of `ports`."""
    open: Flag = False
    """People want this one in a browser: `envmgr show` names its URL first."""
    listen: Flag = False
    """Open it before the process starts and hand it over as `LISTEN_FDS` (sd_listen_fds(3)). It stays open while the process is
    started again: connections wait meanwhile, and nobody else can take it. A command line begins with `exec` then."""


class Stop(Strict):
    """How a process is ended: command, then signal to all its processes, grace, then KILL."""

    later: ClassVar = frozenset({"hook"})

    signal: Signal = "SIGTERM"
    """Signal that asks it to end."""
    grace: Duration = 10.0
    """Time between asking and forcing."""
    command: Command | None = None
    """Command to run first, in the service's environment."""
    keys: Strings = ()
    """With `tty`: keys to type before the signal, such as `C-c` or `q`; the signal then comes after half of the grace."""


class Logs(Strict):
    """What is kept of the output."""

    later: ClassVar = frozenset({"level_parser"})

    max_size: Annotated[Size, Field(ge=4096)] = 10_000_000
    """Size at which a log file is rotated."""
    keep: Annotated[Count, Field(ge=0, le=100)] = 5
    """Rotated files that are kept."""
    quiet: Flag = False
    """Write it, and show it only to who asks for this service: `envmgr logs` and the services window leave it out."""


class ProcessLimits(Strict):
    """What a process may use; what is not given is inherited."""

    later: ClassVar = frozenset({"disk"})

    memory: Annotated[Size, Field(ge=1_000_000)] | None = None
    """Memory. `envmgr show` tells how it is enforced on this machine."""
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = None
    """Processors, such as 1.5."""
    pids: Annotated[Count, Field(ge=1)] | None = None
    """Processes and threads."""
    nofile: Annotated[Count, Field(ge=16)] | None = None
    """Open files (RLIMIT_NOFILE); processes only."""
    nice: Annotated[int, Field(ge=-20, le=19)] | None = None
    """Priority, higher is more polite; processes only."""


Condition = Annotated[str, AfterValidator(_condition), WithJsonSchema({"enum": [*_CONDITIONS, *_ALIASES]})]


class Edge(Strict):
    """What to wait for."""

    condition: Condition | None = None
    """`started`, `ready`, `log` (ready by a line of its log), `completed` or `succeeded`. Without it: `succeeded` for tasks,
    `ready` with a probe, else `started`."""
    required: Flag = True
    """False: warn and go on when it fails."""
    timeout: Duration | None = None
    """Time to wait; without it the dependency's deadline and 30 seconds."""
    restart: Flag = False
    """Restart, too, when the dependency was restarted or recreated."""


def _edge(value: object) -> object:
    return {"condition": value} if isinstance(value, str) else value


EdgeForm = Annotated[Edge, BeforeValidator(_edge, json_schema_input_type=Edge | Condition)]
Edges = Annotated[
    dict[str, EdgeForm],
    BeforeValidator(_names, json_schema_input_type=dict[str, EdgeForm] | list[str]),
]


PortForm = Annotated[Port, BeforeValidator(_port, json_schema_input_type=Port | PortNumber)]


class Basics(Strict):
    """Keys of every service."""

    kind: Literal["process", "container", "task", "external"] = "process"
    """`process` and `container` run as long as the agent, `task` runs to its end, `external` is only looked at. Without it a
    service with `image` or `build` is a container."""
    description: str = ""
    """A sentence for people."""
    command: Command | None = None
    """A line for the shell, or a list of words to execute. In a container no shell is involved: a line is split into words."""
    shell: str = "/bin/sh"
    """Shell for command lines; called with `-c`."""
    cwd: Inside = "."
    """Working directory, relative to the top of the worktree."""
    env: DottedEnv = Field(default_factory=dict)
    """Variables of this service."""
    env_file: Strings = ()
    """Files with NAME=value lines, relative to the repository; `env` comes after them."""
    ports: Annotated[
        dict[Slug, PortForm],
        BeforeValidator(_names, json_schema_input_type=dict[Slug, PortForm] | list[str]),
    ] = Field(default_factory=dict)
    """Ports it needs, by name; a list of names will do."""
    depends_on: Edges = Field(default_factory=dict)
    """Services that come first; a list of names will do."""
    startup: Startup | None = None
    """How to tell that it has started, where that takes long: `ready` and `live` are looked at only afterwards. Also written
    `startup_probe`."""
    ready: Ready | None = None
    """How to tell that it is ready. Also written `readiness_probe` or `healthcheck`."""
    live: Live | None = None
    """How to tell that it still works: when not, it is ended and started again, as `restart` says. Also written `liveness_probe`."""
    exports: Env = Field(default_factory=dict)
    """Variables for everything that depends on it and for the assistant."""
    stop: Stop = Stop()
    """How it is ended."""
    logs: Logs = Logs()
    """What is kept of its output."""
    limits: ProcessLimits = ProcessLimits()
    """What it may use."""
    success_exit_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = (0,)
    """Exit codes of a task that count as success."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 600.0
    """Time a task may take."""
    critical: Flag = True
    """False: losing it is only remarked, the agent does not count as degraded."""
    disabled: Flag = False
    """Leave this service out."""


class Service(RunningKeys, ContainerKeys, Basics):
    """Something the agent's work needs running."""

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, said: object) -> object:
        if isinstance(said, dict) and "kind" not in said and ("image" in said or "build" in said):
            return {**said, "kind": "container"}
        return said

    @property
    def looks(self) -> dict[str, Check]:
        """Its probes by their keys."""
        found = {"startup": self.startup, "ready": self.ready, "live": self.live}
        return {key: check for key, check in found.items() if check is not None}

    @property
    def in_container(self) -> bool:
        """Whether it runs in the container engine."""
        return self.image is not None or self.build is not None
