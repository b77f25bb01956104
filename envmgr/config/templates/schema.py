"""What a template may say. The names are the keys; docs/reference/template.md is made from this file."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from envmgr.config.fields import (
    Command,
    Count,
    Duration,
    Env,
    EnvName,
    EnvText,
    Flag,
    Inside,
    PortNumber,
    Regex,
    Slug,
    Strict,
    Strings,
    Word,
    one_or_many,
)
from envmgr.config.templates.agent_schema import Agent
from envmgr.config.templates.container_schema import Volume, VolumeName
from envmgr.config.templates.probe_schema import LiveTiming, StartupTiming, Timing
from envmgr.config.templates.recovery_schema import Recovery
from envmgr.config.templates.running_schema import Globs, RestartOrWord
from envmgr.config.templates.service_schema import Logs, ProcessLimits, Service, Stop

VERSION = 1


class Param(Strict):
    """An input of spawn: `--param NAME=VALUE`, used as `${params.NAME}`."""

    type: Literal["string", "int", "bool", "enum", "number"] = "string"
    """Kind of value."""
    description: str = ""
    """A sentence for people."""
    default: EnvText | None = None
    """Value if none is given. A param without default must be given, unless `required: false` makes it empty."""
    values: tuple[EnvText, ...] = ()
    """Allowed values of an `enum`."""
    pattern: Regex | None = None
    """Regular expression that the whole value must match."""
    required: bool | None = None
    """Whether it must be given; without a default it must."""


class Secret(Strict):
    """Where a value comes from at the moment it is needed; a bare word means `from`. It is given as a variable and never stored."""

    source: Annotated[Literal["env", "file", "command"], Field(alias="from")]
    """`env`, `file` or `command`."""
    name: EnvName | None = None
    """For `env`: variable of the person who spawns; without it the secret's own name."""
    path: str | None = None
    """For `file`: its path, relative to the repository; the value is its content without the last newline."""
    command: str | None = None
    """For `command`: a line for the shell that prints the value."""
    ttl: Annotated[Duration, Field(gt=0)] | None = None
    """For `command`: how long its output may be used again before it runs anew, in the memory of the daemon only. Without it the
    command runs each time the value is needed: at starts, restarts, `envmgr exec` and for probes that use it."""


def _secret(value: object) -> object:
    return {"from": value} if isinstance(value, str) else value


def _task(value: object) -> object:
    return value if isinstance(value, dict) else {"command": value}


def _tasks(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


class Task(Strict):
    """A command with a time limit. A bare line or list of words means `command`."""

    command: Command
    """A line for the shell, or a list of words to execute."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 600.0
    """Time it may take."""
    inside: str = ""
    """Service in whose container it runs, instead of on this machine."""


TaskForm = Annotated[Task, BeforeValidator(_task, json_schema_input_type=Task | Command)]
Tasks = Annotated[
    tuple[TaskForm, ...], BeforeValidator(_tasks, json_schema_input_type=list[TaskForm] | Task | str)
]


class Workspace(Strict):
    """The agent's git worktree."""

    base: str = "HEAD"
    """Commit, branch or tag that the new branch starts from."""
    branch: str = ""
    """Name of the new branch; without it `agent/${agent.slug}`."""
    copy_: Annotated[
        tuple[Inside, ...],
        BeforeValidator(one_or_many, json_schema_input_type=str | list[str]),
        Field(alias="copy"),
    ] = ()
    """Globs of git-ignored files to copy from the main checkout, such as `.env.local`."""
    cache: Globs = ()
    """Git-ignored folders to clone from the main checkout, such as `node_modules`, so that set-up finds them filled; a bare name
    matches at any depth, and what is missing there is skipped. The worktree's are its own: nothing written there reaches others."""
    link: Globs = ()
    """Git-ignored files and folders to lead to in the main checkout, by symlink: for large things that are only read. Whatever is
    written there, every agent and you share."""
    setup: Tasks = ()
    """Commands to run in the new worktree, in order, before services start."""
    submodules: Flag = True
    """Initialise git submodules."""
    relative_paths: Flag = False
    """Write git's pointers between worktree and repository as relative paths, where git can (2.48)."""


def _range(value: object) -> object:
    found = re.fullmatch(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})", str(value))
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= 65535:
        raise ValueError(f"{str(value)!r} is not a port range such as 20000-29999")
    return (int(found[1]), int(found[2]))


class Ports(Strict):
    """Where the agent's port numbers come from."""

    later: ClassVar = frozenset({"strategy"})

    range: Annotated[
        tuple[PortNumber, PortNumber] | None,
        BeforeValidator(_range),
        WithJsonSchema({"type": "string", "examples": ["20000-29999"]}),
    ] = None
    """Pool, both ends included; without it the host's setting."""
    block: Annotated[Count, Field(ge=1, le=1000)] | None = None
    """Contiguous numbers leased to one agent; without it the host's setting."""
    bind: str | None = None
    """Address that services are told to listen on; without it the host's setting."""


class Defaults(Strict):
    """Merged under every service."""

    startup: StartupTiming = StartupTiming()
    """Timing for services that have a `startup`."""
    ready: Timing = Timing()
    """Timing for services that have a `ready`."""
    live: LiveTiming = LiveTiming()
    """Timing for services that have a `live`."""
    stop: Stop = Stop()
    """As in a service."""
    logs: Logs = Logs()
    """As in a service."""
    limits: ProcessLimits = ProcessLimits()
    """As in a service."""
    restart: RestartOrWord | None = None
    """As in a service; for everything that keeps running."""


