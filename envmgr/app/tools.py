"""The registry as MCP tools: plain data, so that the process which speaks MCP imports none of our models."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from envmgr.app.faces import FROM_MCP
from envmgr.app.operations import Operation
from envmgr.app.registry import OPERATIONS

# Any throughout: JSON documents.
Schema = dict[str, Any]

_NAMES_WITHIN = ("properties", "$defs")
_SAYS_NOTHING = frozenset({"cli", "title"})
_FOR_MAKERS = _SAYS_NOTHING | {"description", "default", "required", "additionalProperties"}
_SMALL = 10_000
_IDENTITY = frozenset({"agent_id"})
"""Understood, and never needed: the key says who asks."""
_NOTHING: tuple[object, ...] = (None, "", False, [])
_CHECKED_ANYWAY = frozenset(
    {"maxLength", "minLength", "pattern", "maxItems", "minItems", "additionalProperties"}
)
"""Each takes context in every session, and who offends against it is told."""


def offered() -> list[Operation]:
    """All operations that MCP offers, by name."""
    return sorted((op for op in OPERATIONS.values() if op.name not in FROM_MCP), key=lambda op: op.name)


def tools() -> list[dict[str, Any]]:
    """Each as MCP lists it, and how to ask the daemon for it."""
    return [tool(op) for op in offered()]


def tool(op: Operation) -> dict[str, Any]:
    """One of them.

    `supplied` are fields that the bridge fills in when they are not given, `environment` never being an agent's to give;
    `in_path` are the names under which a field of the path may be given.
    """
    method, path = op.route
    return {
        "name": op.tool,
        "operation": op.name,
        "description": op.doc,
        "input": takes(op),
        "output": gives(op),
        "touch": op.touch.value,
        "compact": op.is_compact,
        "stream": op.stream,
        "method": method,
        "path": path,
        "in_path": {
            name: names(name, op.takes.model_fields[name]) for name in re.findall(r"\{(\w+)\}", path)
        },
        "supplied": dict(_supplied(op.takes)),
    }


def takes(op: Operation) -> Schema:
    """Schema of the arguments: without what only a command line can give, and small, because agents read it."""
    schema = _plain(op.takes.model_json_schema(mode="validation"))
    known = schema.get("properties", {})
    for name, by in _supplied(op.takes):
        if by != "cwd":
            known.pop(name, None)
    shown = {name: _flat(field) for name, field in known.items() if name not in _IDENTITY}
    # Not closed: other names of fields, such as those of the Agent Coordinator, are not listed and yet understood.
    return {"type": "object", "properties": shown, **_some(schema, "required")}


def _flat(field: Schema) -> Schema:
    """Without what is checked anyway, and the parts of an object by their names only."""
    found: Schema = _without(field, _CHECKED_ANYWAY)
    parts = found.get("properties")
    if isinstance(parts, dict):
        said, names = str(found.get("description", "")), ", ".join(parts)
        says = said if names in said else f"{said}: {names}".removeprefix(": ")
        found = {**{key: value for key, value in found.items() if key != "properties"}, "description": says}
    most = found.get("maximum")
    if isinstance(most, int | float) and most > _SMALL:
        del found["maximum"]
    if found.get("minimum") == 0:
        del found["minimum"]
    return found


def gives(op: Operation) -> Schema:
    """Schema of the result: names and types. What a stream yields is collected."""
    schema = op.gives.model_json_schema(mode="serialization", by_alias=True)
    definitions = schema.pop("$defs", {})
    item = _typed(schema)
    if op.stream:
        item = {
            "type": "object",
            "properties": {"items": {"type": "array", "items": item}, "is_complete": {"type": "boolean"}},
        }
    return {**item, **({"$defs": _typed(definitions)} if definitions else {})}


def names(name: str, field: FieldInfo) -> list[str]:
    """All names under which a field may be given."""
    match field.validation_alias:
        case AliasChoices(choices=choices):
            found = [str(c.path[0]) if isinstance(c, AliasPath) else c for c in choices]
        case str(alias):
            found = [alias]
        case _:
            found = []
    return list(dict.fromkeys([*found, name]))


def _supplied(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        hints = extra.get("cli") if isinstance(extra, dict) else None
        if isinstance(hints, dict) and hints.get("supplied"):
            yield name, str(hints["supplied"])


def _some(schema: Mapping[str, Any], *keys: str) -> Schema:
    return {key: schema[key] for key in keys if key in schema}


def _untitled(node: Any) -> Any:
    """Without the titles that repeat each name, and hints for the command line."""
    return _without(node, _SAYS_NOTHING)


def _typed(node: Any) -> Any:
    """Names and types alone; a result is read, not made. What a name does not tell, the description of the tool does."""
    return _shorter(_without(node, _FOR_MAKERS))


def _without(node: Any, keys: Collection[str]) -> Any:
    """A property that is called like one of the keys is none."""
    if isinstance(node, list):
        return [_without(value, keys) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without(value, keys) for name, value in node[key].items()}
        if key in _NAMES_WITHIN and isinstance(node[key], dict)
        else _without(node[key], keys)
        for key in node
        if key not in keys
    }


def _shorter(node: Any) -> Any:
    """`{"type": ["object", "null"]}` for a choice of plain types."""
    if isinstance(node, list):
        return [_shorter(value) for value in node]
    if not isinstance(node, dict):
        return node
    found = {key: _shorter(value) for key, value in node.items()}
    kinds = found.get("anyOf")
    if isinstance(kinds, list) and all(list(kind) == ["type"] for kind in kinds):
        found = {**{k: v for k, v in found.items() if k != "anyOf"}, "type": [kind["type"] for kind in kinds]}
    return found


def _plain(schema: Schema) -> Schema:
    """Without references and nulls: not every assistant's model provider takes those."""
    definitions = schema.pop("$defs", {})

    def simple(node: Any) -> Any:
        if isinstance(node, list):
            return [simple(value) for value in node]
        if not isinstance(node, dict):
            return node
        if reference := node.get("$ref"):
            more = {key: value for key, value in node.items() if key != "$ref"}
            return simple({**definitions[reference.removeprefix("#/$defs/")], **more})
        return _not_null({key: simple(value) for key, value in node.items()})

    plain: Schema = _untitled(simple(schema))
    return plain


def _not_null(node: Schema) -> Schema:
    """What may be left out need not be null as well, and a default that is nothing need not be said."""
    said = {k: v for k, v in node.items() if k != "default" or not (isinstance(v, dict) or v in _NOTHING)}
    kinds = said.get("anyOf")
    if not isinstance(kinds, list) or {"type": "null"} not in kinds:
        return said
    rest = [kind for kind in kinds if kind != {"type": "null"}]
    others = {key: value for key, value in said.items() if key != "anyOf"}
    return {**rest[0], **others} if len(rest) == 1 else {**others, "anyOf": rest}
