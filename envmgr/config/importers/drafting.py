"""The template under construction: tables whose keys remember the line of the imported file they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

from envmgr.config.nodes import Atom, Items, Leaf, Node, Table
from envmgr.config.problems import Mark

Value: TypeAlias = Union[Node, "Draft", Atom, Sequence["Value"], Mapping[str, "Value"]]


class Draft:
    """A table that is filled key by key."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self._items: dict[str, Value] = {}
        self._keys: dict[str, Mark] = {}

    def put(self, key: str, value: Value, mark: Mark | None = None) -> None:
        """Set a key; `mark` is where the imported file says it."""
        self._items[key] = value
        self._keys[key] = mark or self.mark

    def add(self, key: str, values: Sequence[Value], mark: Mark) -> None:
        """Append to a list; an empty one is not begun."""
        if values:
            found = self._items.get(key, ())
            assert isinstance(found, Sequence)
            self._items[key] = [*found, *(as_node(value, mark) for value in values)]
            self._keys.setdefault(key, mark)

    def below(self, key: str, mark: Mark | None = None) -> Draft:
        """The table at a key, begun if it is not there."""
        found = self._items.get(key)
        if not isinstance(found, Draft):
            found = Draft(mark or self.mark)
            self.put(key, found, mark)
        return found

    def drop(self, key: str) -> None:
        """Take a key back."""
        self._items.pop(key, None)
        self._keys.pop(key, None)

    def get(self, key: str) -> Value:
        """What was put there, if anything was."""
        return self._items.get(key)

    def names(self) -> tuple[str, ...]:
        """Keys so far."""
        return tuple(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def __bool__(self) -> bool:
        return bool(self._items)

    def table(self) -> Table:
        """As it is now."""
        items = {key: as_node(value, self._keys[key]) for key, value in self._items.items()}
        return Table(self.mark, items, dict(self._keys))


def as_node(value: Value, mark: Mark) -> Node:
    """Any value as a node; what is one already keeps its own place."""
    match value:
        case Leaf() | Items() | Table():
            return value
        case Draft():
            return value.table()
        case str():
            return Leaf(mark, value, value)
        case bool():
            return Leaf(mark, value, str(value).lower())
        case int() | float():
            return Leaf(mark, value, f"{value:g}" if isinstance(value, float) else str(value))
        case None:
            return Leaf(mark, None, "")
        case Mapping():
            items = {key: as_node(item, mark) for key, item in value.items()}
            return Table(mark, items, dict.fromkeys(items, mark))
    return Items(mark, tuple(as_node(item, mark) for item in value))
