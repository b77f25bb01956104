"""Paths on the command line are meant from the folder one is in, as with git; operations take them from the repository's top."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_FIELDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("lock.acquire", "lock.release", "lock.renew", "lock.transfer", "lock.force", "lock.list"),
        ("targets",),
    ),
    "lock.why": ("target",),
    "task.submit": ("claims",),
}
_KEY = re.compile(r"[a-z]+:")
_TOP = ":/"
"""Begins a path that is meant from the top, as in git."""


def meant(
    operation: str, asked: Mapping[str, Any], cwd: str
) -> dict[str, Any]:  # Any: fields of the operation
    """The fields, with paths as the operation takes them."""
    fields = _FIELDS.get(operation, ())
    below = _below(cwd) if fields else ""
    return {
        name: _from_top(value, below) if name in fields and value else value for name, value in asked.items()
    }


def _from_top(value: Any, below: str) -> Any:  # Any: one text or several
    if isinstance(value, list):
        return [_from_top(one, below) for one in value]
    if value.startswith(_TOP):
        return value.removeprefix(_TOP)
    is_path = not (os.path.isabs(value) or _KEY.match(value))
    return f"{below}/{value}" if below and is_path and value.strip() else value


def _below(cwd: str) -> str:
    """The folder relative to the top of its checkout; empty at the top, and outside of any."""
    top = cwd
    while not os.path.exists(os.path.join(top, ".git")):
        if top == os.path.dirname(top):
            return ""
        top = os.path.dirname(top)
    found = os.path.relpath(cwd, top)
    return "" if found == "." else found
