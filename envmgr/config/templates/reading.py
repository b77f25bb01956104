"""The files of one template as one tree: parents first, then what is imported, then the file itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.config.checking import as_table, check
from envmgr.config.files import read
from envmgr.config.merging import LOOKS, merge
from envmgr.config.nodes import Items, Leaf, Node, Table, leaves
from envmgr.config.problems import BadFile, Problem, dotted
from envmgr.config.templates.schema import VERSION, Import
from envmgr.config.templates.source_lints import lint_source
from envmgr.errors import ConfigError, EnvmgrError

_MAX_PARENTS = 32
_ALIASES = {
    "readiness_probe": "ready",
    "healthcheck": "ready",
    "liveness_probe": "live",
    "startup_probe": "startup",
}

Finder = Callable[[str, Path], Path]
"""File of a parent: its name or path as written, and the file that names it. Raises NotFound."""


@dataclass(slots=True, kw_only=True)
class Reader:
    """One reading.

    Attributes:
        show: A file as people see it.
        top: Top of the repository; None outside of one.
        problems: What is wrong and does not end the reading.
        files: Every file that was read, absolute.
        imports: Those of them that are in another format, as people see them.
    """

    show: Callable[[Path], str]
    find: Finder
    top: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)

    def merged(self, path: Path, chain: tuple[Path, ...] = ()) -> Table:
        """The file on top of its imports, these on top of its parents, oldest first."""
        tree = read(path, self.show(path))
        self.files.append(path.absolute())
        if not isinstance(tree, Table):
            raise BadFile(
                [
                    Problem(
                        mark=tree.mark, message="a template is a map of keys", hint="Begin with `envmgr: 1`."
                    )
                ]
            )
        self.problems.extend(_version(tree))
        self.problems.extend(lint_source(tree))
        chain = (*chain, path)
        base: Node = Table(tree.mark, {}, {})
        for leaf in _parents(tree):
            base = merge(base, _without(self._parent(leaf, chain), "name"))
        for imported in self._imports(tree, path):
            base = merge(base, self._one_word(imported))
        return as_table(merge(base, self._one_word(_without_overrides(tree))))

    def _parent(self, leaf: Leaf, chain: tuple[Path, ...]) -> Table:
        try:
            parent = self.find(leaf.text, chain[-1])
        except ConfigError:
            raise
        except EnvmgrError as error:  # told with the place that names it; NotFound has no file and line
            problem = Problem(
                mark=leaf.mark, path="extends", message=f"extends: {error.message}", hint=error.hint
            )
            raise BadFile([problem]) from error
        if parent in chain or len(chain) > _MAX_PARENTS:
            names = " -> ".join(self.show(file) for file in (*chain, parent))
            message = f"templates extend each other: {names}"
            raise BadFile([Problem(mark=leaf.mark, path="extends", message=message)])
        return self.merged(parent, chain)

    def _imports(self, tree: Table, path: Path) -> Iterator[Table]:
        """Each imported description, and what the template says over it."""
        for index, entry in enumerate(_entries(tree)):
            wish, wrong = check(entry, Import, at=("import", index))
            self.problems.extend(wrong)
            if wish is None:
                continue
            yield self._imported(wish, entry, top=self.top or path.parent)
            overrides = entry.get("overrides") if isinstance(entry, Table) else None
            if isinstance(overrides, Table):
                yield overrides

    def _imported(self, wish: Import, entry: Node, *, top: Path) -> Table:
        from envmgr.config.importers import importing  # most templates import nothing

        files = [top / Path(file).expanduser() for file in wish.path]
        for file in files:
            if not file.is_file():
                message = f"import: there is no file {self.show(file)}"
                hint = "Its path starts at the top of the repository."
                raise BadFile([Problem(mark=entry.mark, path="import", message=message, hint=hint)])
        try:
            found = importing.read(
                files,
                top=top,
                show=self.show,
                format=wish.format,
                services=wish.services,
                profiles=wish.profiles,
            )
        except ConfigError:
            raise
        except EnvmgrError as error:
            problem = Problem(
                mark=entry.mark, path="import", message=f"import: {error.message}", hint=error.hint
            )
            raise BadFile([problem]) from error
        self.files.extend(found.files)
        self.imports.update(self.show(file) for file in found.files)
        for finding in found.findings:
            message = f"{finding.severity}: {finding.key}: {finding.says}"
            self.problems.append(
                Problem(mark=finding.mark, path=finding.key, message=message, is_warning=True)
            )
        return found.tree

    def _one_word(self, tree: Table) -> Table:
        """Other words for probes become ours, so that merging sees one key."""
        services = tree.get("services")
        if not isinstance(services, Table):
            return tree
        renamed = {name: self._renamed(node, ("services", name)) for name, node in services.items.items()}
        items = {**tree.items, "services": Table(services.mark, renamed, services.keys)}
        return Table(tree.mark, items, tree.keys)

    def _renamed(self, node: Node, at: tuple[str, str]) -> Node:
        if not isinstance(node, Table):
            return node
        for ours in LOOKS:
            words = (ours, *(alias for alias, meant in _ALIASES.items() if meant == ours))
            given = [key for key in words if key in node.items]
            if len(given) > 1:
                message = f"{dotted(at)} has both {given[0]!r} and {given[1]!r}, which mean the same"
                mark = node.keys[given[1]]
                self.problems.append(Problem(mark=mark, path=dotted(at), message=message, hint="Keep one."))
        names = {key: _ALIASES.get(key, key) for key in node.items}
        items = {names[key]: item for key, item in node.items.items()}
        return Table(node.mark, items, {names[key]: mark for key, mark in node.keys.items()})


def _parents(tree: Table) -> list[Leaf]:
    extends = tree.get("extends")
    return [leaf for _, leaf in leaves(extends) if isinstance(leaf.value, str)] if extends else []


def _without(tree: Table, key: str) -> Table:
    kept = {name: node for name, node in tree.items.items() if name != key}
    return Table(tree.mark, kept, {name: tree.keys[name] for name in kept})


def _entries(tree: Table) -> tuple[Node, ...]:
    """What `import` says, each in its long form."""
    node = tree.get("import")
    entries = node.items if isinstance(node, Items) else () if node is None else (node,)
    return tuple(
        Table(entry.mark, {"path": entry}, {"path": entry.mark}) if isinstance(entry, Leaf) else entry
        for entry in entries
    )


def _without_overrides(tree: Table) -> Table:
    """They are in the tree already, where they belong."""
    node = tree.get("import")
    if node is None:
        return tree
    kept = tuple(
        _without(entry, "overrides") if isinstance(entry, Table) else entry for entry in _entries(tree)
    )
    return Table(tree.mark, {**tree.items, "import": Items(node.mark, kept)}, tree.keys)


def _version(tree: Table) -> list[Problem]:
    node = tree.get("envmgr")
    if node is None:
        message = "the template does not say its format"
        return [
            Problem(mark=tree.mark, path="envmgr", message=message, hint=f"Begin with `envmgr: {VERSION}`.")
        ]
    if isinstance(node, Leaf) and node.value == VERSION and node.value is not True:
        return []
    text = node.text if isinstance(node, Leaf) else "that"
    message = f"envmgr: {text} is a format this version does not know"
    return [Problem(mark=node.mark, path="envmgr", message=message, hint=f"Write `envmgr: {VERSION}`.")]
