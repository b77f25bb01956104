"""Text as the word pieces of a BERT model: small letters, no accents, the longest known beginning first."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

_LONGEST_WORD = 100
_CLS, _SEP, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


class WordPieces:
    """The vocabulary of one model."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """Raises KeyError when it is no BERT vocabulary."""
        self._vocabulary = vocabulary
        self._begin, self._end, self._unknown = (vocabulary[name] for name in (_CLS, _SEP, _UNKNOWN))

    @classmethod
    def load(cls, file: Path) -> WordPieces:
        """From a `tokenizer.json`. Blocking; raises OSError, ValueError or KeyError."""
        return cls(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"])

    def ids(self, text: str, *, at_most: int) -> list[int]:
        """Numbers of the pieces, between those of the beginning and the end."""
        found = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._begin, *found[: at_most - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._vocabulary.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            pieces.append(piece)
            start = end
        return pieces


def _words(text: str) -> Iterator[str]:
    """Split at spaces; punctuation and CJK characters stand alone."""
    bare = (c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    word = ""
    for character in bare:
        category = unicodedata.category(character)
        if character.isspace() or category.startswith("C") or _stands_alone(character, category):
            if word:
                yield word
            word = ""
            if _stands_alone(character, category):
                yield character
        else:
            word += character
    if word:
        yield word


def _stands_alone(character: str, category: str) -> bool:
    # All ASCII that is neither letter nor digit counts as punctuation for BERT.
    is_symbol = character.isascii() and category.startswith("S")
    return category.startswith("P") or is_symbol or 0x3400 <= ord(character) <= 0x9FFF
