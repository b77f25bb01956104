"""What a template may say about a service that runs: how many, for whom, when it restarts. The names are the keys."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from envmgr.config import units
from envmgr.config.fields import (
    Command,
    Count,
    Duration,
    EnvName,
    Flag,
    Inside,
    Signal,
    Slug,
    Strict,
    one_or_many,
)
from envmgr.model.service import Rate


def _rate(value: object) -> Rate:
    count, window_s = units.rate(value)
    return Rate(count=count, window_s=window_s)


def _often(rate: Rate) -> str:
    return f"{rate.count}/{units.duration(rate.window_s)}"


Often = Annotated[
    Rate,
    PlainValidator(_rate),
    PlainSerializer(_often, return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"{units.RATE}|\$\{{", "examples": ["5/10m"]}),
]


Globs = Annotated[tuple[Inside, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])]


Policy = Literal["on-failure", "always", "never"]
Action = Literal["none", "signal", "exec", "restart", "recreate"]


class Restart(Strict):
    """When a service that ended is started again. A bare word means `policy`.

    The n-th delay is `initial * factor ** n`, `max` at most, and up to `jitter` of it more by chance.
    """

    policy: Policy = "on-failure"
    """Which ends are followed by a restart; a stop that was asked for never is."""
    initial: Duration = 1.0
    """First delay."""
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Growth of the delay from one restart to the next."""
    max: Duration = 60.0
    """Longest delay."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Part of the delay that is added by chance, so that services do not start in step."""
    budget: Often = Rate(count=5, window_s=600.0)
    """Restarts that are allowed within a time; with one more it stays down."""
    flap: Often = Rate(count=12, window_s=3600.0)
    """The same for slow failures."""
    reset_after: Duration = 60.0
    """Time of unbroken readiness after which delays begin anew."""


def _policy(value: object) -> object:
    return {"policy": value} if isinstance(value, str) else value


RestartOrWord = Annotated[Restart, BeforeValidator(_policy, json_schema_input_type=Restart | Policy)]


class Reaction(Strict):
    """What to do. A bare word means `action`."""

    action: Action = "restart"
    """`none`, `signal`, `exec`, `restart`, or `recreate`: also build the image and make the container anew."""
    signal: Signal = "SIGHUP"
    """For `signal`."""
    command: Command | None = None
    """For `exec`: run in the service's environment, in its container if it has one."""

    @model_validator(mode="after")
    def _agrees(self) -> Reaction:
        if (self.action == "exec") != (self.command is not None):
            raise ValueError("`action: exec` needs 'command', and only that")
        return self


def _action(value: object) -> object:
    return {"action": value} if isinstance(value, str) else value


class Watch(Reaction):
    """Files whose change the service follows. A bare text or a list of texts means `paths`."""

    paths: Annotated[Globs, Field(min_length=1)]
    """Files and folders, relative to the worktree."""
    include: Globs = ()
    """Globs below the paths; without it everything counts."""
    exclude: Globs = ()
    """Globs below the paths that do not count."""
    cascade: Flag = False
    """Restart those that depend on it, too."""
    debounce: Duration = 0.3
    """Quiet time that ends a burst of changes."""


def _watches(value: object) -> object:
    if isinstance(value, str):
        return [{"paths": [value]}]
    if isinstance(value, list) and all(isinstance(path, str) for path in value):
        return [{"paths": value}] if value else []
    return value if isinstance(value, list) else [value]


class RunWhen(Strict):
    """A task is skipped when it succeeded before on the same content, for this agent."""

    changed: Globs = ()
    """Globs of files of the worktree."""
    env: Annotated[
        tuple[EnvName, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
    ] = ()
    """Variables of the task."""


class Tenant(Strict):
    """What a shared service does for each agent; commands run in its container, or on this machine if it has none."""

    create: Command | None = None
    """Before the agent's services start, such as `createdb ${agent.slug}`; it must bear repetition."""
    drop: Command | None = None
    """When the agent is removed."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 60.0
    """Time each may take."""


class RunningKeys(Strict):
    """Keys about a service as it runs."""

    later: ClassVar = frozenset({"on_config_change"})

    replicas: Annotated[Count, Field(ge=1, le=10)] | None = None
    """How many instances run, `api-0`, `api-1`, ..., each with ports of its own, behind one balancer. Without it one, under its own name."""
    scope: Literal["agent", "shared"] = "agent"
    """`shared`: one instance serves all agents of the repository and is stopped after the last one."""
    tenant: Tenant | None = None
    """For `scope: shared`: what is made for each agent."""
    restart: RestartOrWord | None = None
    """When it is started again after it ended; `on-failure` by itself. A task never is, nor is what is external."""
    fatal_exit_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = (78, 126, 127)
    """Exit codes after which a restart would not help."""
    watch: Annotated[
        tuple[Watch, ...], BeforeValidator(_watches, json_schema_input_type=str | Watch | list[str | Watch])
    ] = ()
    """Files whose change it follows."""
    on_env_change: Annotated[Reaction, BeforeValidator(_action, json_schema_input_type=Reaction | Action)] = (
        Reaction(action="restart")
    )
    """What follows when the template gives its running instance other variables."""
    run_when: RunWhen | None = None
    """For tasks: run again only when this has changed."""
    tty: Flag = False
    """Run it at a terminal of its own, 120 columns wide: for programs that behave otherwise without one, such as dev servers that
    end or lose their colours."""
    stdin: Flag = False
    """Keep its standard input open, for programs that end when it ends; nobody writes there."""
    profiles: Annotated[
        tuple[Slug, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
    ] = ()
    """It is left out unless one of these is chosen with `envmgr spawn --profile NAME`."""
