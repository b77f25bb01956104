"""How compose puts files on top of each other: maps merge, lists grow, and some keys have rules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from envmgr.config.importers.asking import wrong
from envmgr.config.nodes import Items, Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark

Tags = Mapping[Mark, str]
"""`!reset` and `!override` by the place of the value."""

_REPLACED = ("command", "entrypoint", "test")
_PAIRS = ("environment", "labels", "args", "sysctls", "annotations", "extra_hosts", "additional_contexts")
_LISTS = ("env_file", "dns", "dns_search", "tmpfs", "expose", "profiles")


def normal(node: Node, key: str = "") -> Node:
    """Short forms of a service as long ones, so that they can be merged."""
    match node:
        case Items() if key in _PAIRS:
            return _pairs(node, key)
        case Items() if key in ("depends_on", "networks"):
            return _names(node, key)
        case Leaf(mark=mark) if key in _LISTS and node.value is not None:
            return Items(mark, (node,))
        case Leaf(mark=mark) if key == "build" and node.value is not None:
            return Table(mark, {"context": node}, {"context": mark})
        case Table(mark, items, keys) if key not in _PAIRS:
            return Table(mark, {name: normal(item, name) for name, item in items.items()}, keys)
    return node


def _pairs(node: Items, key: str) -> Table:
    """`[NAME=value, NAME]` as a map; a name alone has no value."""
    items: dict[str, Node] = {}
    for item in node.items:
        if not isinstance(item, Leaf):
            raise wrong(item.mark, f"entries of {key} are NAME=value")
        sign = next((c for c in item.text if c in ("=:" if key == "extra_hosts" else "=")), "=")
        name, equals, value = item.text.partition(sign)
        items[name.strip()] = text_leaf(item.mark, value) if equals else Leaf(item.mark, None, "")
    return Table(node.mark, items, {name: item.mark for name, item in items.items()})


def _names(node: Items, key: str) -> Table:
    items: dict[str, Node] = {}
    for item in node.items:
        if not isinstance(item, Leaf) or item.value is None:
            raise wrong(item.mark, f"a list of {key} has names only")
        items[item.text] = Leaf(item.mark, None, "")
    return Table(node.mark, items, {name: item.mark for name, item in items.items()})


def merge(base: Node | None, over: Node, tags: Tags, key: str = "") -> Node | None:
    """`over` on top of `base`; None where `!reset` takes a value away."""
    tag = tags.get(over.mark, "")
    if tag == "!reset":
        return None
    if tag == "!override":
        base = None
    match base, over:
        case ((Table() | None), Table()):
            return _tables(base, over, tags)
        case Items(), Items() if key not in _REPLACED:
            return Items(over.mark, _grown(base.items, over.items, key))
        case _, Leaf(value=None) if base is not None:
            return base
    return over


def _tables(base: Table | None, over: Table, tags: Tags) -> Table:
    items = dict(base.items) if base else {}
    keys = dict(base.keys) if base else {}
    for name, node in over.items.items():
        merged = merge(items.get(name), node, tags, name)
        if merged is None:
            items.pop(name, None)
            keys.pop(name, None)
        else:
            items[name] = merged
            keys[name] = over.keys[name] if merged is node else keys.get(name, over.keys[name])
    return Table(over.mark if base is None else base.mark, items, keys)


def _grown(base: tuple[Node, ...], over: tuple[Node, ...], key: str) -> tuple[Node, ...]:
    identity = _IDENTITIES.get(key)
    if identity is None:
        return (*base, *over)
    found = {identity(node): node for node in base}
    for node in over:
        found[identity(node)] = node
    return tuple(found.values())


def _target(node: Node) -> str:
    """Where it is mounted: what makes two mounts the same."""
    if isinstance(node, Table):
        target = node.get("target") or node.get("source")
        return target.text if isinstance(target, Leaf) else ""
    if not isinstance(node, Leaf):
        return ""
    parts = [part for part in _colons(node.text) if part]
    if len(parts) > 1 and not parts[-1].startswith(("/", "$")):
        parts.pop()  # the mode
    return parts[-1] if parts else node.text


def _colons(text: str) -> list[str]:
    """Split at colons that are not in braces."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == ":" and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _port(node: Node) -> str:
    if isinstance(node, Table):
        shown = [node.get(name) for name in ("host_ip", "published", "target", "protocol")]
        return ":".join(leaf.text if isinstance(leaf, Leaf) else "" for leaf in shown)
    return node.text if isinstance(node, Leaf) else ""


_IDENTITIES: Mapping[str, Callable[[Node], str]] = {
    "volumes": _target,
    "secrets": _target,
    "configs": _target,
    "ports": _port,
    "expose": _port,
}
