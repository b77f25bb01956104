"""Templates as they are listed, checked and explained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEntry:
    """A template that can be spawned by name.

    Attributes:
        origin: `repository`, `user` or `built-in`.
        is_shadowed: One of the same name is found earlier.
    """

    name: str
    origin: str
    path: str
    description: str = ""
    is_shadowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong (or doubtful) in a template; lines and columns count from 1, 0 means the whole file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One resolved field and where its value comes from."""

    path: str
    value: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A template that `init` suggests for a repository."""

    path: str
    text: str
    findings: tuple[str, ...]
