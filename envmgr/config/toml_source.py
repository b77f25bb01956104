"""TOML to nodes. tomllib keeps no positions, so keys are located in the text afterwards."""

from __future__ import annotations

import json
import re
import tomllib

from envmgr.config.nodes import MAX_DEPTH, MAX_NODES, Atom, Items, Leaf, Node, Table
from envmgr.config.problems import BadFile, Mark, Path, Problem, dotted

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEY})[ \t]*\]")
_PAIR = re.compile(rf"[ \t]*({_KEY})[ \t]*=[ \t]*")
# tomllib takes quadratic time for dotted keys.
_MAX_DOTS = 1000
_QUOTES = re.compile(r"\"\"\"|'''")


def read_toml(text: str, file: str) -> Node:
    """Parse a document.

    Raises:
        ConfigError: With line and column.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MAX_DOTS:
            raise BadFile([Problem(mark=Mark(file, number, 1), message="too many dots in one line")])
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"(.*) \(at line (\d+), column (\d+)\)", str(error))
        mark = Mark(file, int(found[2]), int(found[3])) if found else Mark(file, text.count("\n") + 1, 1)
        what = found[1] if found else str(error).removesuffix(" (at end of document)")
        raise BadFile([Problem(mark=mark, message=f"not valid TOML: {what}")]) from error
    except RecursionError as error:
        raise BadFile([Problem(mark=Mark(file), message="nested too deeply")]) from error
    return _Builder(file, _locate(text)).node(data, (), Mark(file, 1, 1))


def _locate(text: str) -> dict[Path, tuple[int, int, int]]:
    """Path to line, column of the key, column of the value. Keys inside inline tables are not located."""
    found: dict[Path, tuple[int, int, int]] = {}
    arrays: dict[Path, int] = {}
    here: Path = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            here = _place(_words(header[2]), arrays, is_array=header[1] == "[[")
            found.setdefault(here, (number, header.start(2) + 1, header.start(2) + 1))
        elif pair := _PAIR.match(line):
            words = _words(pair[1])
            for length in range(1, len(words) + 1):
                found.setdefault((*here, *words[:length]), (number, pair.start(1) + 1, pair.end() + 1))
            opened = _QUOTES.findall(line)
            closing = opened[-1] if len(opened) % 2 else ""
    return found


def _words(key: str) -> Path:
    words = re.findall(_WORD, key)
    return tuple(json.loads(word) if word[0] == '"' else word.strip("'") for word in words)


def _place(words: Path, arrays: dict[Path, int], *, is_array: bool) -> Path:
    """The path a header means: inside an array of tables it is its newest element."""
    path: Path = ()
    for index, word in enumerate(words):
        path = (*path, word)
        if is_array and index == len(words) - 1:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path


class _Builder:
    def __init__(self, file: str, places: dict[Path, tuple[int, int, int]]) -> None:
        self._file, self._places, self._count = file, places, 0

    def node(self, value: object, path: Path, near: Mark) -> Node:
        """`near` is used where the text gives no better place."""
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            raise BadFile([Problem(mark=near, message="too many values, or nested too deeply")])
        place = self._places.get(path)
        mark = Mark(self._file, place[0], place[2]) if place else near
        if isinstance(value, dict):
            keys = {key: self._key((*path, key), mark) for key in value}
            return Table(
                mark, {key: self.node(item, (*path, key), keys[key]) for key, item in value.items()}, keys
            )
        if isinstance(value, list):
            return Items(
                mark, tuple(self.node(item, (*path, index), mark) for index, item in enumerate(value))
            )
        return self._leaf(value, path, mark)

    def _key(self, path: Path, near: Mark) -> Mark:
        place = self._places.get(path)
        return Mark(self._file, place[0], place[1]) if place else near

    def _leaf(self, value: object, path: Path, mark: Mark) -> Leaf:
        if isinstance(value, bool):
            return Leaf(mark, value, str(value).lower())
        if isinstance(value, str | int | float):
            atom: Atom = value
            return Leaf(mark, atom, str(value))
        raise BadFile(
            [
                Problem(
                    mark=mark,
                    path=dotted(path),
                    message=f"{dotted(path)}: dates have no use here",
                    hint="Quote it.",
                )
            ]
        )
