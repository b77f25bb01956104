"""What is wrong with a field, in our words instead of the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

# Any throughout: annotations of models, and what the models' library tells of an error.
_LONGEST_SHOWN = 200
_MISSING = frozenset({"missing", "missing_argument"})
_SAYS = {
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "must have the form {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "too_short": "must have at least {min_length}",
    "too_long": "may have at most {max_length}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def wrong(error: ValidationError, takes: type[BaseModel]) -> str:
    """The first thing that is wrong, with the name of its field."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:_LONGEST_SHOWN] or "the request"
    kind, given = str(first["type"]), first.get("input")
    if kind in _MISSING or (given is None and kind.endswith("_type")):
        return f"{where} is missing"
    if kind == "extra_forbidden":
        *way, _ = first["loc"]
        known = _fields(takes, way) if way else ()
        return f"{where} is unknown" + (f"; there are {', '.join(known)}" if known else "")
    if kind in _SAYS:
        return f"{where} {_SAYS[kind].format(**first.get('ctx', {}))}"
    said = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{where}: {said.replace('Input should be', 'must be')}"


def place(error: ValidationError) -> list[str | int]:
    """Where the first thing that is wrong stands in what was given."""
    way = error.errors(include_url=False, include_context=False)[0]["loc"]
    return [step[:_LONGEST_SHOWN] if isinstance(step, str) else step for step in way]


def _fields(model: type[BaseModel], way: Sequence[object]) -> Sequence[str]:
    """Names of the fields of the model at the end of the way; empty where that is none."""
    at: Any = model
    for step in way:
        if isinstance(step, int):
            continue
        field = at.model_fields.get(step)
        at = _model(field.annotation) if field is not None else None
        if at is None:
            return ()
    return tuple(at.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:
    """The one that is in it, such as in `list[Part] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)
