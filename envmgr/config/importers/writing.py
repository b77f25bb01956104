"""An imported template as YAML with comments: what became otherwise stands where it matters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from envmgr.config.atoms import atom
from envmgr.config.importers.findings import Finding
from envmgr.config.nodes import Items, Leaf, Node, Table

_ORDER = ("params", "secrets", "env_file", "env", "ports", "workspace", "services", "hooks")
_WIDE = 88
_PLAIN = re.compile(r"[A-Za-z0-9_./$][A-Za-z0-9_./$ @%+=:(),;!?*<>|&~^\"'\\\[\]{}#-]*")
_UNSAFE = re.compile(r": |:$| #|[\n\t]|^[?:,\[\]{}#&*!|>'\"%@`-]| $")
_OLD_WORDS = ("yes", "no", "on", "off", "y", "n")  # truth values to readers of YAML 1.1
_IN_FLOW = re.compile(r"[,\[\]{}]")


def body(tree: Table, findings: Sequence[Finding]) -> Iterator[str]:
    """Lines of the template's keys, in their usual order."""
    keys = [*(key for key in _ORDER if key in tree.items), *(key for key in tree.items if key not in _ORDER)]
    for key in keys:
        yield ""
        yield from section(key, tree, findings)


def section(key: str, tree: Table, findings: Sequence[Finding]) -> Iterator[str]:
    """Lines of one key of the template."""
    node = tree.items[key]
    if key == "services" and isinstance(node, Table):
        yield "services:"
        yield from _services(node, findings)
    else:
        yield from _pair(key, node, "")


def _services(services: Table, findings: Sequence[Finding]) -> Iterator[str]:
    for number, (name, node) in enumerate(services.items.items()):
        if number:
            yield ""
        mark = services.keys[name]
        yield f"  # {mark.file}:{mark.line}"
        yield from (f"  # {line}" for line in comments(f for f in findings if f.service == name))
        yield from _pair(name, node, "  ")


def comments(findings: Iterable[Finding]) -> Iterator[str]:
    """Findings as lines."""
    for finding in findings:
        key = re.sub(r"^(services|processes)\.[^.]+\.?", "", finding.key) or finding.key
        line = f"{finding.severity}: {key + ': ' if key else ''}{finding.says} (line {finding.mark.line})"
        yield re.sub(r"\s+", " ", line)


def _pair(key: str, node: Node, indent: str) -> Iterator[str]:
    name = scalar(key)
    match node:
        case Leaf():
            yield f"{indent}{name}: {_leaf(node)}".rstrip()
        case Table(items=items) if not items:
            yield f"{indent}{name}: {{}}"
        case Items(items=items) if not items:
            yield f"{indent}{name}: []"
        case _ if (flow := _flow(node, room=_WIDE - len(indent) - len(name) - 2)) and _is_small(node, key):
            yield f"{indent}{name}: {flow}"
        case Table(items=items):
            yield f"{indent}{name}:"
            for inner, value in items.items():
                yield from _pair(inner, value, f"{indent}  ")
        case Items(items=items):
            yield f"{indent}{name}:"
            for item in items:
                yield from _item(item, f"{indent}  ")


def _item(node: Node, indent: str) -> Iterator[str]:
    flow = _flow(node, room=_WIDE - len(indent) - 2)
    if isinstance(node, Leaf):
        yield f"{indent}- {_leaf(node)}".rstrip()
    elif flow or not isinstance(node, Table) or not node.items:
        yield f"{indent}- {flow or _flow(node, room=1_000_000)}"
    else:
        first, *rest = (
            line for key, value in node.items.items() for line in _pair(key, value, f"{indent}  ")
        )
        yield f"{indent}- {first.strip()}"
        yield from rest


def _is_small(node: Node, key: str) -> bool:
    """Lists of words and maps of one level read well on a line; variables and services do not."""
    if isinstance(node, Items):
        return key not in ("volumes", "on_start", "setup") and all(
            isinstance(item, Leaf) for item in node.items
        )
    return (
        key not in ("env", "exports", "params", "secrets", "labels")
        and isinstance(node, Table)
        and len(node.items) <= 3
    )


def _flow(node: Node, *, room: int) -> str:
    """On one line; empty if it does not fit."""
    text = _on_one_line(node)
    return text if len(text) <= room else ""


def _on_one_line(node: Node) -> str:
    match node:
        case Leaf():
            return _leaf(node, in_flow=True)
        case Items(items=items):
            return f"[{', '.join(_on_one_line(item) for item in items)}]"
        case Table(items=table):
            pairs = (f"{scalar(key, in_flow=True)}: {_on_one_line(item)}" for key, item in table.items())
            return f"{{{', '.join(pairs)}}}"


def _leaf(leaf: Leaf, *, in_flow: bool = False) -> str:
    if isinstance(leaf.value, str):
        return scalar(leaf.text, in_flow=in_flow)
    return leaf.text if leaf.value is not None else "null"


def scalar(text: str, *, in_flow: bool = False) -> str:
    """Text as YAML: plain where it is read back as the same text, else quoted."""
    is_plain = (
        isinstance(atom(text), str)
        and text.lower() not in _OLD_WORDS
        and _PLAIN.fullmatch(text)
        and not _UNSAFE.search(text)
        and not (in_flow and _IN_FLOW.search(text))
    )
    if is_plain:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
