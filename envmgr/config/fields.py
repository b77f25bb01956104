"""Types of values that occur all over settings and templates, each with its check and its JSON Schema."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from envmgr.config import units
from envmgr.model.service import Rate


class Strict(BaseModel):
    """A table with known keys.

    Attributes:
        later: Keys of the design that this version does not act on; using one is told as exactly that.
    """

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        json_schema_extra={"patternProperties": {"^x-": {}}},
    )
    later: ClassVar[frozenset[str]] = frozenset()


def one_or_many(value: object) -> object:
    """A single text stands for a list of it."""
    return [value] if isinstance(value, str) else value


def command(value: object) -> str | tuple[str, ...]:
    """A line for the shell, or words; raises ValueError."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value) and value[0]:
        return tuple(value)
    raise ValueError("a command is a line for the shell, or a list of words to execute; it cannot be empty")


def _port(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text[:6]) <= 65535:
        raise ValueError(f"{text!r} is not a port number (1 to 65535)")
    return int(text)


def _regex(value: str) -> str:
    try:
        re.compile(value.replace("$$", "$"))  # checked in late form
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


def _signal(value: str) -> str:
    name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
    if name not in signal.Signals.__members__:
        raise ValueError(f"{value!r} is not a signal such as SIGTERM or SIGINT")
    return name


def _inside(value: str) -> str:
    if value.startswith(("/", "~")) or ".." in value.split("/"):
        raise ValueError(f"{value!r} leads out of the worktree; give a path relative to its top")
    return value


SLUG = r"^[a-z0-9][a-z0-9_-]{0,39}$"
Slug = Annotated[str, Field(pattern=SLUG)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,39}$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Duration = Annotated[
    float,
    BeforeValidator(units.seconds),
    WithJsonSchema(
        {"type": "string", "pattern": rf"{units.DURATION}|\$\{{", "examples": ["500ms", "10s", "5m"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(units.size_bytes),
    WithJsonSchema({"type": "string", "pattern": rf"{units.SIZE}|\$\{{", "examples": ["512MB", "1GiB"]}),
]
Count = Annotated[int, Field(ge=0)]
Flag = bool
PortNumber = Annotated[
    int,
    PlainValidator(_port),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[0-9]+$"},
            ]
        }
    ),
]
Strings = Annotated[
    tuple[str, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Command = Annotated[
    str | tuple[str, ...],
    PlainValidator(command),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
            ]
        }
    ),
]
Regex = Annotated[str, AfterValidator(_regex)]
Signal = Annotated[str, AfterValidator(_signal)]
Inside = Annotated[str, AfterValidator(_inside)]
EnvText = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]
Env = dict[EnvName, EnvText]
# Programs in containers are also set up by names that no shell could say, such as `discovery.type`.
DottedEnv = dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")], EnvText]


_BARE_NUMBERS = ("factor", "jitter", "cpus")


def written(key: str, value: object) -> str:
    """A value of the schema in the form in which a file says it."""
    match value:
        case bool():
            return str(value).lower()
        case float() if key not in _BARE_NUMBERS:
            return units.duration(value)
        case float():
            return f"{value:g}"
        case int() if key == "max_size":
            return f"{value // 10**6}MB"
        case Rate(count=count, window_s=window_s):
            return f"{count}/{units.duration(window_s)}"
        case tuple():
            return ", ".join(written(key, item) for item in value)
    return str(value)


def fields_of(
    model: type[BaseModel],
) -> Mapping[str, Any]:  # Any: pydantic's FieldInfo, looked at by name only
    """Key as written in files to field."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
