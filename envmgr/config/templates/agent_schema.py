"""What a template may say about the AI program. The names are the keys."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from envmgr.config.fields import Command, Duration, Env, Signal, Strict, Strings
from envmgr.config.templates.service_schema import Edges


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


_KINDS = ("command", "claude_code")


def _kind(value: str) -> str:
    name = {"claude": "claude_code", "custom": "command"}.get(value, value)
    if name not in _KINDS:
        raise ValueError(f"{value!r} is not an assistant; use {' or '.join(_KINDS)}")
    return name


def _given(value: object) -> object:
    """A param that was left empty says nothing."""
    return None if value == "" else value


class Agent(Strict):
    """The AI program."""

    later: ClassVar = frozenset({"idle", "tools"})

    kind: Annotated[str, AfterValidator(_kind), WithJsonSchema({"enum": [*_KINDS, "claude"]})] = "command"
    """`command` runs any program, `claude_code` (also written `claude`) the Claude Code CLI."""
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
