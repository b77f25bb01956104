"""What to spawn: a template after params, defaults and inheritance are resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from envmgr.model.container import VolumeSpec
from envmgr.model.recovery import RecoveryPolicy
from envmgr.model.service import Dependency, ProcessLimits, ServiceSpec, StopPolicy


class SecretSource(StrEnum):
    """Where a secret's value comes from, at the moment it is needed."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """A reference, never a value.

    Attributes:
        key: Variable name in the spawning person's environment, file path or command line.
        ttl_s: How long the output of a command may be used again; 0: each time it is run.
    """

    name: str
    source: SecretSource
    key: str
    ttl_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommand:
    """A command of a hook or of the workspace set-up, run in the worktree.

    Attributes:
        inside: Service in whose container it runs; empty for this machine.
    """

    command: str | tuple[str, ...]
    timeout_s: float = 600.0
    inside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSpec:
    """The agent's files.

    Attributes:
        base: Commit-ish the branch starts from.
        branch: Branch to create; must not exist.
        copy: Globs of git-ignored files to copy from the main checkout.
        cache: Globs of git-ignored folders of which the worktree gets copies of its own.
        link: Globs of git-ignored files and folders of the main checkout that the worktree leads to.
        submodules: Whether to initialise submodules.
        relative_paths: Whether git's worktree pointers are relative, where git can (2.48).
    """

    base: str = "HEAD"
    branch: str = ""
    copy: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    setup: tuple[TaskCommand, ...] = ()
    submodules: bool = True
    relative_paths: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantSpec:
    """The AI program of the agent.

    Attributes:
        kind: `command`, `claude_code`, ...
        command: Program for `command`; for the others an override of the executable.
        prompt: First prompt, delivered when the assistant is ready.
        keys: tmux key names sent first when stopping, before the signal.
        resume: `auto`: started again, it goes on with its conversation, where it can; `never`.
        capabilities: What it can be given to do.
        tools: Which of envmgr's MCP tools it gets: `compact`, `all`, or `off`.
        scopes: What its key is good for; None: what agents' keys are good for.
    """

    kind: str = "command"
    command: str | tuple[str, ...] = ""
    model: str | None = None
    args: tuple[str, ...] = ()
    prompt: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[Dependency, ...] = ()
    stop: StopPolicy = StopPolicy(grace_s=15.0)
    keys: tuple[str, ...] = ()
    ready_s: float = 60.0
    permission_mode: str | None = None
    resume: str = "auto"
    capabilities: tuple[str, ...] = ()
    tools: str = "compact"
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Commands around an agent's life, run in its worktree with its environment."""

    on_create: tuple[TaskCommand, ...] = ()
    on_start: tuple[TaskCommand, ...] = ()
    on_attach: tuple[TaskCommand, ...] = ()
    pre_stop: tuple[TaskCommand, ...] = ()
    post_stop: tuple[TaskCommand, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Whether the agent gets tasks of its repository's queue by itself.

    Attributes:
        mode: `auto`: whenever it is idle; `off`.
        types: Only tasks of these types; empty for all.
        checks: Run in the worktree when a turn ends; all must pass before the task counts as done.
        rounds: How often the assistant is asked to mend what a check found before the attempt has failed.
    """

    mode: str = "off"
    types: tuple[str, ...] = ()
    checks: tuple[TaskCommand, ...] = ()
    rounds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsPolicy:
    """Pool and block size; bounds of the pool are inclusive."""

    first: int = 20000
    last: int = 29999
    block: int = 20
    bind: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the whole agent. `memory_bytes` is what admission reserves; to use more is remarked."""

    memory_bytes: int | None = None
    process: ProcessLimits = ProcessLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What becomes of things when the agent stops.

    Attributes:
        worktree: `keep`, or `remove-if-clean`.
        volumes: `keep` until the agent is removed, or `remove` at each stop.
        after_stop_s: Seconds after which a stopped agent that holds nothing to lose is removed; None: never.
    """

    worktree: str = "keep"
    volumes: str = "keep"
    after_stop_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The snapshot an agent begins from, for forks: files with uncommitted work, and volumes instead of their seeds.

    Attributes:
        agent: Name that the agent had whose state it is.
    """

    snapshot: int
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A number of instances that a person asked for, and the one that the template said then."""

    count: int
    template: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """Limits that a recovery has raised for a service, and those that the template said then."""

    limits: ProcessLimits
    template: ProcessLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the person said at the spawn, and since; the template is resolved with the same words when it has changed.

    Attributes:
        template: Name or path as given.
        environment: Variables of theirs that the agent inherits or the template used.
        unset: Variables that the template asked for and they did not have.
        scaled: By service.
        raised: By service.
    """

    template: str
    params: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    scaled: Mapping[str, Scaled] = field(default_factory=dict)
    raised: Mapping[str, Raised] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """Everything needed to spawn one agent, except ports and secret values.

    JSON-able, and stored; therefore it never holds a secret's value.

    Attributes:
        template: Name of the template.
        source: Where the template was found, for `why` and `show`.
        repo: Absolute path of the main checkout.
        env: Base environment, template env and env files merged, lowest precedence first.
        inherited: Names in `env` whose values are the spawning person's own, such as PATH; containers do not get them.
        profiles: Profiles that were chosen at spawn.
        files: Every file the template was made from (itself, parents, imports, env files), absolute; watched for changes.
        origin: For forks.
        asked: None for agents of older versions.
        shared_daemons: Globs over command lines of programs that whoever needs them first starts, for everybody: never reaped.
    """

    template: str
    source: str
    repo: str
    name: str
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretRef, ...] = ()
    workspace: WorkspaceSpec = WorkspaceSpec()
    ports: PortsPolicy = PortsPolicy()
    services: tuple[ServiceSpec, ...] = ()
    assistant: AssistantSpec = AssistantSpec()
    hooks: Hooks = Hooks()
    queue: QueuePolicy = QueuePolicy()
    limits: Limits = Limits()
    retention: Retention = Retention()
    volumes: tuple[VolumeSpec, ...] = ()
    profiles: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    origin: Origin | None = None
    asked: Asked | None = None
    inherited: tuple[str, ...] = ()
    recovery: RecoveryPolicy = RecoveryPolicy()
    shared_daemons: tuple[str, ...] = ()
