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
class ImportFinding:
    """Something of an imported file that comes out otherwise than it was said there.

    Attributes:
        severity: `changed` (still works), `dropped` or `unsupported`.
        key: Where in the imported file, dotted.
        service: Service of the template it is about; empty for the file as a whole.
    """

    file: str
    line: int
    column: int
    severity: str
    key: str
    says: str
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWish:
    """What to import: files of one format, and how.

    Attributes:
        format: Empty to tell it by the file.
        profiles: Their services are part of the template for good.
        services: Only these, with what they depend on.
        name: Of the template; empty to take the file's.
    """

    files: tuple[str, ...]
    format: str = ""
    profiles: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTemplate:
    """A template made from files of another format.

    Attributes:
        path: Where it belongs, absolute.
        is_lossless: Whether nothing was dropped or is unsupported.
    """

    name: str
    format: str
    path: str
    text: str
    findings: tuple[ImportFinding, ...]
    is_lossless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A template that `init` suggests for a repository."""

    path: str
    text: str
    findings: tuple[str, ...]
