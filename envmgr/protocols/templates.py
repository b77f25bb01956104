"""Where templates come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from envmgr.model.spec import AgentSpec
from envmgr.model.template import (
    Explained,
    Finding,
    ImportedTemplate,
    ImportWish,
    Proposal,
    TemplateEntry,
)


class TemplateSource(Protocol):
    """Templates of a repository, of the user, and built in; found in this order. Blocking, quick."""

    def listing(self, repo: Path | None) -> Sequence[TemplateEntry]:
        """All that can be found, shadowed ones marked."""

    def source(self, name: str, repo: Path | None) -> tuple[str, str]:
        """(path, text) of a template by name or path. Raises NotFound with close names."""

    def check(self, name: str, repo: Path | None) -> Sequence[Finding]:
        """Everything wrong with it, warnings included; empty means it can be spawned."""

    def resolve(
        self,
        name: str,
        *,
        repo: Path,
        agent: str,
        params: Mapping[str, str],
        environment: Mapping[str, str],
        base: str | None = None,
        branch: str | None = None,
        prompt: str | None = None,
        profiles: Sequence[str] = (),
    ) -> AgentSpec:
        """What to spawn for an agent of this name.

        Raises:
            NotFound: No such template.
            ConfigError: The template is wrong; file, line and column in the message.
            UsageError: A parameter is unknown, missing or not allowed, or a profile is unknown.
        """

    def resolve_again(self, old: AgentSpec, *, environment: Mapping[str, str]) -> AgentSpec:
        """What the template of an agent says now, with the words of its spawn; branch, prompt and origin stay.

        Args:
            environment: Of the person who asks; for variables that the template did not ask for at the spawn.

        Raises:
            NotFound, ConfigError, UsageError: As `resolve`.
        """

    def explain(self, name: str, repo: Path | None) -> Sequence[Explained]:
        """Each resolved field with its origin."""

    def schema(self) -> Mapping[str, object]:
        """JSON Schema for editors."""

    def imported(self, wish: ImportWish, cwd: Path) -> ImportedTemplate:
        """A template from files of another format (relative to `cwd`); nothing is written.

        Raises:
            NotFound: No such file.
            ConfigError: A file cannot be understood; file and line of everything that is wrong.
            UsageError: The format is unknown or cannot be told.
        """

    def propose(self, repo: Path) -> Proposal:
        """A fitting template for a repository; nothing is written."""
