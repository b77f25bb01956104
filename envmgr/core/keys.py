"""What keys of a terminal send, by the names that tmux has for them."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = {"Enter": "\r", "Escape": "\x1b", "Space": " ", "Tab": "\t", "BSpace": "\x7f"}


def typed(keys: Sequence[str]) -> str:
    """`C-c` and the like, `Enter`, `Escape`, `Space`, `Tab`, `BSpace`; anything else is typed as it stands."""
    return "".join(_one(key) for key in keys)


def _one(key: str) -> str:
    is_control = len(key) == 3 and key.startswith("C-") and "@" <= key[2].upper() <= "_"
    return chr(ord(key[2].upper()) - 64) if is_control else _NAMED.get(key, key)
