"""The registry as plain data: for the command line, the OpenAPI document and the reference pages.

Faces that must start quickly read the generated files instead of importing pydantic models.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

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
    return {
        "name": name,
        "type": kind["items"]["type"] if kind.get("type") == "array" else kind.get("type", "string"),
        "multiple": kind.get("type") == "array",
        "argument": hints.get("argument", False),
        "short": hints.get("short", ""),
        "supplied": hints.get("supplied", ""),
        "required": is_required,
        "default": schema.get("default"),
        "least": kind.get("minimum", schema.get("minimum")),
        "most": kind.get("maximum", schema.get("maximum")),
        "help": schema.get("description", ""),
    }


def served() -> list[Operation]:
    """All operations that HTTP offers, by name."""
    return [op for op in _by_name() if op.name not in FROM_HTTP]


def openapi(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of everything the daemon serves."""
    models: list[tuple[type[BaseModel], Any]] = []
    for op in served():
        models += [(op.takes, "validation"), (op.gives, "serialization")]
    refs, definitions = models_json_schema(
        list(dict.fromkeys(models)), ref_template="#/components/schemas/{model}"
    )
    routes: dict[str, Any] = {}
    for op in served():
        routes.setdefault(op.route[1], {})[op.route[0].lower()] = _route(op, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "envmgr", "version": version, "description": "The daemon, over its Unix socket."},
        "paths": routes,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _route(op: Operation, refs: Any) -> dict[str, Any]:
    in_path = [name for name in op.takes.model_fields if f"{{{name}}}" in op.route[1]]
    properties = op.takes.model_json_schema().get("properties", {})
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path
    ]
    route: dict[str, Any] = {"operationId": op.name, "summary": op.summary, "description": op.doc}
    if op.route[0] == "GET":
        parameters += [
            {
                "name": name,
                "in": "query",
                "required": op.takes.model_fields[name].is_required(),
                "schema": schema,
            }
            for name, schema in properties.items()
            if name not in in_path
        ]
    else:
        route["requestBody"] = {"content": {"application/json": {"schema": refs[op.takes, "validation"]}}}
    kind = "application/x-ndjson" if op.stream else "application/json"
    answer = {"description": op.summary, "content": {kind: {"schema": refs[op.gives, "serialization"]}}}
    problem = {"description": "A problem: code, message, hint, retryable, details, request"}
    return {**route, "parameters": parameters, "responses": {"200": answer, "default": problem}}
