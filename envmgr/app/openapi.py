"""The OpenAPI 3.1 document of everything the daemon serves, made from the registry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from envmgr.app.aliases import aliases
from envmgr.app.examples import EXAMPLES
from envmgr.app.manifest import served
from envmgr.app.operations import Operation

# Any throughout: JSON documents.
Schema = dict[str, Any]

PROBLEMS = {
    "400": "The call itself is wrong, such as a body that is no JSON object.",
    "401": "There is no key, or it is wrong, revoked or expired.",
    "403": "The key lacks the scope, or the request comes from elsewhere.",
    "404": "No such thing.",
    "409": "Somebody or something else has it, or its state does not fit.",
    "413": "The body is too long.",
    "415": "The body is not said to be JSON.",
    "422": "A field is missing, unknown or wrong; or a template, setting or repository cannot be used as it is.",
    "424": "It failed in part or was taken back; `details` say what is left.",
    "429": "The key asks too much, or a budget is used up; see `Retry-After`.",
    "500": "A bug.",
    "503": "Something that is needed does not answer; trying again can help.",
}
_REF = "#/components/schemas/"
_BODY_ONLY = {"413", "415"}
_BODILESS = ("GET", "DELETE")
_PROBLEM: Schema = {
    "type": "object",
    "description": "What happened, and the next move.",
    "properties": {
        "code": {"type": "string", "description": "Stable, such as `conflict.stale`"},
        "message": {"type": "string", "description": "What happened; for people"},
        "hint": {"type": "string", "description": "What to do; for people"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later"},
        "details": {"type": "object", "description": "Facts for programs"},
        "request": {"type": "string", "description": "Id of the request; also `X-Request-Id`"},
    },
    "required": ["code", "message", "hint", "retryable", "details", "request"],
}
_ABOUT = (
    "The daemon of envmgr. On its Unix socket no key is needed: it is its owner's alone. On TCP every request but"
    " those for `live`, `ready` and `health` needs one. `X-Request-Id` is echoed."
)


def openapi(version: str) -> Schema:
    """The whole document."""
    models: list[tuple[type[BaseModel], Any]] = []
    for op in served():
        models += [(op.takes, "validation"), (op.gives, "serialization")]
    refs, definitions = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF + "{model}")
    schemas: Schema = _plain(definitions.get("$defs", {}))
    names = {name: _short(name) for name in schemas if "__" in name}
    refs, schemas = _renamed(refs, names), {names.get(k, k): _renamed(v, names) for k, v in schemas.items()}
    paths: Schema = {}
    for op in served():
        _add(paths, op, op.route, _Form(op, schemas, refs))
    for number, alias in enumerate(aliases()):
        _add(paths, alias.op, alias.route, _Form(alias.op, schemas, refs), suffix=f"--alias-{number + 1}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "envmgr", "version": version, "description": _ABOUT},
        "servers": [{"url": "http://127.0.0.1:8750", "description": "Where `http.listen` says"}],
        "security": [{"key": []}, {"bearer": []}],
        "tags": [{"name": name} for name in sorted({_tag(op) for op in served()})],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "responses": {code: _problem(code, says) for code, says in PROBLEMS.items()},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _add(paths: Schema, op: Operation, route: tuple[str, str], form: _Form, *, suffix: str = "") -> None:
    described = form.route(route)
    described["operationId"] += suffix
    if suffix:
        described["description"] = f"Another way to ask for `{op.name}`."
    paths.setdefault(route[1], {})[route[0].lower()] = described


class _Form:
    """What is asked of an operation, and what it answers."""

    def __init__(self, op: Operation, schemas: Schema, refs: Mapping[Any, Any]) -> None:
        self._op, self._schemas = op, schemas
        self._takes, self._gives = refs[op.takes, "validation"], refs[op.gives, "serialization"]

    def route(self, route: tuple[str, str]) -> Schema:
        method, path = route
        op = self._op
        in_path = re.findall(r"\{(\w+)\}", path)
        has_body = method not in _BODILESS
        described: Schema = {
            "operationId": op.name,
            "tags": [_tag(op)],
            "summary": op.summary,
            "description": f"{op.doc}\n\nScope: `{op.scope}`." if not op.is_open else op.doc,
            "parameters": list(self._parameters(in_path, is_query=not has_body)),
            "responses": self._responses(has_body=has_body),
        }
        if op.is_open:
            described["security"] = []
        if has_body:
            described["requestBody"] = self._body(in_path)
        return described

    def _properties(self) -> Schema:
        found: Schema = self._schemas[self._takes["$ref"].rpartition("/")[2]].get("properties", {})
        return found

    def _parameters(self, in_path: list[str], *, is_query: bool) -> Iterable[Schema]:
        fields = self._op.takes.model_fields
        known = self._properties()
        for name in in_path:
            schema = known.get(name, {})
            schema = schema["items"] if schema.get("type") == "array" else schema
            schema = {key: value for key, value in schema.items() if key != "default"}
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}
        if not is_query:
            return
        for name, schema in known.items():
            if name not in in_path:
                is_required = name in fields and fields[name].is_required()
                yield {
                    "name": name,
                    "in": "query",
                    "required": is_required,
                    "schema": _without_null(schema),
                    **({"description": schema["description"]} if "description" in schema else {}),
                }

    def _body(self, in_path: list[str]) -> Schema:
        content: Schema = {"schema": self._takes if not in_path else self._rest(in_path)}
        if self._op.name in EXAMPLES:
            content["example"] = dict(EXAMPLES[self._op.name])
        is_required = any(
            field.is_required() for name, field in self._op.takes.model_fields.items() if name not in in_path
        )
        return {"required": is_required, "content": {"application/json": content}}

    def _rest(self, in_path: list[str]) -> Schema:
        """Of what it takes, what the path does not say."""
        whole = self._schemas[self._takes["$ref"].rpartition("/")[2]]
        rest = {**whole, "properties": {k: v for k, v in self._properties().items() if k not in in_path}}
        required = [name for name in whole.get("required", []) if name not in in_path]
        rest.pop("required", None)
        return {**rest, **({"required": required} if required else {})}

    def _responses(self, *, has_body: bool) -> Schema:
        op = self._op
        kind = "application/x-ndjson" if op.stream else "application/json"
        codes = [code for code in PROBLEMS if has_body or code not in _BODY_ONLY]
        return {
            "200": {"description": op.summary, "content": {kind: {"schema": self._gives}}},
            **{code: {"$ref": f"#/components/responses/{code}"} for code in codes},
        }


def _tag(op: Operation) -> str:
    return op.name.partition(".")[0]


def _problem(code: str, says: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
    return {"description": says, "content": content, **({"headers": headers} if code == "429" else {})}


def _plain(node: Any) -> Any:
    """Without what is for our own command line."""
    if isinstance(node, dict):
        is_hint = isinstance(node.get("cli"), dict) and ("type" in node or "anyOf" in node or "$ref" in node)
        return {key: _plain(value) for key, value in node.items() if not (is_hint and key == "cli")}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def _short(name: str) -> str:
    """Two models of one name have their modules before it: `envmgr__app__reload__StepView` is `ReloadStepView`."""
    *_, module, own = name.split("__")
    return "".join(word.capitalize() for word in module.split("_")) + own


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {key: _renamed(value, names) for key, value in node.items()}
    if isinstance(node, str) and node.startswith(_REF):
        return _REF + names.get(node.removeprefix(_REF), node.removeprefix(_REF))
    return [_renamed(item, names) for item in node] if isinstance(node, list) else node


def _without_null(schema: Schema) -> Schema:
    """A query cannot say null; left out is what it means."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if not kinds:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}
