"""Merging documents: maps merge, lists and values replace, null (or "!unset") deletes."""

from __future__ import annotations

from envmgr.config.nodes import Items, Leaf, Node, Table

UNSET = "!unset"
PROBES = ("http", "tcp", "exec", "log", "health", "notify", "process", "resource", "any", "all")
LOOKS = ("startup", "ready", "live")


def is_unset(node: Node) -> bool:
    """Whether this value deletes what it stands on."""
    return isinstance(node, Leaf) and (node.value is None or node.value == UNSET)


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`; fold from the oldest ancestor to the youngest. Deletions stay until `settle`."""
    if not (isinstance(base, Table) and isinstance(over, Table)):
        return over
    items, keys = dict(base.items), dict(base.keys)
    for key, node in over.items.items():
        under = items.get(key)
        if key in LOOKS and isinstance(under, Table) and isinstance(node, Table):
            under = _yield_probe(under, node)
        items[key] = merge(under, node) if under is not None else node
        keys[key] = over.keys[key]
    return Table(over.mark, items, keys)


def _yield_probe(base: Table, over: Table) -> Table:
    """A service has one probe: naming one replaces an inherited one of another kind."""
    if not any(kind in over.items for kind in PROBES):
        return base
    dropped = {kind for kind in PROBES if kind not in over.items}
    dropped |= {"inside"} if "exec" in dropped else set()
    kept = {key: node for key, node in base.items.items() if key not in dropped}
    return Table(base.mark, kept, {key: base.keys[key] for key in kept})


_FREE = ("headers", "labels", "args", "extra_hosts")


def settle(node: Node, *, is_free: bool = False) -> Node:
    """The tree without deleted keys and without `x-` keys, which are for people and YAML anchors.

    Where keys are anybody's words (`is_free`), such as HTTP headers, `x-` means nothing special.
    """
    match node:
        case Leaf():
            return node
        case Items(mark, items):
            return Items(mark, tuple(settle(item) for item in items))
        case Table(mark, table, keys):
            kept = {
                key: settle(inner, is_free=key in _FREE)
                for key, inner in table.items()
                if not is_unset(inner) and (is_free or not key.startswith("x-"))
            }
            return Table(mark, kept, {key: keys[key] for key in kept})
