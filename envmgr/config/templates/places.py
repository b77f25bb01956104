"""Problems with the place of what they are about."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.config.nodes import Items, Table, find, leaves, mark_of, value_mark
from envmgr.config.problems import Path, Problem, dotted


@dataclass(frozen=True, slots=True)
class Places:
    """Knows the tree that was checked."""

    tree: Table

    def value(self, path: Path, message: str, hint: str = "", *, is_warning: bool = False) -> Problem:
        """About the value at a path."""
        mark = value_mark(self.tree, path)
        return Problem(mark=mark, path=dotted(path), message=message, hint=hint, is_warning=is_warning)

    def key(self, path: Path, message: str, hint: str = "", *, is_warning: bool = False) -> Problem:
        """About the key at a path."""
        mark = mark_of(self.tree, path)
        return Problem(mark=mark, path=dotted(path), message=message, hint=hint, is_warning=is_warning)

    def is_written(self, path: Path) -> bool:
        """Whether the files say it, for this very thing and not by `defaults`."""
        node = find(self.tree, path)
        below = find(self.tree, ("defaults", *path[2:])) if path[:1] == ("services",) else None
        return node is not None and (below is None or node.mark != below.mark)

    def entry(self, at: Path, name: str) -> Path:
        """The path of a name in a map of names, or in the list that stands for one."""
        items = find(self.tree, at)
        for path, leaf in leaves(items) if items and not isinstance(items, Table) else ():
            if leaf.value == name:
                return (*at, *path)
        return (*at, name)

    def item(self, at: Path, index: int) -> Path:
        """The path of an entry of a list that may be written as a single value."""
        return (*at, index) if isinstance(find(self.tree, at), Items) else at
