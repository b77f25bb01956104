"""Whether two texts say the same, nearly the same, or the contrary."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from envmgr.core.words import STOP_WORDS, words

SAME = 0.8
"""From this likeness on two texts say the same, unless they differ in what matters."""
CLOSE = 0.4
"""From this likeness on they are about the same."""
_LENGTH = 2
_DENIALS = frozenset(
    words("not no never cannot don doesn isn won without false off disabled fails broken wrong avoid unsafe")
)
# What one may say or not without saying anything else.
_FILLERS = STOP_WORDS | frozenset(
    words(
        "again all already also always any each every here just must now only please really should still too very"
    )
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


def adds_words(one: str, known: str) -> bool:
    """The one has words, such as the name of another part, that the known one has not."""
    return bool(set(words(one)) - set(words(known)) - _FILLERS)


def _substance(said: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    denials = sum(word in _DENIALS for word in said) % 2
    return denials, tuple(sorted(word for word in said if word.isdigit()))
