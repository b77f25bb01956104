"""Templates from files of other formats; needs no daemon."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from envmgr.aio import blocking
from envmgr.app import views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.errors import Conflict, Unavailable, UsageError
from envmgr.model.template import ImportedTemplate, ImportWish

if TYPE_CHECKING:
    from envmgr.app.text import Style

_READ_S = 60.0


class ImportTemplate(Ask):
    """What to import, and where to."""

    files: list[str] = argument(
        "Files of one format; later compose files lie on top of earlier ones", min_length=1
    )
    format: str = option(
        "compose, devcontainer, procfile or process-compose, if it cannot be told", default=""
    )
    profile: list[str] = option(
        "Profile of the file whose services always take part; may be repeated", default=[]
    )
    service: list[str] = option("Only this service and what it depends on; may be repeated", default=[])
    name: str = option("Name of the template", default="")
    output: str = option("File to write instead, or - to print it", short="-o", default="")
    check: bool = option(
        "Write nothing, report everything; fails when something would be lost", default=False
    )
    force: bool = option("Overwrite an existing template", default=False)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


@operation(
    "template.import",
    route="POST /api/v1/templates/import",
    gives=views.ImportView,
    text=lambda result, style: _text(result, style),
    touch=Touch.WRITE,
    command="template import",
    is_local=True,
)
async def import_template(ask: ImportTemplate, app: App) -> views.ImportView:
    """Write a template from a compose file, a devcontainer.json, a Procfile or a process-compose.yaml.

    Everything that comes out otherwise than the file says it is reported with its line: `changed` still works, `dropped` and
    `unsupported` are lost. With --check nothing is written, and the exit status is 1 when something would be lost.
    """
    cwd = Path(ask.repo or ".")
    if ask.check and ask.output:
        raise UsageError("--check writes nothing, so it takes no --output", hint="Leave one of them out.")
    wish = ImportWish(
        files=tuple(ask.files),
        format=ask.format,
        profiles=tuple(ask.profile),
        services=tuple(ask.service),
        name=ask.name,
    )
    found = await blocking.look("file", _READ_S, app.templates.imported, wish, cwd)
    path = _place(found, ask.output, cwd)
    is_written = not ask.check and ask.output != "-"
    if is_written:
        await blocking.act("file", write, path, found.text, is_forced=ask.force)
    return views.ImportView(
        name=found.name,
        format=found.format,
        path=str(path),
        text=found.text,
        written=is_written,
        checked=ask.check,
        ok=found.is_lossless or not ask.check,
        findings=[
            views.ImportFindingView(
                file=one.file,
                line=one.line,
                column=one.column,
                severity=one.severity,
                key=one.key,
                says=one.says,
                service=one.service,
            )
            for one in found.findings
        ],
    )


def _place(found: ImportedTemplate, output: str, cwd: Path) -> Path:
    return Path(found.path) if output in ("", "-") else (cwd / Path(output).expanduser()).resolve()


def write(path: Path, text: str, *, is_forced: bool) -> None:
    """Put a template in its place; an existing one stays unless it is forced."""
    if path.exists() and not is_forced:
        raise Conflict(
            f"{path} exists", hint="Look at it, choose another --name, or overwrite it with --force."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "Check the folder's mode and space."
        raise Unavailable(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _text(result: views.ImportView, style: Style) -> str:
    if not result.written and not result.checked:
        return result.text
    lines = [f"{one.file}:{one.line}: {one.severity}: {one.key}: {one.says}" for one in result.findings]
    counts = Counter(one.severity for one in result.findings)
    summary = ", ".join(
        f"{counts[kind]} {kind}" for kind in ("changed", "dropped", "unsupported") if counts[kind]
    )
    lines.append(summary or "nothing is lost or changed")
    if result.written:
        lines += [f"wrote {result.path}", f"next: envmgr spawn --template {result.name}"]
    return "\n".join(lines) + "\n"
