"""Which units start anew together, and in which waves, so that a replicated service stays reachable meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from envmgr.core import graph
from envmgr.core.replicas import FRONTS
from envmgr.model.service import ServiceSpec


def followers(units: Sequence[ServiceSpec], chosen: Collection[str]) -> frozenset[str]:
    """Units that start anew because one they need does, by edges with `restart`; directly or not.

    The name in front of instances counts as started anew when all of them are: it goes on itself.
    """
    moved = set(chosen)
    while True:
        moved_fronts = {
            unit.name
            for unit in units
            if unit.kind in FRONTS and moved.issuperset(edge.service for edge in unit.depends_on)
        }
        more = {
            unit.name
            for unit in units
            if unit.name not in moved
            and any(edge.restart and edge.service in moved | moved_fronts for edge in unit.depends_on)
        }
        if not more:
            return frozenset(moved - set(chosen))
        moved |= more


def waves(
    units: Sequence[ServiceSpec], again: Collection[str], come: Collection[str] = ()
) -> tuple[tuple[str, ...], ...]:
    """Groups of units to stop (those of `again`) and start, one group after another; the last one may be empty.

    Instances of a replicated service start anew one by one, unless something they need does so or comes, too; all others go
    together in the last group.
    """
    chosen = {*again, *come}
    edges = {unit.name: [edge.service for edge in unit.depends_on] for unit in units}
    rolling: list[list[str]] = []
    ranks: Counter[str] = Counter()
    together: list[str] = []
    for unit in (unit for unit in units if unit.name in chosen):
        needs = graph.closure(edges, [unit.name]) - {unit.name}
        if not unit.replica_of or unit.name in come or needs & chosen:
            together.append(unit.name)
            continue
        rank = ranks[unit.replica_of]
        ranks[unit.replica_of] += 1
        rolling += [[] for _ in range(rank + 1 - len(rolling))]
        rolling[rank].append(unit.name)
    return (*(tuple(wave) for wave in rolling), tuple(together))
