"""Templates, and what becomes of files that are imported as such."""

from __future__ import annotations

from pydantic import Field

from envmgr.app.shapes import View


class TemplateView(View):
    """A template that can be spawned."""

    name: str
    origin: str
    path: str
    description: str = ""
    shadowed: bool = False


class TemplateListView(View):
    """Templates in the order in which they are found."""

    templates: list[TemplateView]


class SourceView(View):
    """A template's text."""

    path: str
    text: str


class FindingView(View):
    """Something wrong (or doubtful) in a template."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    warning: bool = False


class ValidationView(View):
    """The result of checking a template."""

    ok: bool
    findings: list[FindingView]


class ExplainedView(View):
    """Resolved fields with their origin."""

    fields: list[dict[str, str]]


class SchemaView(View):
    """A JSON Schema."""

    schema_: dict[str, object] = Field(alias="schema")


class ImportFindingView(View):
    """Something of an imported file that comes out otherwise than it was said there."""

    file: str
    line: int
    column: int
    severity: str = Field(description="changed, dropped or unsupported")
    key: str
    says: str
    service: str = ""


class ImportView(View):
    """A template made from files of another format, or only the report about it."""

    name: str
    format: str
    path: str
    text: str
    written: bool
    checked: bool = Field(description="Only the report was asked for")
    ok: bool = Field(description="False: it was only checked, and something would be lost")
    findings: list[ImportFindingView]


class InitView(View):
    """The template that was (or would be) written."""

    path: str
    text: str
    written: bool
    findings: list[str]
