"""What a template may say about the AI program. The names are the keys."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from envmgr.config.fields import Command, Duration, Env, Signal, Strict, Strings
from envmgr.config.templates.service_schema import Edges
from envmgr.model.principal import Scope


class AgentStop(Strict):
    """How the assistant is ended: keys, then signal to all its processes, grace, then KILL."""

    keys: Strings = ()
    """tmux key names to send first, such as `C-c`."""
    signal: Signal = "SIGTERM"
    """Signal that asks it to end."""
    grace: Duration = 15.0
    """Time between asking and forcing."""


class AgentReady(Strict):
    """When the assistant counts as started."""

    timeout: Annotated[Duration, Field(ge=0.01)] = 60.0
    """Time until the start has failed."""


_KINDS = ("command", "claude_code", "codex", "gemini", "opencode")
_SCOPES = ("*", *Scope)


def _kind(value: str) -> str:
    name = {"claude": "claude_code", "custom": "command"}.get(value, value)
    if name not in _KINDS:
        raise ValueError(f"{value!r} is not an assistant; use {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
    return name


def _scopes(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in _SCOPES:
            raise ValueError(f"{name!r} is not a scope; use {', '.join(_SCOPES)}")
    return names


def _given(value: object) -> object:
    """A param that was left empty says nothing."""
    return None if value == "" else value


class Agent(Strict):
    """The AI program."""

    later: ClassVar = frozenset({"idle"})

    kind: Annotated[str, AfterValidator(_kind), WithJsonSchema({"enum": [*_KINDS, "claude"]})] = "command"
    """`command` runs any program, `claude_code` (also written `claude`) the Claude Code CLI; `codex`, `gemini`, `opencode`."""
    command: Annotated[Command | None, BeforeValidator(_given)] = None
    """What `command` runs, without it your shell; for other kinds another executable than theirs."""
    model: Annotated[str | None, BeforeValidator(_given)] = None
    """Model to ask for."""
    args: tuple[str, ...] = ()
    """More arguments."""
    prompt: Annotated[str | None, BeforeValidator(_given)] = None
    """First prompt; `--prompt` comes before it."""
    prompt_file: str | None = None
    """File with the first prompt, relative to the repository; taken as it is, without references."""
    env: Env = Field(default_factory=dict)
    """Variables of the assistant."""
    depends_on: Edges = Field(default_factory=dict)
    """Services that come first; a list of names will do."""
    resume: Literal["auto", "never"] = "auto"
    """`auto`: started again, it goes on with its own conversation, if it is one that can. `never`: with a new one."""
    stop: AgentStop = AgentStop()
    """How it is ended."""
    ready: AgentReady = AgentReady()
    """When it counts as started."""
    permission_mode: Annotated[str | None, BeforeValidator(_given)] = None
    """Passed to assistants that know one, such as `acceptEdits`."""
    capabilities: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    """What it can be given to do, in your own words, such as `python` or `review`; others find it by them, and tasks may ask for them."""
    tools: Literal["compact", "all", "off"] = "compact"
    """Which of envmgr's tools it gets over MCP: some twenty for working together, all of them, or none."""
    scopes: Annotated[tuple[str, ...] | None, AfterValidator(lambda names: names and _scopes(names))] = None
    """What its key is good for: `read`, `operate`, `destroy`, `admin`, `locks`, `work`, `handoffs`, `sessions`, `memory`, `audit`, or `*` for all. Without it: all but `operate`, `destroy` and `admin`."""
