"""The TypeScript client, written from the registry into `envmgr/clients/envmgr.ts`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from envmgr.app.sdk.schema import Call, Library, Schema, Words, said

_WORDS = Words(
    string="string", integer="number", number="number", boolean="boolean", null="null", anything="unknown",
    array="Array<{}>".format, table="Record<string, {}>".format,
    literal=lambda values: " | ".join(json.dumps(value) for value in values),
)  # fmt: skip
_HEAD = """// Client of envmgr's HTTP API: every operation as a method, every result as a type. Generated; do not edit.
// Run `python -m envmgr.interfaces.cli.generate`. Runs where `fetch` is: Node 20.3 and newer, Deno, Bun, browsers.
"""


def typescript(library: Library) -> str:
    """The whole module."""
    wire = Path(__file__).with_name("wire.ts").read_text(encoding="utf-8")
    types = "\n".join(_type(name, schema) for name, schema in library.types.items())
    calls = "\n".join(_method(call) for call in library.calls)
    return f"{_HEAD}\n{wire.replace('// <operations>', calls.strip())}\n{types}"


def _type(name: str, schema: Schema) -> str:
    says = str(schema.get("description", "")).partition("\n\n")[0].replace("\n", " ").replace("*/", "* /")
    if "properties" not in schema:
        return f"export type {name} = {said(schema, _WORDS)};\n"
    required = schema.get("required", [])
    lines = [f"/** {says or name} */", f"export interface {name} {{"]
    for field, kind in schema["properties"].items():
        lines.append(f"  {field}{'' if field in required else '?'}: {said(kind, _WORDS)};")
    return "\n".join([*lines, "}", ""])


def _method(call: Call) -> str:
    gives = said(call.gives, _WORDS)
    return "\n".join([*_doc(call), *(f"  {line}" for line in _lines(call, gives)), ""])


def _doc(call: Call) -> Iterator[str]:
    yield f"  /** {call.op.summary.replace('*/', '* /')} */"


def _lines(call: Call, gives: str) -> Iterator[str]:
    arguments = "; ".join(
        f"{argument.name}{'' if argument.is_required else '?'}: {said(argument.schema, _WORDS)}"
        for argument in call.arguments
    )
    is_optional = not any(argument.is_required for argument in call.arguments)
    asked = f"asked: {{ {arguments} }}{' = {}' if is_optional else ''}, " if call.arguments else ""
    words = f'"{call.op.route[0]}", "{call.op.route[1]}", {"asked" if call.arguments else "{}"}'
    if call.op.stream:
        yield f"{call.name}({asked}options: CallOptions = {{}}): AsyncGenerator<{gives}> {{"
        yield f"  return this.stream<{gives}>({words}, options);"
    else:
        how = json.dumps({"repeats": call.repeats, "key": call.key, "waits": call.waits})
        yield f"{call.name}({asked}options: CallOptions = {{}}): Promise<{gives}> {{"
        yield f"  return this.call<{gives}>({words}, {how}, options);"
    yield "}"
