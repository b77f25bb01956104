"""Words of a text for searching: what people write, and what code is made of.

Index and question go through the same mill, so that it matters little which form a word has: `parseHttpRequest`,
`parse_http_request` and `parsing HTTP requests` share their words. Scripts without spaces are cut into pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_RUN = re.compile(r"[^\W_]+")
# Parts of camelCase: `HTTPServer2Go` is HTTP, Server, 2, Go.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+"
)
_LONGEST = 40
_MOST = 4000
_SHORTEST_STEM = 3

_COMMON = """
a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my no not of on or our so
than that the their them then there these they this to was we were what when where which who why will with would you your
"""
STOP_WORDS = frozenset(_COMMON.split())


def words(text: str) -> list[str]:
    """All of them, in order and with repetitions; each is of letters and digits, in small letters, and at most 40 long."""
    found: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text)):
        found += _of(run)
        if len(found) >= _MOST:
            return found[:_MOST]
    return found


def asked(question: str, *, at_most: int = 32) -> list[str]:
    """The different words of a question, without those that every text has, unless it has no others."""
    found = list(dict.fromkeys(words(question)))
    telling = [word for word in found if word not in STOP_WORDS]
    return (telling or found)[:at_most]


def _of(run: str) -> Iterator[str]:
    if not run.isascii() and _UNSPACED.search(run):
        yield from _of_unspaced(run)
        return
    is_mixed = run.isascii() and not (run.islower() or run.isdigit())
    parts = _PART.findall(run) if is_mixed else [run]
    if len(parts) > 1:
        yield _folded(run)
    for part in parts:
        yield _folded(part)


def _of_unspaced(run: str) -> Iterator[str]:
    end = 0
    for piece in _UNSPACED.finditer(run):
        yield from _of(run[end : piece.start()])
        yield from _pairs(piece.group())
        end = piece.end()
    yield from _of(run[end:])


def _pairs(text: str) -> Iterator[str]:
    yield from ([text] if len(text) == 1 else [text[n : n + 2] for n in range(len(text) - 1)])


def _folded(word: str) -> str:
    small = word.lower()
    if small.isascii():
        return stem(small[:_LONGEST])
    bare = "".join(c for c in unicodedata.normalize("NFKD", small) if c.isalnum())
    return (bare or small)[:_LONGEST]


def stem(word: str) -> str:
    """The part that forms of an English word have in common: `caches`, `cached`, `caching` and `cache` are `cach`."""
    if len(word) <= _SHORTEST_STEM or not word.isalpha():
        return word
    word = _without_ending(_singular(word))
    if word.endswith("e") and len(word) > _SHORTEST_STEM:
        word = word[:-1]
    return word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_ending(word: str) -> str:
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _SHORTEST_STEM and any(c in "aeiouy" for c in rest):
            is_doubled = rest[-1] == rest[-2] and rest[-1] not in "lsz"
            return rest[:-1] if is_doubled else rest
    if word.endswith(("tion", "sion")) and len(word) > 6:
        return word[:-3]
    return word
