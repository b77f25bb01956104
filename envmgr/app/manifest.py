"""The registry as plain data: for the command line and the reference pages.

Faces that must start quickly read the generated files instead of importing pydantic models.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from envmgr.app.faces import FROM_HTTP
from envmgr.app.registry import OPERATIONS, Operation

# Any throughout: JSON documents.


def manifest() -> list[dict[str, Any]]:
    """All operations that the command line offers, by name."""
    return [_entry(op) for op in _by_name() if op.command]


def _by_name() -> list[Operation]:
    """The order of declaration depends on which module happens to be imported first."""
    return sorted(OPERATIONS.values(), key=lambda op: op.name)


def _entry(op: Operation) -> dict[str, Any]:
    return {
        "name": op.name,
        "command": list(op.command),
        "also": list(op.also),
        "summary": op.summary,
        "doc": op.doc,
        "touch": op.touch.value,
        "stream": op.stream,
        "local": op.is_local,
        "method": op.route[0],
        "path": op.route[1],
        "params": params(op.takes),
    }


def params(takes: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a model as the command line sees them."""
    properties = takes.model_json_schema()["properties"] if takes.model_fields else {}
    return [
        _param(name, properties[name], is_required=field.is_required())
        for name, field in takes.model_fields.items()
        if "cli" in (field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {})
    ]


def _param(name: str, schema: dict[str, Any], *, is_required: bool) -> dict[str, Any]:
    hints = schema["cli"]
    kinds = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    kind = kinds[0]
    default = schema.get("default")
    is_object = kind.get("type") == "object" or isinstance(default, dict)  # the model reads JSON text
    return {
        "name": name,
        "type": "string" if is_object else _plain_type(kind),
        "multiple": kind.get("type") == "array",
        "argument": hints.get("argument", False),
        "short": hints.get("short", ""),
        "supplied": hints.get("supplied", ""),
        "required": is_required,
        "default": "" if is_object else default,
        "least": kind.get("minimum", schema.get("minimum")),
        "most": kind.get("maximum", schema.get("maximum")),
        "help": schema.get("description", ""),
    }


def _plain_type(kind: dict[str, Any]) -> str:
    found: str = kind.get("type", "string")
    if found == "array":
        found = kind["items"].get("type", "string")
    return found


def served() -> list[Operation]:
    """All operations that HTTP offers, by name."""
    return [op for op in _by_name() if op.name not in FROM_HTTP]
