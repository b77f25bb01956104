"""One import: the format is found, its reader called, and the result has what every template needs at its top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmgr.config.importers import graces, procfile
from envmgr.config.importers.compose import reading as compose
from envmgr.config.importers.devcontainer import reading as devcontainer
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.findings import Finding, Report, Severity
from envmgr.config.importers.places import Places
from envmgr.config.importers.process_compose import reading as process_compose
from envmgr.config.importers.request import Request
from envmgr.config.importers.variables import Declared
from envmgr.config.nodes import Table
from envmgr.config.problems import Mark, did_you_mean
from envmgr.errors import UsageError

Reader = Callable[[Request], str]

READERS: dict[str, Reader] = {
    "compose": compose.read,
    "devcontainer": devcontainer.read,
    "procfile": procfile.read,
    "process-compose": process_compose.read,
}
FORMATS = tuple(READERS)
_PEEK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A description in another format, as a template.

    Attributes:
        format: One of `FORMATS`.
        title: What the file calls the project; empty if it has no name.
        tree: Keys of a template, without `envmgr`, `name` and `agent`; each value has the place it comes from.
        findings: Everything that comes out otherwise than it was said, in the order of the files.
        files: Every file that was read.
    """

    format: str
    title: str
    tree: Table
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]

    @property
    def is_lossless(self) -> bool:
        """Whether nothing was dropped or is unsupported."""
        return all(finding.severity is Severity.CHANGED for finding in self.findings)


def read(
    files: Sequence[Path],
    *,
    top: Path,
    show: Callable[[Path], str],
    format: str = "",  # noqa: A002 - the word of the command line and of templates
    profiles: Sequence[str] = (),
    services: Sequence[str] = (),
) -> Imported:
    """Import files of one format; for compose, later ones lie on top of earlier ones.

    Args:
        files: Absolute, at least one.
        top: Top of the repository; paths in the template are relative to it.
        show: A file as people see it.
        format: One of `FORMATS`, or empty to tell it by the file.
        profiles: Their services are part of the template for good; the others stay in their profiles.
        services: Only these, with what they depend on.

    Raises:
        ConfigError: A file cannot be understood; with file and line of everything that is wrong.
        UsageError: The format is unknown or cannot be told.
    """
    name = format.replace("_", "-") or detect(files[0], show)
    if name not in READERS:
        raise UsageError(f"unknown format {format!r}", hint=did_you_mean(format, FORMATS, among="There are"))
    report, declared = Report(), Declared()
    out = Draft(Mark(show(files[0]), 1, 1))
    request = Request(
        files=tuple(files),
        places=Places(top=top, show=show),
        report=report,
        declared=declared,
        out=out,
        profiles=tuple(profiles),
        services=tuple(services),
    )
    title = READERS[name](request)
    graces.shorten(out, report)
    _declare(out, declared)
    return Imported(
        format=name,
        title=title,
        tree=out.table(),
        findings=report.findings(),
        files=tuple(request.places.read),
    )


def _declare(out: Draft, declared: Declared) -> None:
    for name, (default, mark) in declared.params.items():
        out.below("params", mark).put(name, {"default": default}, mark)
    for name, (source, mark) in declared.secrets.items():
        out.below("secrets", mark).put(name, dict(source), mark)


def detect(path: Path, show: Callable[[Path], str]) -> str:
    """The format by the file's name, else by its first keys. Raises UsageError."""
    name = path.name.lower()
    if name.startswith("procfile") or name.endswith(".procfile"):
        return "procfile"
    if path.suffix in (".json", ".jsonc"):
        return "devcontainer"
    if path.suffix in (".yaml", ".yml"):
        return "process-compose" if _has_processes(path, name) else "compose"
    hint = f"Say which with --format: {', '.join(FORMATS)}."
    raise UsageError(f"{show(path)}: its format cannot be told", hint=hint)


def _has_processes(path: Path, name: str) -> bool:
    if name.startswith("process-compose"):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_PEEK)
    except OSError:
        return False
    lines = head.splitlines()
    return any(line.startswith(b"processes:") for line in lines) and not any(
        line.startswith(b"services:") for line in lines
    )
