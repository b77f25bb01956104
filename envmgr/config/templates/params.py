"""Inputs of a template: what may be given, and what it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from envmgr.config.nodes import Table, value_mark
from envmgr.config.problems import Problem, did_you_mean
from envmgr.config.templates.schema import Param
from envmgr.errors import UsageError

Value = str | int | float | bool

_FORMS: dict[str, tuple[str, str, Callable[[str], Value]]] = {
    "int": (r"[-+]?[0-9]{1,18}", "a whole number", int),
    "number": (r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]{1,3})?", "a number", float),
    "bool": (
        "true|yes|on|1|false|no|off|0",
        "true or false",
        lambda text: text.lower() in {"true", "yes", "on", "1"},
    ),
}
_SAMPLES: dict[str, Value] = {"string": "sample", "int": 1, "number": 1.0, "bool": False}


def convert(param: Param, text: str) -> Value:
    """A given text as the param's type. Raises ValueError saying what is expected."""
    if "\0" in text:
        raise ValueError("must not hold NUL characters")
    if param.pattern and not re.fullmatch(param.pattern, text):
        raise ValueError(f"{text!r} does not match {param.pattern}")
    if param.type == "enum" and text not in param.values:
        raise ValueError(f"{text!r} is not one of {', '.join(param.values)}")
    if param.type in _FORMS:
        form, what, make = _FORMS[param.type]
        if not re.fullmatch(form, text, re.IGNORECASE):
            raise ValueError(f"{text!r} is not {what}")
        return make(text)
    return text


def as_text(value: Value) -> str:
    """What `${params.X}` becomes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_needed(param: Param) -> bool:
    """Whether spawn must give it."""
    return param.default is None and param.required is not False


def bind(params: Mapping[str, Param], given: Mapping[str, str]) -> dict[str, Value]:
    """Values for all params.

    Raises:
        UsageError: Unknown, missing or wrong ones; `details.errors` has every finding.
    """
    wrong: list[tuple[str, str]] = [
        (
            f"unknown param {name!r}",
            did_you_mean(name, params, among="The template has") or "The template has no params.",
        )
        for name in given
        if name not in params
    ]
    values: dict[str, Value] = {}
    for name, param in params.items():
        if name not in given and is_needed(param):
            wrong.append((f"param {name!r} is missing", f"Add --param {name}=VALUE{_about(param)}."))
            continue
        try:
            values[name] = _value(param, given.get(name))
        except ValueError as error:
            wrong.append((f"param {name!r}: {error}", f"Give --param {name}=VALUE{_about(param)}."))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        errors = [{"message": message, "hint": hint} for message, hint in wrong]
        raise UsageError(wrong[0][0] + more, hint=wrong[0][1], details={"errors": errors})
    return values


def _value(param: Param, given: str | None) -> Value:
    text = given if given is not None else param.default
    return "" if text is None else convert(param, str(text))


def _about(param: Param) -> str:
    if param.type == "enum":
        return f" with one of {', '.join(param.values)}"
    return f" ({param.description.rstrip('.')})" if param.description else ""


def samples(params: Mapping[str, Param]) -> dict[str, Value]:
    """Values to check a template with when nobody gave any."""
    found: dict[str, Value] = {}
    for name, param in params.items():
        try:
            found[name] = _SAMPLES.get(param.type, "") if is_needed(param) else _value(param, None)
        except ValueError:
            found[name] = ""
    return found


def placeholders(params: Mapping[str, Param]) -> dict[str, str]:
    """For those that must be given, something that shows it: `<name>` where text is wanted, else a sample."""
    found = {}
    for name, param in params.items():
        if is_needed(param) and param.type == "enum":
            found[name] = param.values[0]
        elif is_needed(param) and not param.pattern:
            found[name] = f"<{name}>" if param.type == "string" else as_text(_SAMPLES[param.type])
    return found


def lint(params: Mapping[str, Param], tree: Table) -> list[Problem]:
    """What is wrong with the declarations themselves."""
    found = []
    for name, param in params.items():
        for key, message in _complaints(param):
            mark = value_mark(tree, ("params", name, key))
            found.append(Problem(mark=mark, path=f"params.{name}.{key}", message=f"params.{name}: {message}"))
    return found


def _complaints(param: Param) -> list[tuple[str, str]]:
    found = []
    if param.type == "enum" and not param.values:
        found.append(("type", "an enum needs 'values'"))
    if param.type != "enum" and param.values:
        found.append(("values", "'values' belong to type enum"))
    if param.required and param.default is not None:
        found.append(("required", "a required param cannot have a default"))
    if param.required is False and param.default is None and param.type not in ("string", "enum"):
        found.append(("required", f"an optional {param.type} needs a default"))
    if param.default is not None:
        try:
            convert(param, str(param.default))
        except ValueError as error:
            found.append(("default", f"default: {error}"))
    return found
