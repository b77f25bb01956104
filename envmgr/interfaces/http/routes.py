"""Which operation a method and a path mean.

Paths without placeholders are found at once; the others by a walk down a tree of their segments, so that the number of
operations does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from envmgr.app.operations import Operation
from envmgr.errors import NoSuchRoute, WrongMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An operation, and what its path says: the values of its placeholders."""

    op: Operation
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    """What may follow a beginning of a path. `ends` are the operations of the path that ends here, by method."""

    children: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    ends: dict[str, tuple[Operation, tuple[str, ...]]] = field(default_factory=dict)


class Routes:
    """Where operations are found."""

    def __init__(self, routes: Iterable[tuple[str, str, Operation]]) -> None:
        """From method, path and operation; a literal segment wins over a placeholder."""
        self._literal: dict[str, dict[str, Found]] = {}
        self._root = _Node()
        for method, path, op in routes:
            if "{" in path:
                self._grow(method, path, op)
            else:
                self._literal.setdefault(path, {})[method] = Found(op=op)

    def _grow(self, method: str, path: str, op: Operation) -> None:
        node, names = self._root, []
        for segment in path.split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.children.setdefault(segment, _Node())
        node.ends[method] = (op, tuple(names))

    def find(self, method: str, path: str) -> Found:
        """The operation; `path` as it came, still with its percent signs.

        Raises:
            NoSuchRoute: Nothing is served there.
            WrongMethod: Something is, by other methods, which `details` list as `allow`.
        """
        known = self._literal.get(path)
        if known is not None and method in known:
            return known[method]
        allowed = set(known or ())
        segments = path.split("/")
        for ends, values in _walk(self._root, segments, 0, ()):
            if method in ends:
                op, names = ends[method]
                return Found(op=op, values=dict(zip(names, map(unquote, values), strict=True)))
            allowed |= set(ends)
        if allowed:
            raise WrongMethod(
                f"{method} is not offered at {path[:200]}",
                hint=f"Use {' or '.join(sorted(allowed))}.",
                details={"allow": sorted(allowed)},
            )
        raise NoSuchRoute(
            f"nothing is served at {path[:200]}", hint="GET /api/v1/openapi.json lists what is."
        )


_Ends = dict[str, tuple[Operation, tuple[str, ...]]]


def _walk(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterable[tuple[_Ends, tuple[str, ...]]]:
    """All ways down, those by literal segments first."""
    if at == len(segments):
        if node.ends:
            yield node.ends, values
        return
    segment = segments[at]
    if (child := node.children.get(segment)) is not None:
        yield from _walk(child, segments, at + 1, values)
    if node.any is not None and segment:
        yield from _walk(node.any, segments, at + 1, (*values, segment))
