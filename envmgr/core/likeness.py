"""Whether two texts say the same, nearly the same, or the contrary."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from envmgr.core.words import words

SAME = 0.8
"""From this likeness on two texts say the same, unless they differ in what matters."""
CLOSE = 0.4
"""From this likeness on they are about the same."""
_LENGTH = 2
_DENIALS = frozenset(
    words("not no never cannot don doesn isn won without false off disabled fails broken wrong avoid unsafe")
)


def fingerprint(*texts: str) -> str:
    """Equal for texts that differ in case, spaces and punctuation only."""
    said = "\n".join(" ".join(words(text)) for text in texts)
    return hashlib.blake2s(said.encode(), digest_size=16).hexdigest()


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Its runs of two words."""
    said = words(text)
    if len(said) < _LENGTH:
        return frozenset([tuple(said)])
    return frozenset(tuple(said[n : n + _LENGTH]) for n in range(len(said) - _LENGTH + 1))


def likeness(one: str, other: str) -> float:
    """Share of the runs of words that both have (Jaccard): 0 to 1."""
    first, second = shingles(one), shingles(other)
    return len(first & second) / len(first | second)


def differs_in_substance(one: str, other: str) -> bool:
    """One denies or counts what the other does not."""
    return _substance(words(one)) != _substance(words(other))


def _substance(said: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    denials = sum(word in _DENIALS for word in said) % 2
    return denials, tuple(sorted(word for word in said if word.isdigit()))
