"""One process of a process-compose.yaml on its way into a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import word, wrong
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.request import Request
from envmgr.config.importers.variables import scan
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.core.placeholders import Literal, Part, Variable


@dataclass(slots=True, kw_only=True)
class Run:
    """A process on its way into a template.

    Attributes:
        out: Its service.
        known: Variables that its shell will have.
        vars: For `{{.NAME}}`.
        leased: Names of ports by the number that the file has for them.
    """

    request: Request
    name: str
    slug: str
    said: Table
    out: Draft
    known: frozenset[str]
    vars: Mapping[str, str] = field(default_factory=dict)
    expands: bool = True
    leased: dict[int, str] = field(default_factory=dict)

    def key(self, *path: str) -> str:
        """Where in the file."""
        return ".".join(("processes", self.name, *path))

    def parts(self, leaf: Leaf, key: str) -> list[Part]:
        """A value in pieces: what the host has is a variable, what the process has stays for its shell."""
        text = _templated(leaf, self.vars, self.key(key))
        if not self.expands:
            return [Literal(text)]
        found: list[Part] = []
        for piece in scan(text, leaf.mark):
            if isinstance(piece, str):
                found.append(Literal(piece))
            elif piece.name in self.known:
                found.append(Literal(f"${{{piece.name}}}"))
            elif piece.name.startswith("PC_"):
                says = f"{piece.name} is not set here"
                self.request.report.unsupported(leaf.mark, self.key(key), says)
            else:
                found.append(Variable(piece.name, ":-", "" if "}" in piece.word else piece.word))
        return found

    def text(self, node: Node, key: str) -> Leaf:
        """A value as text of a template. Raises ConfigError for a list or map."""
        leaf = word(node, self.key(key))
        return text_leaf(leaf.mark, phrases.text(self.parts(leaf, key)))

    def plain(self, node: Node, key: str) -> str:
        """A value as it is, `{{.NAME}}` filled in."""
        return _templated(word(node, self.key(key)), self.vars, self.key(key))


def _templated(leaf: Leaf, values: Mapping[str, str], what: str) -> str:
    """`{{.NAME}}` filled in. Raises ConfigError for anything else of Go's templates."""

    def value(found: re.Match[str]) -> str:
        name = re.fullmatch(r"\s*\.(\w+)\s*", found[1])
        if name is None or name[1] not in values:
            hint = "Only {{.NAME}} with a name under 'vars' can be filled in."
            raise wrong(leaf.mark, f"{what}: {found[0]!r} cannot be filled in", hint)
        return values[name[1]]

    return re.sub(r"\{\{(.*?)\}\}", value, leaf.text) if "{{" in leaf.text else leaf.text


def is_yes(node: Node | None) -> bool:
    """Whether a key says yes."""
    return isinstance(node, Leaf) and node.value is True
