"""Every value of a resolved template, and the line it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from envmgr.config.fields import fields_of
from envmgr.config.nodes import find, leaves, value_mark
from envmgr.config.problems import Mark, Path, dotted
from envmgr.config.templates.answers import Resolved
from envmgr.config.templates.loading import Template
from envmgr.config.templates.params import as_text

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value. `origin` is `file:line`, or `default`."""

    path: str
    value: str
    origin: str


def explain(template: Template, resolved: Resolved, given: Collection[str]) -> Sequence[Explained]:
    """Inputs, then what the files say in their order, then what was left to the defaults.

    Args:
        template: Has the places.
        resolved: Has the values.
        given: Names of the params that the person gave.
    """
    inputs = [
        Explained(
            path=f"params.{name}",
            value=as_text(value),
            origin="--param" if name in given else _origin(template, name),
        )
        for name, value in resolved.params.items()
    ]
    said = [
        Explained(path=dotted(path), value=leaf.text, origin=_place(template, path, leaf.mark))
        for path, leaf in leaves(resolved.tree)
        if path[0] != "params"
    ]
    known = {one.path for one in said}
    rest = [one for one in _defaults(resolved.document, "") if not _is_said(one.path, known)]
    return [*inputs, *said, *rest]


def _place(template: Template, path: Path, mark: Mark) -> str:
    """The branch is always in the resolved tree, written or not."""
    is_made = path == ("workspace", "branch") and find(template.tree, path) is None
    return DEFAULT if is_made else f"{mark.file}:{mark.line}"


def _origin(template: Template, param: str) -> str:
    mark = value_mark(template.tree, ("params", param, "default"))
    return f"{mark.file}:{mark.line}"


def _is_said(path: str, known: set[str]) -> bool:
    return any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in known)


def _defaults(model: BaseModel, at: str) -> Iterator[Explained]:
    """Single values of the models below; lists and maps that are empty have nothing to say."""
    for name, field in fields_of(type(model)).items():
        value = getattr(model, _attribute(type(model), name))
        path = f"{at}.{name}" if at else name
        if path in ("params", "defaults"):
            continue
        if isinstance(value, BaseModel):
            yield from _defaults(value, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, BaseModel):
                    yield from _defaults(item, f"{path}.{key}")
        elif value == field.default and value not in (None, "", ()):
            yield Explained(path=path, value=_shown(value), origin=DEFAULT)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}s"
        case tuple():
            return ", ".join(str(item) for item in value)
    return str(value)


def _attribute(model: type[BaseModel], key: str) -> str:
    return next(name for name, field in model.model_fields.items() if (field.alias or name) == key)
