"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`; for nouns that only take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
