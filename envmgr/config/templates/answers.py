"""What one spawn says, and what a template becomes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.config.nodes import Table
from envmgr.config.templates import params as inputs
from envmgr.config.templates.schema import Document
from envmgr.model.spec import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one spawn says.

    Attributes:
        repo: Top of the main checkout.
        name: The agent's name.
        slug: The name in the form that branches and paths allow.
        params: As given, text.
        environment: Variables of the person who spawns; secret values in it go nowhere.
        prompt: Comes before the template's.
        profiles: Chosen ones.
    """

    repo: Path
    name: str
    slug: str
    params: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    branch: str | None = None
    prompt: str | None = None
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The filled tree, what was made from it, and the env files that were read for it."""

    tree: Table
    document: Document
    params: Mapping[str, inputs.Value]
    env: Mapping[str, str]
    inherited: tuple[str, ...]
    secrets: tuple[SecretRef, ...]
    files: tuple[Path, ...] = ()
