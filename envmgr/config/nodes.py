"""A document as a tree in which every key and value knows the place it comes from.

Frozen: merging and substitution make new trees, and the marks come along, so an error in a template built from three files still
names the right line of the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from envmgr.config.problems import Mark, Path

MAX_BYTES = 1024 * 1024
MAX_NODES = 50_000
MAX_DEPTH = 40

Atom = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value. `text` is how it was written, so that `0644` can stay `0644` where text is wanted."""

    mark: Mark
    value: Atom
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A map with text keys. `keys` has the place of each key."""

    mark: Mark
    items: Mapping[str, Node]
    keys: Mapping[str, Mark]

    def get(self, key: str) -> Node | None:
        """The value of a key, if it is there."""
        return self.items.get(key)


Node = Leaf | Items | Table


def text_leaf(mark: Mark, text: str) -> Leaf:
    """A value that is text."""
    return Leaf(mark, text, text)


def plain(node: Node) -> object:
    """The tree as Python's own lists and dicts, for pydantic."""
    match node:
        case Leaf(value=value):
            return value
        case Items(items=items):
            return [plain(item) for item in items]
        case Table(items=table):
            return {key: plain(item) for key, item in table.items()}


def find(node: Node, path: Path) -> Node | None:
    """The node at a path."""
    here: Node | None = node
    for part in path:
        match here, part:
            case Table(items=table), str():
                here = table.get(part)
            case Items(items=items), int():
                here = items[part] if part < len(items) else None
            case _:
                return None
    return here


def mark_of(node: Node, path: Path) -> Mark:
    """Where this path stands, or the nearest thing around it; for a key the key, not its value."""
    here, mark = node, node.mark
    for part in path:
        match here, part:
            case Table(items=table, keys=keys), str() if part in table:
                mark, here = keys[part], table[part]
            case Items(items=items), int() if part < len(items):
                here = items[part]
                mark = here.mark
            case Leaf(mark=short), _:  # a short form: the value stands for what is below it
                return short
            case _:
                return mark
    return mark


def value_mark(node: Node, path: Path) -> Mark:
    """Where the value at this path stands; falls back as `mark_of` does."""
    found = find(node, path)
    return found.mark if found else mark_of(node, path)


def leaves(node: Node, at: Path = ()) -> Iterator[tuple[Path, Leaf]]:
    """Every single value with its path, in the order of the document."""
    match node:
        case Leaf():
            yield at, node
        case Items(items=items):
            for index, item in enumerate(items):
                yield from leaves(item, (*at, index))
        case Table(items=table):
            for key, item in table.items():
                yield from leaves(item, (*at, key))
