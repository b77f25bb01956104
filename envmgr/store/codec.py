"""Write the model's frozen dataclasses as JSON and read them back equal.

Conversions follow the type hints and are built once per type. Where a field may be one of several dataclasses, the JSON
names which (`"type": "AnyOf"`), because some of them have the same fields. When reading, unknown fields are ignored and
missing ones take their default, so a field with a default may be added to the model without a migration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Any, Generic, NamedTuple, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from envmgr.errors import Unavailable

T = TypeVar("T")

# Any, throughout: what goes in and comes out depends on a type hint that is known only at run time.
Convert = Callable[[Any], Any]

write_json = json.JSONEncoder(separators=(",", ":")).encode
read_json = json.JSONDecoder().decode


class Codec(Generic[T]):
    """JSON text of one dataclass."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        # A class is hashable; mypy thinks of its instances.
        self._form = _form(kind)  # type: ignore[arg-type]

    def dump(self, value: T) -> str:
        return write_json(self._form.encode(value))

    def load(self, text: str, **known: object) -> T:
        """Raises Unavailable if the text is not such a value. What is `known` counts, whatever the text says."""
        try:
            value: T = self._form.decode({**read_json(text), **known} if known else read_json(text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unavailable(
                f"a stored {self._kind.__name__} cannot be read ({error!r})",
                hint="Was it written by another version of envmgr? Run `envmgr doctor`.",
            ) from error
        return value


class _Form(NamedTuple):
    """How to turn a value into what `json` can write, and back."""

    encode: Convert
    decode: Convert


def _same(value: Any) -> Any:
    return value


_PLAIN_TYPES = (str, int, float, bool, object, NoneType)
_PLAIN = _Form(_same, _same)


@cache
def _form(hint: Any) -> _Form:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN_TYPES:
        return _PLAIN
    if isinstance(hint, NewType):
        return _form(hint.__supertype__)
    if is_dataclass(hint):
        record = _Record(hint)
        return _Form(record.encode, record.decode)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Form(_same, hint)
    if origin in (Union, UnionType):
        return _union([member for member in arguments if member is not NoneType])
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](arguments)
    raise TypeError(f"no JSON form for {hint}")


class _Record:
    """One dataclass. Its fields are looked at when first used: it may contain itself."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    @cached_property
    def _forms(self) -> dict[str, _Form]:
        hints = get_type_hints(self._kind)
        return {field.name: _form(hints[field.name]) for field in fields(self._kind)}

    @cached_property
    def _converted(self) -> list[tuple[str, Convert]]:
        """Fields that JSON does not have as they are; most are strings and numbers."""
        return [(name, form.decode) for name, form in self._forms.items() if form is not _PLAIN]

    def encode(self, value: Any) -> dict[str, Any]:
        return {name: form.encode(getattr(value, name)) for name, form in self._forms.items()}

    def decode(self, found: Mapping[str, Any]) -> Any:
        forms = self._forms
        given = {name: value for name, value in found.items() if name in forms}
        for name, decode in self._converted:
            if name in given:
                given[name] = decode(given[name])
        return self._kind(**given)


def _tuple(arguments: Sequence[Any]) -> _Form:
    item, rest = arguments
    if rest is not Ellipsis:
        raise TypeError("a tuple is stored only if it is of any length and one type")
    encode, decode = _form(item)
    return _Form(lambda value: [encode(v) for v in value], lambda found: tuple([decode(v) for v in found]))


def _frozenset(arguments: Sequence[Any]) -> _Form:
    encode, decode = _form(arguments[0])
    return _Form(
        lambda value: sorted(encode(v) for v in value), lambda found: frozenset(decode(v) for v in found)
    )


def _mapping(arguments: Sequence[Any]) -> _Form:
    key, item = arguments
    if key is not str:
        raise TypeError("a mapping is stored only if its keys are text")
    encode, decode = _form(item)
    return _Form(
        lambda value: {k: encode(v) for k, v in value.items()},
        lambda found: {k: decode(v) for k, v in found.items()},
    )


_CONTAINERS: dict[Any, Callable[[Sequence[Any]], _Form]] = {
    tuple: _tuple,
    frozenset: _frozenset,
    Mapping: _mapping,
}


def _union(members: Sequence[Any]) -> _Form:
    if len(members) == 1:
        encode, decode = _form(members[0])
    elif all(is_dataclass(member) for member in members):
        encode, decode = _tagged(members)
    elif all(member in _PLAIN_TYPES or get_origin(member) is tuple for member in members):
        encode, decode = _plain_or_tuple(members)
    else:
        raise TypeError(f"no way to tell {members} apart in JSON")
    return _Form(
        lambda value: None if value is None else encode(value),
        lambda found: None if found is None else decode(found),
    )


def _tagged(members: Sequence[Any]) -> _Form:
    forms = {member.__name__: _form(member) for member in members}

    def encode(value: Any) -> dict[str, Any]:
        name = type(value).__name__
        return {"type": name, **forms[name].encode(value)}

    return _Form(encode, lambda found: forms[found["type"]].decode(found))


def _plain_or_tuple(members: Sequence[Any]) -> _Form:
    tuples = [_form(member) for member in members if get_origin(member) is tuple]
    if not tuples:
        return _PLAIN
    (many,) = tuples
    return _Form(
        lambda value: many.encode(value) if isinstance(value, tuple) else value,
        lambda found: many.decode(found) if isinstance(found, list) else found,
    )
