"""What a JSON Schema says about a document: the part of the language that ours uses, and an error for any other word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "minLength": lambda value, limit: len(value) >= limit,
    "maxLength": lambda value, limit: len(value) <= limit,
    "minItems": lambda value, limit: len(value) >= limit,
    "maxItems": lambda value, limit: len(value) <= limit,
}
_SAID_ONLY = {"description", "default", "examples", "title", "$schema", "$defs"}
_IN_OBJECT = {"properties", "patternProperties", "additionalProperties", "required"}


def complaints(schema: Any, document: Any) -> list[str]:
    """`path: what is wrong`, empty if the document is valid."""
    return list(_complaints(schema, document, schema, "$"))


def _complaints(schema: Any, value: Any, root: Any, at: str) -> Iterator[str]:
    unknown = set(schema) - _SAID_ONLY - _IN_OBJECT - set(_LIMITS) - set(_WORDS)
    assert not unknown, f"{unknown} is not known to this validator"
    for word in sorted(set(schema) & set(_WORDS)):
        yield from _WORDS[word](schema[word], value, root, at)
    for word in sorted(set(schema) & set(_LIMITS)):
        kind = str if word.endswith("Length") else list if word.endswith("Items") else int | float
        if isinstance(value, kind) and not _LIMITS[word](value, schema[word]):
            yield f"{at}: {word} {schema[word]}"
    if isinstance(value, dict):
        yield from _in_object(schema, value, root, at)


def _reference(said: str, value: Any, root: Any, at: str) -> Iterator[str]:
    return _complaints(root["$defs"][said.rsplit("/", 1)[1]], value, root, at)


def _type(said: str | list[str], value: Any, root: Any, at: str) -> Iterator[str]:
    if not any(_TYPES[one](value) for one in (said if isinstance(said, list) else [said])):
        yield f"{at}: not of type {said}"


def _any_of(said: list[Any], value: Any, root: Any, at: str) -> Iterator[str]:
    """Tells what comes nearest: the complaint that lies deepest."""
    found = [list(_complaints(one, value, root, at)) for one in said]
    if all(found):
        yield max((one[0] for one in found), key=lambda text: text.partition(": ")[0].count("."))


def _enum(said: list[Any], value: Any, root: Any, at: str) -> Iterator[str]:
    if value not in said:
        yield f"{at}: {value!r} is not one of {said}"


def _const(said: Any, value: Any, root: Any, at: str) -> Iterator[str]:
    return _enum([said], value, root, at)


def _pattern(said: str, value: Any, root: Any, at: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(said, value):
        yield f"{at}: {value!r} does not match {said}"


def _items(said: Any, value: Any, root: Any, at: str) -> Iterator[str]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from _complaints(said, item, root, f"{at}[{index}]")


_WORDS: dict[str, Callable[[Any, Any, Any, str], Iterator[str]]] = {
    "$ref": _reference,
    "type": _type,
    "anyOf": _any_of,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "items": _items,
}


def _in_object(schema: Any, value: dict[str, Any], root: Any, at: str) -> Iterator[str]:
    yield from (f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, item in value.items():
        inner = [
            said for pattern, said in schema.get("patternProperties", {}).items() if re.search(pattern, key)
        ]
        inner += [schema["properties"][key]] if key in schema.get("properties", {}) else []
        other = schema.get("additionalProperties", True)
        if not inner and other is False:
            yield f"{at}: {key} is unknown"
        for said in inner or ([other] if isinstance(other, dict) else []):
            yield from _complaints(said, item, root, f"{at}.{key}")
