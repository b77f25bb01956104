"""The registry as MCP tools: plain data, so that the process which speaks MCP imports none of our models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from envmgr.app.faces import FROM_MCP
from envmgr.app.operations import Operation
from envmgr.app.registry import OPERATIONS

# Any throughout: JSON documents.
Schema = dict[str, Any]


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
    # Not closed: other names of fields, such as those of the Agent Coordinator, are not listed and yet understood.
    return {"type": "object", "properties": known, **_some(schema, "required")}


def gives(op: Operation) -> Schema:
    """Schema of the result. What a stream yields is collected."""
    schema = op.gives.model_json_schema(mode="serialization", by_alias=True)
    definitions = schema.pop("$defs", {})
    item = _untitled(schema)
    if op.stream:
        item = {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": item},
                "is_complete": {"type": "boolean", "description": "False when there was more to come"},
            },
            "required": ["items", "is_complete"],
        }
    return {**item, **({"$defs": _untitled(definitions)} if definitions else {})}


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
    """Without the titles that repeat each name. A property called `title` is none."""
    if isinstance(node, list):
        return [_untitled(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _untitled(value) for name, value in node[key].items()}
        if key == "properties"
        else _untitled(node[key])
        for key in node
        if key != "cli" and not (key == "title" and isinstance(node[key], str))
    }


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
    said = {k: v for k, v in node.items() if k != "default" or v not in (None, "", False, [], {})}
    kinds = said.get("anyOf")
    if not isinstance(kinds, list) or {"type": "null"} not in kinds:
        return said
    rest = [kind for kind in kinds if kind != {"type": "null"}]
    others = {key: value for key, value in said.items() if key != "anyOf"}
    return {**rest[0], **others} if len(rest) == 1 else {**others, "anyOf": rest}
