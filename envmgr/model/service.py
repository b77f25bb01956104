"""Services as a template resolves to them: what to run, when it is ready, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ServiceKind(StrEnum):
    """How a service comes to be."""

    PROCESS = "process"
    TASK = "task"
    EXTERNAL = "external"


class Condition(StrEnum):
    """What a dependant waits for."""

    STARTED = "started"
    READY = "ready"
    COMPLETED = "completed"
    SUCCEEDED = "succeeded"


class ServiceState(StrEnum):
    """Where a service is in its life, as last observed."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """GET an address; ready when the status is accepted (and the body matches).

    Attributes:
        port: Name of one of the service's ports, or a number as text (external services).
        status: Accepted status codes; empty means 200-399.
        body: Regular expression searched in the first 64 KiB of the body.
    """

    port: str
    path: str = "/"
    host: str = "127.0.0.1"
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = ()
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """Connect to a port."""

    port: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecProbe:
    """Run a command in the service's environment; ready when it exits with 0."""

    command: str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProbe:
    """Wait for a line of this launch's output that matches a regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """Ready when one is."""

    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Ready when all are."""

    probes: tuple[Probe, ...]


Probe = HttpProbe | TcpProbe | ExecProbe | LogProbe | AnyOf | AllOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How to tell that a service is ready.

    Attributes:
        probe: What to look at.
        period_s: Seconds between attempts once ready; before that attempts come faster.
        timeout_s: Seconds one attempt may take.
        up: Successes in a row until ready.
        down: Failures in a row until a ready service counts as lost.
        initial_s: Seconds after launch before the first attempt.
        deadline_s: Seconds after launch until the start has failed.
        owner: Whether a listener of another process fails the probe (http and tcp).
    """

    probe: Probe
    period_s: float = 10.0
    timeout_s: float = 2.0
    up: int = 1
    down: int = 3
    initial_s: float = 0.0
    deadline_s: float = 60.0
    owner: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPolicy:
    """How to end a process: hook command, signal to its whole process set, grace, then KILL."""

    signal: str = "SIGTERM"
    grace_s: float = 10.0
    command: str | tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """Size at which a log file is rotated and how many old ones are kept."""

    max_bytes: int = 10_000_000
    keep: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port a service needs.

    Attributes:
        name: Unique within the service.
        prefer: Port to take if it is free.
        fixed: Fail instead of taking another one than `prefer`.
        env: Variable that carries the number; besides `<SERVICE>_<NAME>_PORT`.
        number: For external services: where it already listens.
    """

    name: str
    prefer: int | None = None
    fixed: bool = False
    env: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """An edge: wait for `service` to reach `condition` before starting.

    Attributes:
        required: False means warn and go on when it fails.
        timeout_s: Seconds to wait; None means the dependency's start deadline + 30 s.
    """

    service: str
    condition: Condition
    required: bool = True
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """rlimits and priority a process is started with; None leaves the inherited value."""

    memory_bytes: int | None = None
    nofile: int | None = None
    pids: int | None = None
    nice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service. Strings may still hold `${ports.NAME}`-like references until ports are leased.

    Attributes:
        command: A string runs with `shell -c`; a tuple is executed as it is. Empty for external.
        cwd: Relative to the worktree.
        exports: Variables given to every dependant and to the assistant.
        timeout_s: Seconds a task may take.
        critical: Whether its loss degrades the whole agent.
    """

    name: str
    kind: ServiceKind
    command: str | tuple[str, ...] = ""
    shell: str = "/bin/sh"
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    ready: Readiness | None = None
    exports: Mapping[str, str] = field(default_factory=dict)
    stop: StopPolicy = StopPolicy()
    logs: LogPolicy = LogPolicy()
    limits: ProcessLimits = ProcessLimits()
    success_exit_codes: tuple[int, ...] = (0,)
    timeout_s: float = 600.0
    critical: bool = True
    description: str = ""
