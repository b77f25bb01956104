"""The Python client's methods and types, written from the registry into `envmgr/clients/operations.py`."""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Iterator

from envmgr.app.sdk.schema import Argument, Call, Library, Schema, Words, said

_WORDS = Words(
    string="str", integer="int", number="float", boolean="bool", null="None", anything="Any",
    array="list[{}]".format, table="dict[str, {}]".format,
    literal=lambda values: f"Literal[{', '.join(repr(value) for value in values)}]",
)  # fmt: skip
_HEAD = '''"""Every operation as a method, every result as a type. Generated from the operations registry; do not edit.

Run `python -m envmgr.interfaces.cli.generate`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast


'''
_CLASS = '''class Operations:
    """All operations; how a call travels is the subclass's to say."""

    def _call(
        self,
        method: str,
        path: str,
        asked: Mapping[str, object],
        *,
        repeats: bool = False,
        key: str = "",
        waits_s: float = 0.0,
    ) -> Any:
        raise NotImplementedError

    def _stream(self, method: str, path: str, asked: Mapping[str, object]) -> Generator[Any, None, None]:
        raise NotImplementedError

'''


def python(library: Library) -> str:
    """The whole module."""
    types = "\n\n".join(_type(name, schema) for name, schema in library.types.items())
    calls = "\n".join(_method(call) for call in library.calls)
    return f"{_HEAD}{types}\n\n{_CLASS}{calls}"


def _type(name: str, schema: Schema) -> str:
    says = str(schema.get("description", "")).partition("\n\n")[0].replace("\n", " ")
    if "properties" not in schema:
        return (
            f"{name} = {said(schema, _WORDS)!r}\n"
            if "enum" not in schema
            else f"{name} = {said(schema, _WORDS)}\n"
        )
    lines = [f"class {name}(TypedDict):", f'    """{says or name}"""', ""]
    required = schema.get("required", [])
    for field, kind in schema["properties"].items():
        shown = said(kind, _WORDS)
        lines.append(f"    {field}: {shown if field in required else f'NotRequired[{shown}]'}")
    return "\n".join(lines) + "\n"


def _method(call: Call) -> str:
    gives = said(call.gives, _WORDS)
    result = f"Generator[{gives}, None, None]" if call.op.stream else gives
    signature = [f"        {_parameter(argument)}," for argument in call.arguments]
    star = ["        *,"] if signature else []
    lines = [f"    def {call.name}(", "        self,", *star, *signature, f"    ) -> {result}:", *_doc(call)]
    lines += [f"        {line}" for line in _body(call)]
    return "\n".join(lines) + "\n"


def _parameter(argument: Argument) -> str:
    kind = said(argument.schema, _WORDS)
    if argument.is_required:
        return f"{_name(argument.name)}: {kind}"
    kind = kind if kind.endswith("None") or kind == "Any" else f"{kind} | None"
    return f"{_name(argument.name)}: {kind} = None"


def _name(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _doc(call: Call) -> Iterator[str]:
    described = [argument for argument in call.arguments if argument.says]
    yield f'        """{call.op.summary}'
    if described:
        yield from ("", "        Args:")
    for argument in described:
        says = " ".join(argument.says.split()).replace('"""', "'''").replace("\\", "\\\\")
        yield from textwrap.wrap(
            f"{_name(argument.name)}: {says}", 110, initial_indent=" " * 12, subsequent_indent=" " * 16
        )
    yield '        """'


def _body(call: Call) -> Iterator[str]:
    asked = ", ".join(f"{argument.name!r}: {_name(argument.name)}" for argument in call.arguments)
    words = f'"{call.op.route[0]}", "{call.op.route[1]}", {{{asked}}}'
    if call.op.stream:
        yield f"return self._stream({words})"
        return
    more = ", repeats=True" if call.repeats else ""
    more += f', key="{call.key}"' if call.key else ""
    more += f", waits_s={call.waits} or 0.0" if call.waits else ""
    yield f"return cast({said(call.gives, _WORDS)!r}, self._call({words}{more}))"
