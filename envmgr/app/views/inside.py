"""Ways into an agent: its terminal, environment, addresses, logs."""

from __future__ import annotations

from pydantic import Field

from envmgr.app.shapes import View


class AttachView(View):
    """How to get into the agent's terminal."""

    argv: list[str]
    identify: list[str] = Field(description="Prints the same line for as long as that session exists")
    name: str
    notes: list[str] = Field(
        default=[], description="What the template's hooks had to say; shown in the terminal"
    )


class EnvView(View):
    """The agent's environment."""

    name: str
    worktree: str
    env: dict[str, str]
    container: str = Field(default="", description="Where a command is to run; empty for the host")
    engine: dict[str, str] = Field(
        default={}, description="Environment by which docker finds the container's engine"
    )


class UrlView(View):
    """Addresses of an agent's services."""

    name: str
    urls: dict[str, str]


class LogLine(View):
    """A piece of a service's output."""

    service: str
    text: str
