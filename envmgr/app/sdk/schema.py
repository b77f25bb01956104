"""What the clients' languages have in common: operations as calls with typed arguments and results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from envmgr.app.manifest import served
from envmgr.app.openapi import openapi
from envmgr.app.operations import Operation, Touch

# Any throughout: JSON Schema.
Schema = Mapping[str, Any]

REF = "#/components/schemas/"
_NOT_FOR_PROGRAMS = {"agent.report"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One thing that is asked."""

    name: str
    schema: Schema
    is_required: bool
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation.

    Attributes:
        repeats: It may be sent again when its answer was lost.
        key: The argument that makes it so; empty when it is so anyhow, or never.
        waits: The argument by which it waits.
    """

    op: Operation
    name: str
    arguments: tuple[Argument, ...]
    gives: Schema
    repeats: bool
    key: str
    waits: str

    @property
    def in_path(self) -> list[str]:
        """Arguments that are parts of the path."""
        return re.findall(r"\{(\w+)\}", self.op.route[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """All calls, and the types they speak of, in the order of their names."""

    calls: tuple[Call, ...]
    types: Mapping[str, Schema]


def library() -> Library:
    """Of everything that is served."""
    document = openapi("1")
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    calls = tuple(_call(op, document) for op in served() if op.name not in _NOT_FOR_PROGRAMS)
    calls = tuple(sorted(calls, key=lambda call: call.name))
    return Library(calls=calls, types=_reached(calls, schemas))


def _call(op: Operation, document: Schema) -> Call:
    route = document["paths"][op.route[1]][op.route[0].lower()]
    (content,) = route["responses"]["200"]["content"].values()
    arguments = tuple(_arguments(route, document["components"]["schemas"]))
    key = next((a.name for a in arguments if a.name == "idempotency_key"), "")
    return Call(
        op=op,
        name=op.tool,
        arguments=tuple(sorted(arguments, key=lambda argument: not argument.is_required)),
        gives=content["schema"],
        repeats=op.touch is Touch.READ or bool(key),
        key=key,
        waits=op.waits,
    )


def _arguments(route: Schema, schemas: Mapping[str, Schema]) -> Iterable[Argument]:
    for parameter in route["parameters"]:
        yield _argument(parameter["name"], parameter["schema"], is_required=parameter["required"])
    if "requestBody" not in route:
        return
    body = route["requestBody"]["content"]["application/json"]["schema"]
    body = schemas[body["$ref"].removeprefix(REF)] if "$ref" in body else body
    for name, schema in body.get("properties", {}).items():
        yield _argument(name, schema, is_required=name in body.get("required", []))


def _argument(name: str, schema: Schema, *, is_required: bool) -> Argument:
    return Argument(name=name, schema=schema, is_required=is_required, says=schema.get("description", ""))


def _reached(calls: Iterable[Call], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """Types that calls name, and those that these name."""
    left: list[Any] = [part for call in calls for part in (call.gives, *(a.schema for a in call.arguments))]
    found: dict[str, Schema] = {}
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            left += node.values()
            name = str(node.get("$ref", "")).removeprefix(REF)
            if name and name not in found:
                found[name] = schemas[name]
                left.append(schemas[name])
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a language says types."""

    string: str
    integer: str
    number: str
    boolean: str
    null: str
    anything: str
    array: Callable[[str], str]
    table: Callable[[str], str]
    literal: Callable[[list[object]], str]


def said(schema: Schema, words: Words) -> str:
    """A type in the words of a language."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    if "const" in schema:
        return words.literal([schema["const"]])
    if "enum" in schema:
        return words.literal(list(schema["enum"]))
    if kinds := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(said(kind, words) for kind in kinds))
    if kinds := schema.get("allOf"):
        return said(kinds[0], words)
    return _plain(schema, words)


def _plain(schema: Schema, words: Words) -> str:
    match schema.get("type"):
        case "array":
            return words.array(said(schema.get("items", {}), words))
        case "object":
            more = schema.get("additionalProperties")
            return words.table(said(more, words) if isinstance(more, dict) else words.anything)
        case "string" | "integer" | "number" | "boolean" | "null" as name:
            return str(getattr(words, name))
        case _:
            return words.anything
