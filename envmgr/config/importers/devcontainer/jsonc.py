"""JSON with comments and trailing commas to nodes, with the place of every key and value."""

from __future__ import annotations

import json
import re

from envmgr.config.importers.asking import wrong
from envmgr.config.nodes import MAX_DEPTH, MAX_NODES, Atom, Items, Leaf, Node, Table
from envmgr.config.problems import BadFile, Mark

_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[-+.\w]+")
_WORDS: dict[str, Atom] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def read_jsonc(text: str, file: str) -> Node:
    """Parse one value. Raises ConfigError with line and column."""
    reader = _Reader(text, file)
    node = reader.value(0)
    reader.space()
    if reader.at < len(text):
        raise reader.error("something follows after the end")
    return node


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.at = 0
        self._text, self._file = text, file
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._count = 0
        self._line = 0

    def mark(self) -> Mark:
        """Here. The reader only moves forward, so the line is found from the last one."""
        while self._line + 1 < len(self._lines) and self._lines[self._line + 1] <= self.at:
            self._line += 1
        return Mark(self._file, self._line + 1, self.at - self._lines[self._line] + 1)

    def error(self, message: str, hint: str = "") -> BadFile:
        """A problem here."""
        return wrong(self.mark(), f"not valid JSON: {message}", hint)

    def space(self) -> None:
        """Skip blanks and comments."""
        found = _SPACE.match(self._text, self.at)
        self.at = found.end() if found else self.at
        if self._text.startswith("/*", self.at):
            raise self.error("a comment that is not closed")

    def _next(self) -> str:
        self.space()
        return self._text[self.at : self.at + 1]

    def value(self, depth: int) -> Node:
        """The value that begins here."""
        character = self._next()
        self._count += 1
        if self._count > MAX_NODES:
            raise self.error(f"more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep")
        match character:
            case "{":
                return self._table(depth)
            case "[":
                return self._list(depth)
            case '"':
                mark = self.mark()
                text = self._string()
                return Leaf(mark, text, text)
            case "":
                raise self.error("it ends too early")
        return self._single()

    def _single(self) -> Leaf:
        mark, found = self.mark(), _WORD.match(self._text, self.at)
        word = found[0] if found else self._text[self.at]
        if word in _WORDS:
            self.at += len(word)
            return Leaf(mark, _WORDS[word], word if _WORDS[word] is not None else "")
        if not _NUMBER.fullmatch(word) or len(word) > 300:
            raise self.error(f"{word[:30]!r} is no value", "Texts stand in double quotes.")
        self.at += len(word)
        return Leaf(mark, json.loads(word) if not word.lstrip("-").startswith("0") else _plain(word), word)

    def _string(self) -> str:
        found = _STRING.match(self._text, self.at)
        if not found:
            raise self.error("a text that is not closed on its line")
        try:
            text = str(json.loads(found[0]))
            text.encode()  # half a character cannot be
        except ValueError as error:
            raise self.error("a text with a wrong escape") from error
        self.at = found.end()
        return text

    def _list(self, depth: int) -> Items:
        mark, items = self.mark(), []
        self.at += 1
        while self._next() != "]":
            items.append(self.value(depth + 1))
            self._comma("]")
        self.at += 1
        return Items(mark, tuple(items))

    def _table(self, depth: int) -> Table:
        mark = self.mark()
        items: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        self.at += 1
        while self._next() != "}":
            if self._next() != '"':
                raise self.error("a key in double quotes is missing")
            here = self.mark()
            key = self._string()
            if key in keys:
                raise wrong(here, f"key {key!r} is given twice", f"First in line {keys[key].line}.")
            if self._next() != ":":
                raise self.error("a colon is missing after the key")
            self.at += 1
            items[key], keys[key] = self.value(depth + 1), here
            self._comma("}")
        self.at += 1
        return Table(mark, items, keys)

    def _comma(self, end: str) -> None:
        character = self._next()
        if character == ",":
            self.at += 1
        elif character != end:
            raise self.error(f"a comma or {end!r} is missing" if character else "it ends too early")


def _plain(word: str) -> Atom:
    return float(word) if "." in word or "e" in word.lower() else int(word)
