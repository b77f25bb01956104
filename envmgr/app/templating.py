"""Operations on templates; they need no daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from envmgr.aio import blocking
from envmgr.app import text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.errors import ConfigError, Conflict
from envmgr.model.template import Proposal

P = ParamSpec("P")
T = TypeVar("T")

_READ_S = 30.0


class InRepository(Ask):
    """Where to look."""

    repo: str = supplied("Folder inside the repository", "cwd", default="")


class OneTemplate(InRepository):
    """Which template."""

    template: str = argument("Name, or path of a file")


class Init(InRepository):
    """What to write."""

    force: bool = option("Overwrite an existing template", default=False)
    print: bool = option("Print the template, write nothing", default=False)


@operation(
    "template.list",
    route="GET /api/v1/templates",
    gives=views.TemplateListView,
    text=lambda result, style: text.table(
        ["NAME", "FROM", "DESCRIPTION", "FILE"],
        [
            [t.name, t.origin + (" (shadowed)" if t.shadowed else ""), t.description, t.path]
            for t in result.templates
        ],
        style,
    ),
    command="template list",
    is_local=True,
)
async def list_templates(ask: InRepository, app: App) -> views.TemplateListView:
    """List templates: the repository's, then yours, then the built-in ones; the first of a name counts."""
    entries = await _read(app.templates.listing, _repo(ask))
    return views.TemplateListView(
        templates=[
            views.TemplateView(
                name=e.name, origin=e.origin, path=e.path, description=e.description, shadowed=e.is_shadowed
            )
            for e in entries
        ]
    )


@operation(
    "template.show",
    route="GET /api/v1/templates/show",
    gives=views.SourceView,
    text=lambda result, style: result.text,
    command="template show",
    is_local=True,
)
async def show_template(ask: OneTemplate, app: App) -> views.SourceView:
    """Print a template as it is written."""
    path, source = await _read(app.templates.source, ask.template, _repo(ask))
    return views.SourceView(path=path, text=source)


@operation(
    "template.validate",
    route="GET /api/v1/templates/validate",
    gives=views.ValidationView,
    text=lambda result, style: _findings(result),
    command="template validate",
    is_local=True,
)
async def validate(ask: OneTemplate, app: App) -> views.ValidationView:
    """Check a template and report everything that is wrong, with file, line and column."""
    findings = [
        views.FindingView(
            file=f.file,
            line=f.line,
            column=f.column,
            path=f.path,
            message=f.message,
            hint=f.hint,
            warning=f.is_warning,
        )
        for f in await _read(app.templates.check, ask.template, _repo(ask))
    ]
    result = views.ValidationView(ok=all(f.warning for f in findings), findings=findings)
    if not result.ok:
        wrong = [f for f in findings if not f.warning]
        raise ConfigError(
            _findings(result).rstrip(),
            hint=f"Mend the {'line' if len(wrong) == 1 else 'lines'} named above.",
            details={"findings": [f.model_dump() for f in findings]},
        )
    return result


def _findings(result: views.ValidationView) -> str:
    lines = [
        f"{f.file}:{f.line}:{f.column}: {'warning: ' if f.warning else ''}{f.message}"
        + (f" ({f.hint})" if f.hint else "")
        for f in result.findings
    ]
    return "\n".join([*lines, *(["valid"] if result.ok else [])]) + "\n"


@operation(
    "template.explain",
    route="GET /api/v1/templates/explain",
    gives=views.ExplainedView,
    text=lambda result, style: text.table(
        ["FIELD", "VALUE", "FROM"], [[f["path"], f["value"], f["where"]] for f in result.fields], style
    ),
    command="template explain",
    is_local=True,
)
async def explain(ask: OneTemplate, app: App) -> views.ExplainedView:
    """Print each resolved field of a template and the file and line it comes from."""
    fields = await _read(app.templates.explain, ask.template, _repo(ask))
    return views.ExplainedView(fields=[{"path": f.path, "value": f.value, "where": f.where} for f in fields])


@operation(
    "template.schema",
    route="GET /api/v1/templates/schema",
    gives=views.SchemaView,
    text=lambda result, style: json.dumps(result.schema_, indent=2) + "\n",
    command="template schema",
    is_local=True,
)
async def schema(ask: InRepository, app: App) -> views.SchemaView:
    """Print the JSON Schema of templates, for editors."""
    return views.SchemaView(schema=dict(await _read(app.templates.schema)))


@operation(
    "init",
    route="POST /api/v1/init",
    gives=views.InitView,
    text=lambda result, style: _init_text(result),
    touch=Touch.WRITE,
    command="init",
    is_local=True,
)
async def init(ask: Init, app: App) -> views.InitView:
    """Look at the repository and write a fitting template with comments."""
    proposal = await _read(app.templates.propose, Path(ask.repo or "."))
    if not ask.print:
        await blocking.act("file", _write, proposal, is_forced=ask.force)
    return views.InitView(
        path=proposal.path, text=proposal.text, written=not ask.print, findings=list(proposal.findings)
    )


def _write(proposal: Proposal, *, is_forced: bool) -> None:
    path = Path(proposal.path)
    if path.exists() and not is_forced:
        raise Conflict(f"{proposal.path} exists", hint="Look at it, or overwrite it with --force.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proposal.text, encoding="utf-8")


async def _read(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Off the event loop: the daemon offers these operations, too."""
    return await blocking.look("file", _READ_S, call, *args, **kwargs)


def _init_text(result: views.InitView) -> str:
    if not result.written:
        return result.text
    found = "".join(f"  found {finding}\n" for finding in result.findings)
    name = Path(result.path).stem
    return f"{found}wrote {result.path}\nnext: envmgr spawn --template {name}\n"


def _repo(ask: InRepository) -> Path | None:
    return Path(ask.repo) if ask.repo else None
