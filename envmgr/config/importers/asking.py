"""Take a node for what it should be, or say in which line it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from envmgr.config.nodes import Items, Leaf, Node, Table
from envmgr.config.problems import BadFile, Mark, Problem, nearest


def wrong(mark: Mark, message: str, hint: str = "") -> BadFile:
    """One problem, to raise."""
    return BadFile([Problem(mark=mark, message=printable(message), hint=printable(hint))])


def printable(text: str) -> str:
    """Text of a foreign file for terminals and comments: what is no visible character is spelt out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say of a key that is left out because nobody knows it."""
    close = nearest(key, known)
    return "not known here; left out" + (f" (did you mean {close!r}?)" if close else "")


def is_nothing(node: Node | None) -> bool:
    """Whether a key is absent or has no value."""
    return node is None or (isinstance(node, Leaf) and node.value is None)


def table(node: Node | None, what: str) -> Table | None:
    """A map; None when there is nothing. Raises ConfigError for anything else."""
    if node is None or isinstance(node, Table):
        return node
    if is_nothing(node):
        return None
    raise wrong(node.mark, f"{what} must be a map, not {kind(node)}")


def listed(node: Node | None, what: str) -> tuple[Node, ...]:
    """A list; empty when there is nothing. Raises ConfigError for anything else."""
    if node is None or is_nothing(node):
        return ()
    if isinstance(node, Items):
        return node.items
    raise wrong(node.mark, f"{what} must be a list, not {kind(node)}")


def word(node: Node, what: str) -> Leaf:
    """A single value. Raises ConfigError for a list or a map."""
    if isinstance(node, Leaf) and node.value is not None:
        return node
    raise wrong(node.mark, f"{what} must be a single value, not {kind(node)}")


def words(node: Node | None, what: str) -> tuple[Leaf, ...]:
    """A list of single values; one value stands for a list of one."""
    if node is None or is_nothing(node):
        return ()
    if isinstance(node, Leaf):
        return (node,)
    return tuple(word(item, f"each entry of {what}") for item in listed(node, what))


def flag(text: str, mark: Mark, what: str) -> bool:
    """A yes or no as text, as it stands after variables are filled in."""
    found = {"true": True, "yes": True, "on": True, "1": True}.get(text.lower())
    if found is None and text.lower() not in ("false", "no", "off", "0", ""):
        raise wrong(mark, f"{what} must be true or false, not {text!r}")
    return bool(found)


def number(text: str, mark: Mark, what: str) -> int:
    """A whole number that is not negative."""
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise wrong(mark, f"{what} must be a whole number, not {text!r}")
    return int(text)


def decimal(text: str, mark: Mark, what: str) -> float:
    """A number that is not negative."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text):
        raise wrong(mark, f"{what} must be a number, not {text!r}")
    return float(text)


def kind(node: Node) -> str:
    """What a node is, for a message."""
    match node:
        case Table():
            return "a map"
        case Items():
            return "a list"
        case Leaf(value=None):
            return "nothing"
        case Leaf():
            return repr(node.text if len(node.text) <= 40 else f"{node.text[:37]}...")
