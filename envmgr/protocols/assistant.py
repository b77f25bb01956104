"""Assistants: what one agent CLI needs, how it starts, and how it says what it is doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec

PENDING = "hooks.pending.jsonl"
"""File in the agent's home that keeps reports the daemon did not take, one JSON object per line.

Like the body of a live report, with `at`, the Unix time of the call. At most 1 MB; later reports are dropped.
"""


KEY_VARIABLE = "ENVMGR_AGENT_KEY"
"""Has the agent's key: in the environment of its assistant, and of nothing else."""

LISTED_VARIABLE = "ENVMGR_MCP_LISTED"
"""Names the file that the MCP server makes once the assistant has asked for its tools."""

IDENTITY = (KEY_VARIABLE, "ENVMGR_STATE_DIR", LISTED_VARIABLE)
"""Variables that the MCP server needs: by them it finds the daemon, and is the agent."""

TOOLS_VARIABLE = "ENVMGR_MCP_COMMAND"
"""Command line of the agent's MCP server, for assistants that envmgr does not know how to configure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an assistant is to run.

    Attributes:
        worktree: Its working directory (resolved).
        home: The agent's private folder (0700) for configuration that must not be in the worktree.
        env: The environment it will get, secrets included.
        hook_command: argv prefix that reports a hook's JSON (stdin) to the daemon; the hook's name is appended.
        conversation: Id of the conversation to go on with, or to begin; empty: any new one.
        handoff: File with what it should know from the start, when it comes back after a respawn.
        tools_command: argv of envmgr's MCP server on stdio, which needs the variables `IDENTITY`; empty: it gets none.
    """

    worktree: Path
    home: Path
    env: Mapping[str, str]
    hook_command: Sequence[str]
    conversation: str = ""
    handoff: Path | None = None
    tools_command: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What to execute. `env` is added to the place's."""

    argv: Sequence[str]
    env: Mapping[str, str]


class Listens(StrEnum):
    """When what a hook prints goes to the model."""

    TURN = "turn"
    """At the beginning of a turn."""
    TOOL = "tool"
    """In the middle of one, behind what a tool has said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A hook call, understood: what the assistant is doing now, or nothing new (None).

    Attributes:
        conversation: Id of the conversation it is in, when that may have changed.
        prompt: It has taken this prompt, and works on it from now on.
        compacts: It is about to shorten its conversation.
        listens: What this hook prints, `{"hookSpecificOutput": {"hookEventName": ..., "additionalContext": ...}}`, goes to the
            model; None if it does not, or nobody has seen that it does.
        ends_turn: It has done what the last prompt asked, or given it up.
        finishes: It says itself that it has done it.
        fails: Why it could not go on, as it says, such as an error of the model's API.
    """

    activity: Activity | None
    detail: str
    conversation: str = ""
    prompt: str = ""
    ends_turn: bool = False
    finishes: bool = False
    fails: str = ""
    compacts: bool = False
    listens: Listens | None = None


class Assistant(Protocol):
    """Stateless; one instance serves all agents of its kind."""

    kind: ClassVar[str]
    reports: ClassVar[bool]
    """Whether hooks report its activity; if not, the screen and the process are all there is."""
    converses: ClassVar[bool]
    """Whether it can go on with a conversation after its end."""
    greets: ClassVar[bool]
    """Whether a hook tells that it has started; if not, its screen does."""
    awaits_tools: ClassVar[bool]
    """Whether its first prompt waits for its MCP servers."""
    pastes_for_s: ClassVar[float]
    """For how long after a paste is shown it takes an Enter for a part of it."""

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        """Path of the executable. Raises Unavailable with how to install it."""

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        """Write its configuration (first-run questions answered for exactly this worktree) and say how to start.

        Blocking, short. May be repeated. Nothing is written into the worktree.
        """

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Take back what `prepare` wrote outside `place.home`; harmless if there is nothing."""

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        """Translate a hook call. Never raises on odd payloads."""

    def read_screen(self, screen: str) -> Report:
        """Guess from the live tail of the screen; used where hooks are silent."""
