"""Times to stop that fit: a whole stop has 60 seconds, whatever single services are given by their files."""

from __future__ import annotations

from envmgr.config import units
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.findings import Report
from envmgr.config.importers.units import duration
from envmgr.config.nodes import Table

_WHOLE_S = 60.0
_USUAL_S = 10.0
_AGENT_S = 15.0
_LEAST_S = 1.0


def shorten(out: Draft, report: Report) -> None:
    """Make every chain of dependants end in time: cut the longest time that is written in it, or leave all to the default."""
    services = out.get("services")
    if not isinstance(services, Draft):
        return
    drafts = {name: draft for name in services.names() if isinstance(draft := services.get(name), Draft)}
    edges = {name: _edges(draft) for name, draft in drafts.items()}
    for _ in drafts:
        path = _longest(edges, {name: _grace_s(draft) for name, draft in drafts.items()})
        excess_s = _AGENT_S + sum(_grace_s(drafts[name]) for name in path) - _WHOLE_S
        written = [name for name in path if _is_written(drafts[name])]
        if excess_s <= 0 or not written:
            return
        longest = max(written, key=lambda name: _grace_s(drafts[name]))
        left_s = _grace_s(drafts[longest]) - excess_s
        for name in [longest] if left_s >= _LEAST_S else written:
            _set(drafts[name], name, left_s if left_s >= _LEAST_S else 0, report)


def _edges(draft: Draft) -> list[str]:
    found = draft.get("depends_on")
    if isinstance(found, Draft):
        return list(found.names())
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _is_written(draft: Draft) -> bool:
    stop = draft.get("stop")
    return isinstance(stop, Draft) and "grace" in stop


def _grace_s(draft: Draft) -> float:
    if draft.get("kind") == "task":
        return 0.0
    stop = draft.get("stop")
    said = stop.get("grace") if isinstance(stop, Draft) else None
    return units.seconds(said) if isinstance(said, str) else _USUAL_S


def _longest(edges: dict[str, list[str]], graces_s: dict[str, float]) -> list[str]:
    """The chain of dependencies that takes longest to stop. A ring is cut: it is told elsewhere."""
    best: dict[str, list[str]] = {}

    def sum_s(path: list[str]) -> float:
        return sum(graces_s[name] for name in path)

    order, seen = [], set()
    stack = [(name, False) for name in reversed(edges)]
    while stack:
        name, is_done = stack.pop()
        if is_done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack += [(other, False) for other in edges[name] if other in edges and other not in seen]
    for name in order:
        below = [best[other] for other in edges[name] if other in best]
        best[name] = [name, *max(below, key=sum_s, default=[])]
    return max(best.values(), key=sum_s, default=[])


def _set(draft: Draft, name: str, grace_s: float, report: Report) -> None:
    stop = draft.below("stop")
    mark = stop.mark
    node = draft.table().get("stop")
    if isinstance(node, Table):
        mark = node.keys["grace"]
    if grace_s:
        stop.put("grace", duration(grace_s), mark)
        says = f"{name} has {duration(grace_s)} to stop, since everything together has {_WHOLE_S:.0f}s"
    else:
        stop.drop("grace")
        says = f"{name} has the usual time to stop, since everything together has {_WHOLE_S:.0f}s"
        if not stop:
            draft.drop("stop")
    report.changed(mark, f"services.{name}.stop", says)
