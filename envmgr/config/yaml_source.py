"""YAML 1.2 (core schema) to nodes: bounded, without tags or objects, and every key given once.

Built from the parser's events and not from ruamel's loaders: this keeps the marks, has no recursion that deep input could
exhaust, and stops reading a hostile file at the limit instead of after it.

Who reads another format from YAML reads it here, too (`config.files.read`, or `read_yaml` for text at hand), and is then safe
from hostile files: at most 1 MiB (`files.read_text`), 50,000 values and 40 levels, both counted after aliases and `<<` are
expanded, and a second at most for anything within these bounds.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from envmgr.config.atoms import atom
from envmgr.config.nodes import MAX_DEPTH, MAX_NODES, Items, Leaf, Node, Table
from envmgr.config.problems import BadFile, Mark, Problem

_LONG_TAG = re.compile(r"(?:^|(?<=[\s,\[{]))!\S{10000}")  # the parser's time for one grows with its square


def read_yaml(text: str, file: str, *, tags: MutableMapping[Mark, str] | None = None) -> Node:
    """Parse one document; an empty one is an empty table.

    Args:
        text: The document.
        file: Its name in marks.
        tags: Takes the document's own tags (`!word`) by the place of the tagged value; without it tags are refused.

    Raises:
        ConfigError: With line and column.
    """
    builder = _Builder(file, tags)
    if long := _LONG_TAG.search(text):
        raise BadFile([Problem(mark=builder.place(text, long.start()), message="a tag that is far too long")])
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.problem, error.context) if part)
        raise builder.error(
            mark, f"not valid YAML: {what or 'syntax error'}", _syntax_hint(what, text)
        ) from error
    except YAMLError as error:  # the reader's: a character that YAML does not allow
        where = builder.place(text, getattr(error, "position", 0))
        raise BadFile(
            [Problem(mark=where, message="not valid YAML: a character that is not allowed in text")]
        ) from error
    except RecursionError as error:
        raise builder.error(None, "nested too deeply") from error
    return builder.root or Table(Mark(file, 1, 1), {}, {})


def _syntax_hint(what: str, text: str) -> str:
    if "\\t" in what:
        return "Indent with spaces; YAML does not allow tabs."
    if "mapping values" in what:
        return "Quote a value that holds ': '."
    if "flow" in what and "${" in text:
        return "Quote values that hold ${...} inside of { } and [ ]."
    return "Look at indentation, quotes and brackets just before this place."


@dataclass(slots=True)
class _Open:
    """A list or table under construction."""

    mark: Mark
    anchor: str | None
    is_table: bool
    items: list[Node] = field(default_factory=list)
    table: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)
    key: Leaf | None = None


class _Builder:
    """Takes events in order; `root` is there at the end."""

    def __init__(self, file: str, tags: MutableMapping[Mark, str] | None) -> None:
        self.root: Node | None = None
        self._file = file
        self._tags = tags
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        # by identity; with the node, as a freed one would leave its id to another
        self._extents: dict[int, tuple[Node, int, int]] = {}
        self._count = 0

    # Any: the marks and events of ruamel.yaml are untyped.
    def _mark(self, mark: Any) -> Mark:
        return Mark(self._file, mark.line + 1, mark.column + 1) if mark else Mark(self._file)

    def place(self, text: str, position: int) -> Mark:
        """Line and column of a position in the text."""
        before = text[:position]
        return Mark(self._file, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)

    def error(self, mark: Any, message: str, hint: str = "") -> Exception:
        """A ConfigError at a mark of ruamel's."""
        return BadFile([Problem(mark=self._mark(mark), message=message, hint=hint)])

    def take(self, event: Any) -> None:
        """One event of the parser."""
        match event:
            case events.ScalarEvent():
                self._take_tag(event)
                is_plain = event.implicit[0] or (event.tag and not event.style)
                text = self._whole(event)
                value = atom(text) if is_plain else text
                self._add(Leaf(self._mark(event.start_mark), value, text), event, anchor=event.anchor)
            case events.AliasEvent():
                if event.anchor not in self._anchors:
                    raise self.error(
                        event.start_mark, f"unknown anchor {event.anchor!r}", "Define it earlier with &."
                    )
                self._add(self._anchors[event.anchor], event, anchor=None)
            case events.MappingStartEvent() | events.SequenceStartEvent():
                self._take_tag(event)
                if len(self._stack) >= MAX_DEPTH:
                    raise self.error(event.start_mark, f"nested more than {MAX_DEPTH} deep")
                is_table = isinstance(event, events.MappingStartEvent)
                self._stack.append(_Open(self._mark(event.start_mark), event.anchor, is_table))
            case events.MappingEndEvent() | events.SequenceEndEvent():
                done = self._stack.pop()
                node = self._table(done, event) if done.is_table else Items(done.mark, tuple(done.items))
                self._add(node, event, anchor=done.anchor)
            case events.DocumentStartEvent() if self.root is not None:
                raise self.error(
                    event.start_mark, "more than one document", "Keep one; put the other into its own file."
                )

    def _whole(self, event: Any) -> str:
        """The text with its surrogates joined: JSON writes one character as two of them, and the parser keeps both."""
        text = str(event.value)
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            message = "half a character: a surrogate without its other half"
            raise self.error(event.start_mark, message, "Save the character itself.") from None

    def _take_tag(self, event: Any) -> None:
        if event.tag and self._tags is not None and not str(event.tag).startswith("tag:"):
            self._tags[self._mark(event.start_mark)] = str(event.tag)
        elif event.tag:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            raise self.error(
                event.start_mark, f"tag {tag[:40]} is not allowed", "Quote the value to make it text."
            )

    def _add(self, node: Node, event: Any, *, anchor: str | None) -> None:
        size, depth = self._extent(node)
        self._count += size
        if self._count > MAX_NODES:
            raise self.error(
                event.start_mark, f"more than {MAX_NODES:,} values", "Aliases count each time they are used."
            )
        if len(self._stack) + depth > MAX_DEPTH:
            hint = "Aliases count with all that is in them."
            raise self.error(event.start_mark, f"nested more than {MAX_DEPTH} deep", hint)
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
        elif self._stack[-1].is_table:
            self._pair(self._stack[-1], node, event)
        else:
            self._stack[-1].items.append(node)

    def _extent(self, node: Node) -> tuple[int, int]:
        """Number of values and levels, aliases counted in full; what is in the node was measured before it."""
        if isinstance(node, Leaf):
            return 1, 0
        if id(node) not in self._extents:
            inner = node.items.values() if isinstance(node, Table) else node.items
            extents = [self._extent(item) for item in inner]
            size = 1 + sum(size for size, _ in extents)
            depth = 1 + max((depth for _, depth in extents), default=0)
            self._extents[id(node)] = (node, size, depth)
        _, size, depth = self._extents[id(node)]
        return size, depth

    def _pair(self, here: _Open, node: Node, event: Any) -> None:
        if here.key is None:
            if not isinstance(node, Leaf):
                raise self.error(event.start_mark, "a key must be a single word")
            here.key = node
            return
        key, here.key = here.key, None
        if key.text == "<<" and isinstance(node, Table | Items):
            here.merged.extend(node.items if isinstance(node, Items) else [node])
            return
        if key.text in here.table:
            first = here.keys[key.text].line
            problem = Problem(
                mark=key.mark, message=f"key {key.text!r} is given twice", hint=f"First in line {first}."
            )
            raise BadFile([problem])
        here.table[key.text] = node
        here.keys[key.text] = key.mark

    def _table(self, done: _Open, event: Any) -> Table:
        """`<<: *anchor` fills in what the table does not say itself, as people know it from compose files."""
        table, keys = dict(done.table), dict(done.keys)
        for base in done.merged:
            if not isinstance(base, Table):
                raise self.error(event.start_mark, "'<<' takes a map or a list of maps")
            for key, node in base.items.items():
                if key not in table:
                    table[key], keys[key] = node, base.keys[key]
        return Table(done.mark, table, keys)
