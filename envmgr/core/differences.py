"""The smallest parts in which two values of the model differ, and how people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

_KEYS = ("name", "service", "target")

# Any, throughout: values of any type of the model.


def differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(names down to it, old, new) of each smallest part that differs."""
    if old == new:
        return
    parts = _parts(old), _parts(new)
    if parts[0] is None or parts[1] is None or type(old) is not type(new):
        yield path, _text(old), _text(new)
        return
    for key in [*parts[0], *(key for key in parts[1] if key not in parts[0])]:
        yield from differences(parts[0].get(key), parts[1].get(key), (*path, key))


def _parts(value: Any) -> dict[str, Any] | None:
    """Named parts of a value: fields, keys, or the names of the things in a tuple; None when it has none."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and all(is_dataclass(item) for item in value):
        key = next((k for k in _KEYS if all(hasattr(item, k) for item in value)), None)
        return {getattr(item, key): item for item in value} if key else None
    return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ", ".join(_text(item) for item in value)
    if is_dataclass(value):
        said = ((f.name, getattr(value, f.name)) for f in fields(value))
        return " ".join(
            f"{shown((name,))}={_text(part)}" for name, part in said if part not in (None, "", ())
        )
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(part)}" for key, part in value.items())
    return str(value)


def shown(path: tuple[str, ...]) -> str:
    """As templates call it: units of measure are no part of the names there."""
    return ".".join(name.removesuffix("_s").removesuffix("_bytes") for name in path)
