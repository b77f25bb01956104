"""Order of things that need one another: `edges` maps each name to the names it needs.

Everything is stable: where the edges leave a choice, the order of declaration decides. Names that are needed but not declared
are ignored here; telling about them is the caller's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from envmgr.errors import ConfigError

Edges = Mapping[str, Collection[str]]


def find_cycle(edges: Edges) -> tuple[str, ...]:
    """One cycle, its first name repeated at the end (`a b a`); empty if there is none."""
    done: set[str] = set()
    for start in edges:
        if cycle := _walk(start, edges, done):
            return cycle
    return ()


def _walk(start: str, edges: Edges, done: set[str]) -> tuple[str, ...]:
    """Depth first with an own stack, as a chain may be longer than Python recurses."""
    path: dict[str, list[str]] = {}
    if start not in done:
        path[start] = _needs(start, edges)
    while path:
        here = next(reversed(path))
        if not path[here]:
            done.add(here)
            del path[here]
            continue
        there = path[here].pop(0)
        if there in path:
            names = list(path)
            return (*names[names.index(there) :], there)
        if there not in done:
            path[there] = _needs(there, edges)
    return ()


def _needs(name: str, edges: Edges) -> list[str]:
    return [other for other in edges[name] if other in edges]


def levels(edges: Edges) -> tuple[tuple[str, ...], ...]:
    """Groups that may run side by side: each needs only names of the groups before it.

    Raises:
        ConfigError: There is a cycle; the message names it.
    """
    if cycle := find_cycle(edges):
        raise ConfigError(f"cycle: {' -> '.join(cycle)}", hint="Remove one of these dependencies.")
    waiting = {name: set(_needs(name, edges)) for name in edges}
    found: list[tuple[str, ...]] = []
    while waiting:
        free = tuple(name for name, needs in waiting.items() if not needs)
        found.append(free)
        waiting = {name: needs.difference(free) for name, needs in waiting.items() if needs}
    return tuple(found)


def start_order(edges: Edges) -> tuple[str, ...]:
    """Every name after all that it needs. Raises ConfigError as `levels` does."""
    return tuple(name for level in levels(edges) for name in level)


def stop_order(edges: Edges) -> tuple[str, ...]:
    """Every name before all that it needs."""
    return tuple(reversed(start_order(edges)))


def closure(edges: Edges, names: Collection[str]) -> frozenset[str]:
    """These names and everything they need, directly or not. Cycles do no harm."""
    seen: set[str] = set()
    left = [name for name in names if name in edges]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left.extend(_needs(name, edges))
    return frozenset(seen)


def dependants(edges: Edges) -> dict[str, tuple[str, ...]]:
    """The same edges seen from the other end: who needs me."""
    return {name: tuple(other for other, needs in edges.items() if name in needs) for name in edges}
