"""JSON Schema of templates for editors: as liberal as the loader, so that it never marks what would be accepted."""

from __future__ import annotations

from typing import Any

from envmgr.config.templates.describing import described

# Any: JSON.
Json = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Json = {"type": "string", "pattern": r"\$\{"}
_NOTHING: Json = {"type": "null"}
_ABOUT = ("description", "default", "examples")


def editor_schema() -> Json:
    """The schema of the format. What `extends` deletes is null; what takes references may be one."""
    made = described().model_json_schema(by_alias=True)
    definitions = {name: _table(model) for name, model in made.pop("$defs").items()}
    return {"$schema": _DIALECT, **_table(made), "$defs": definitions}


def _table(model: Json) -> Json:
    properties = {key: _property(value) for key, value in model["properties"].items()}
    return {**_plain(model), "properties": properties}


def _property(schema: Json) -> Json:
    """Its description stays in front, where editors look for it."""
    about = {key: schema[key] for key in _ABOUT if key in schema}
    inner = _value({key: value for key, value in schema.items() if key not in _ABOUT})
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**about, "anyOf": [*(choice for choice in choices if choice != _NOTHING), _NOTHING]}


def _value(schema: Json) -> Json:
    schema = _plain(schema)
    if "anyOf" in schema:
        choices: list[Json] = []
        for inner in schema["anyOf"]:
            found = _value(inner)
            choices += found["anyOf"] if set(found) == {"anyOf"} else [found]
        return {**schema, "anyOf": [one for at, one in enumerate(choices) if one not in choices[:at]]}
    if "items" in schema:
        schema["items"] = _value(schema["items"])
    for key in ("additionalProperties", "patternProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _entries(schema[key]) if key == "patternProperties" else _property(schema[key])
    is_open = schema.get("type") == "string" and "pattern" not in schema and "enum" not in schema
    if is_open:
        return {**schema, "type": ["string", "number"]}
    if schema.get("type") in ("integer", "number", "boolean", "string") or "enum" in schema:
        return {"anyOf": [schema, _REFERENCE]} if schema != _REFERENCE else schema
    return schema


def _entries(patterns: Json) -> Json:
    return {pattern: _property(inner) for pattern, inner in patterns.items()}


def _plain(schema: Json) -> Json:
    """Titles only repeat the keys."""
    return {key: value for key, value in schema.items() if key != "title"}
