"""Services as a template resolves to them: what to run, when it is ready, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from envmgr.model.container import ContainerSpec, Scope
from envmgr.model.probe import Liveness, Readiness, Startup


class ServiceKind(StrEnum):
    """How a service comes to be. A task runs in a container when the service has one, else as a process.

    `balancer` and `group` are never written in a template: `core.replicas` makes one of them for each replicated service,
    under the service's own name, in front of its instances (`group` when it has no ports).
    """

    PROCESS = "process"
    CONTAINER = "container"
    TASK = "task"
    EXTERNAL = "external"
    BALANCER = "balancer"
    GROUP = "group"


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
class StopPolicy:
    """How to end a process: hook command, signal to its whole process set, grace, then KILL.

    Attributes:
        keys: tmux names of keys that are typed at its terminal before the signal, which then comes after half of the grace.
    """

    signal: str = "SIGTERM"
    grace_s: float = 10.0
    command: str | tuple[str, ...] | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """Size at which a log file is rotated and how many old ones are kept.

    Attributes:
        quiet: Shown only to who asks for this service by name.
    """

    max_bytes: int = 10_000_000
    keep: int = 5
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port a service needs.

    Attributes:
        name: Unique within the service.
        prefer: Port to take if it is free.
        fixed: Fail instead of taking another one than `prefer`.
        env: Variable that carries the number; besides `<SERVICE>_<NAME>_PORT`.
        number: For external services: where it already listens.
        container: For containers: the port inside, published at the leased one on `bind`.
        protocol: `tcp` or `udp`.
        bind: Address it is published on; empty for the pool's.
        open: Whether people want it in a browser; `show` names its URL first.
        listen: Opened before the service and handed to it; stays open while it is started again (sd_listen_fds(3)).
    """

    name: str
    prefer: int | None = None
    fixed: bool = False
    env: str | None = None
    number: int | None = None
    container: int | None = None
    protocol: str = "tcp"
    bind: str = ""
    open: bool = False
    listen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """An edge: wait for `service` to reach `condition` before starting.

    Attributes:
        required: False means warn and go on when it fails.
        timeout_s: Seconds to wait; None means the dependency's start deadline + 30 s.
        restart: Restart the dependant, too, when the dependency was restarted or recreated.
    """

    service: str
    condition: Condition
    required: bool = True
    timeout_s: float | None = None
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What a service may use; None leaves the inherited value. How it is enforced depends on the tier (ADR 0027).

    Attributes:
        cpus: Processors, such as 1.5.
        nofile, nice: Of processes only.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    nofile: int | None = None
    pids: int | None = None
    nice: int | None = None


class RestartWhen(StrEnum):
    """Which ends of a service are followed by a restart. A stop that was asked for never is."""

    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` in any `window_s` seconds."""

    count: int
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When and how often a service that ended is started again.

    The n-th delay is `min(max_s, initial_s * factor ** n) * (1 + U[0, jitter])`; n starts anew after `reset_after_s`
    seconds of unbroken readiness. More than `budget` or `flap` restarts in their windows: it stays down.
    """

    when: RestartWhen = RestartWhen.ON_FAILURE
    initial_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.25
    budget: Rate = Rate(count=5, window_s=600.0)
    flap: Rate = Rate(count=12, window_s=3600.0)
    reset_after_s: float = 60.0


class ChangeAction(StrEnum):
    """What follows when something a service uses has changed."""

    NONE = "none"
    SIGNAL = "signal"
    EXEC = "exec"
    RESTART = "restart"
    RECREATE = "recreate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """An action and what it needs.

    Attributes:
        signal: For `signal`.
        command: For `exec`: run in the service's environment (in its container, if it has one).
    """

    action: ChangeAction
    signal: str = "SIGHUP"
    command: str | tuple[str, ...] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSpec:
    """Files whose change a service follows.

    Attributes:
        paths: Files and folders, relative to the worktree.
        include, exclude: Globs below them; without `include` everything counts.
        cascade: Whether dependants restart, too.
    """

    paths: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    reaction: Reaction = Reaction(action=ChangeAction.RESTART)
    cascade: bool = False
    debounce_s: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWhen:
    """A task is skipped when it has succeeded before on the same content.

    Attributes:
        changed: Globs of files of the worktree.
        env: Variables of the task.
    """

    changed: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """What a shared service does for each agent that joins or leaves; run in its container or on the host.

    Attributes:
        create: Such as `createdb ${agent.slug}`; run before the agent's dependants start, must bear repetition.
        drop: Run when the agent is removed.
    """

    create: str | tuple[str, ...] = ""
    drop: str | tuple[str, ...] = ""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service. Strings may still hold `${ports.NAME}`-like references until ports are leased.

    Attributes:
        command: A string runs with `shell -c`; a tuple is executed as it is. Empty for external.
        cwd: Relative to the worktree.
        exports: Variables given to every dependant and to the assistant.
        timeout_s: Seconds a task may take.
        critical: Whether its loss degrades the whole agent.
        container: Set when it runs in the container engine.
        replicas: How many instances, 1 to 10; None: one, that was not asked to be scalable.
        replica_of, index: Set on the instances that `core.replicas` makes of a replicated service.
        scope: Shared services run once for all agents of the repository.
        tty: It has a terminal instead of pipes.
        stdin: Its standard input stays open.
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
    startup: Startup | None = None
    live: Liveness | None = None
    exports: Mapping[str, str] = field(default_factory=dict)
    stop: StopPolicy = StopPolicy()
    logs: LogPolicy = LogPolicy()
    limits: ProcessLimits = ProcessLimits()
    success_exit_codes: tuple[int, ...] = (0,)
    timeout_s: float = 600.0
    critical: bool = True
    description: str = ""
    container: ContainerSpec | None = None
    replicas: int | None = None
    replica_of: str = ""
    index: int = 0
    scope: Scope = Scope.AGENT
    tenant: Tenant | None = None
    run_when: RunWhen | None = None
    restart: RestartPolicy | None = None
    fatal_exit_codes: tuple[int, ...] = (78, 126, 127)
    watch: tuple[WatchSpec, ...] = ()
    on_env_change: Reaction = Reaction(action=ChangeAction.RESTART)
    profiles: tuple[str, ...] = ()
    tty: bool = False
    stdin: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether one instance serves all agents of the repository."""
        return self.scope is Scope.SHARED and self.kind in (ServiceKind.PROCESS, ServiceKind.CONTAINER)