def _one_or_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Hooks(Strict):
    """Commands around an agent's life, run in its worktree with its environment."""

    on_create: Tasks = ()
    """Once, after the worktree is made."""
    on_start: Tasks = ()
    """At every start, when services are ready and before the assistant starts."""
    on_attach: Tasks = ()
    """Each time a person attaches, before the terminal opens; a minute each unless 'timeout' says more. What fails is told, and
    keeps nobody out."""
    pre_stop: Tasks = ()
    """Before anything is stopped."""
    post_stop: Tasks = ()
    """After everything is stopped."""


def _queue(value: object) -> object:
    if isinstance(value, bool):
        return {"mode": "auto" if value else "off"}
    return {"mode": value} if isinstance(value, str) else value


class Queue(Strict):
    """Whether the agent is given tasks of the repository's queue. A bare word means `mode`."""

    mode: Literal["off", "auto"] = "auto"
    """`auto`: whenever it is idle it gets the next task that fits; `off`: it takes tasks itself, or none."""
    types: Strings = ()
    """Only tasks of these types; without it all that its `capabilities` allow."""
    checks: Tasks = ()
    """Run in the worktree when the assistant has finished; the task is done when all pass."""
    rounds: Annotated[int, Field(ge=0, le=20)] = 2
    """How often the assistant is asked to mend what a check found; after that the attempt has failed."""


QueueForm = Annotated[Queue, BeforeValidator(_queue, json_schema_input_type=Queue | Literal["off", "auto"])]


class Gc(Strict):
    """What becomes of things when the agent stops."""

    worktree: Literal["keep", "remove-if-clean"] = "keep"
    """`keep`, or `remove-if-clean`: remove it if nothing would be lost."""
    volumes: Literal["keep", "remove"] = "keep"
    """`keep` the agent's volumes until it is removed, or `remove` them at each stop."""
    after_stop: Annotated[Duration, Field(ge=1)] | None = None
    """Remove an agent that has been stopped for so long, if nothing would be lost: no uncommitted or unpushed work, no volumes
    with data. Without it never. `envmgr undo` brings it back."""


def _import(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class Import(Strict):
    """A description in another format that becomes part of the template. A bare text means `path`."""

    format: Literal["", "compose", "devcontainer", "procfile", "process-compose"] = ""
    """Without it told by the file."""
    path: Annotated[Strings, Field(min_length=1)]
    """File, relative to the top of the repository; for compose a list, later ones on top."""
    services: tuple[str, ...] = ()
    """Only these, as the file calls them, with what they depend on; without it all."""
    profiles: tuple[str, ...] = ()
    """Profiles of the file whose services always take part; the others become profiles of the template."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Keys of a template that are merged over what the file says, such as `services: {db: {ready: ...}}`."""


ImportForm = Annotated[Import, BeforeValidator(_import, json_schema_input_type=Import | str)]


class Document(Strict):
    """A template."""

    envmgr: Annotated[Any, WithJsonSchema({"const": VERSION})]
    """Version of this format: 1."""
    name: Slug | None = None
    """Name; without it the name of the file."""
    description: str = ""
    """A sentence for `envmgr template list`."""
    extends: Strings = ()
    """Templates this one builds on, oldest first: a path (relative to this file) or a template name."""
    import_: Annotated[
        tuple[ImportForm, ...],
        BeforeValidator(_one_or_list, json_schema_input_type=list[ImportForm] | ImportForm),
        Field(alias="import"),
    ] = ()
    """Descriptions in other formats; the keys of the template lie on top of them."""
    params: dict[Word, Param] = Field(default_factory=dict)
    """Inputs of spawn."""
    env: Env = Field(default_factory=dict)
    """Variables of everything in the environment."""
    env_file: Strings = ()
    """Files with NAME=value lines, relative to the repository; `env` comes after them."""
    secrets: dict[
        EnvName,
        Annotated[
            Secret,
            BeforeValidator(_secret, json_schema_input_type=Secret | Literal["env", "file", "command"]),
        ],
    ] = Field(default_factory=dict)
    """Variables whose values are fetched late and never stored."""
    workspace: Workspace = Workspace()
    """The agent's git worktree."""
    ports: Ports = Ports()
    """Where port numbers come from."""
    defaults: Defaults = Defaults()
    """Merged under every service."""
    services: dict[Slug, Service] = Field(default_factory=dict)
    """What the agent's work needs running."""
    volumes: dict[VolumeName, Volume] = Field(default_factory=dict)
    """Named volumes that are shared or filled; the others need no entry."""
    profiles: dict[
        Slug,
        Annotated[tuple[Slug, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])],
    ] = Field(default_factory=dict)
    """Services by profile: they are left out unless `envmgr spawn --profile NAME` chooses one of theirs. Adds to `profiles` of a service."""
    agent: Agent
    """The AI program; every template that is spawned has one."""
    hooks: Hooks = Hooks()
    """Commands around the agent's life."""
    queue: QueueForm = Queue(mode="off")
    """Whether the agent is given tasks of the repository's queue when it is idle."""
    limits: ProcessLimits = ProcessLimits()
    """Of the whole agent. Only `memory` counts: it must be free before a spawn starts, and using more is remarked."""
    gc: Gc = Gc()
    """What becomes of things when the agent stops."""
    recovery: Recovery = Recovery()
    """What is done by itself when something fails."""
    shared_daemons: Strings = ()
    """Globs over command lines of programs that the first who needs them starts and that then serve everybody, such as a build
    daemon: the reaper leaves them alone, as it does those it knows (Gradle, watchman, nx, ...)."""
