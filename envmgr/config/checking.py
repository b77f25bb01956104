"""Check a tree against a pydantic model, and tell what is wrong in the words of the file."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from envmgr.config.fields import Strict, fields_of
from envmgr.config.nodes import Node, Table, mark_of, plain, value_mark
from envmgr.config.problems import Path, Problem, did_you_mean, dotted

# Any: pydantic's own type of these lives in pydantic-core, which is not ours to import.
Detail = Mapping[str, Any]
M = TypeVar("M", bound=BaseModel)

_SAYINGS = {
    "int_parsing": "{input} is not a whole number",
    "int_type": "{input} is not a whole number",
    "int_from_float": "{input} is not a whole number",
    "float_parsing": "{input} is not a number",
    "bool_parsing": "{input} is not true or false",
    "bool_type": "{input} is not true or false",
    "string_type": "must be text, not {input}",
    "string_pattern_mismatch": "{input} does not match {pattern}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "{input} is not one of {expected}",
    "model_type": "must be a map, not {input}",
    "model_attributes_type": "must be a map, not {input}",
    "dict_type": "must be a map, not {input}",
    "tuple_type": "must be a list, not {input}",
}


def check(tree: Node, model: type[M], *, at: Path = ()) -> tuple[M | None, list[Problem]]:
    """Validate; `at` is where in the file the tree stands, for telling.

    Returns:
        The model and no problems, or None and all of them.
    """
    try:
        return model.model_validate(plain(tree)), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_problem(detail, tree, model, at) for detail in details]


def _problem(detail: Detail, tree: Node, model: type[BaseModel], at: Path) -> Problem:
    is_key = detail["loc"][-1:] == ("[key]",)
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return _unknown(tree, path, model, at)
    if detail["type"] == "missing":
        owner = dotted((*at, *path[:-1])) or "the file"
        message = f"{owner} needs {str(path[-1])!r}"
        return Problem(mark=mark_of(tree, path[:-1]), path=dotted((*at, *path)), message=message)
    saying = _saying(detail)
    if is_key:
        saying = f"not a valid name: {saying}"
    name = dotted((*at, *path))
    return Problem(
        mark=mark_of(tree, path) if is_key else value_mark(tree, path),
        path=name,
        message=f"{name}: {saying}" if name else saying,
        hint=_choice_hint(detail),
    )


def _saying(detail: Detail) -> str:
    context = dict(detail.get("ctx") or {})
    if detail["type"] == "value_error":
        return str(context["error"])
    pattern = _SAYINGS.get(detail["type"])
    if pattern is None:
        message = str(detail["msg"])
        return message[:1].lower() + message[1:]
    return pattern.format(**(context | {"input": shown(detail["input"])}))


def shown(value: object) -> str:
    """A value for a message: short, and never the inside of a list or map."""
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _choice_hint(detail: Detail) -> str:
    if detail["type"] != "literal_error":
        return ""
    expected = str(dict(detail.get("ctx") or {})["expected"])
    return did_you_mean(str(detail["input"]), [word for word in expected.split("'") if word.strip(" ,or")])


def _unknown(tree: Node, path: Path, model: type[BaseModel], at: Path) -> Problem:
    key, owner = str(path[-1]), dotted((*at, *path[:-1]))
    mark, name = mark_of(tree, path), dotted((*at, *path))
    here = _model_at(model, path[:-1])
    where = f" in {owner}" if owner else ""
    if here is not None and issubclass(here, Strict) and key in here.later:
        message = f"{key!r}{where} is not supported by this version yet"
        return Problem(
            mark=mark, path=name, message=message, hint=f"Remove it, or keep it as 'x-{key}' for later."
        )
    known = list(fields_of(here)) if here else []
    return Problem(mark=mark, path=name, message=f"unknown key {key!r}{where}", hint=did_you_mean(key, known))


# Any: annotations are whatever the models say.
def _model_at(annotation: Any, path: Path) -> type[BaseModel] | None:
    """The model that a path leads to."""
    here = unwrapped(annotation)
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = fields_of(here)[str(part)].annotation
        elif get_origin(here) in (dict, tuple):
            here = get_args(here)[1 if get_origin(here) is dict else 0]
        here = unwrapped(here)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def unwrapped(annotation: Any) -> Any:
    """Without Annotated and Optional."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
        else:
            return annotation


def as_table(node: Node) -> Table:
    """The node if it is a table, else an empty one at its place; the model check tells about the difference."""
    return node if isinstance(node, Table) else Table(node.mark, {}, {})
