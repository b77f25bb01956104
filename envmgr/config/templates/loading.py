"""One template from its files: read, parents merged beneath, checked as far as that goes without a spawn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.config.checking import as_table, check
from envmgr.config.files import read
from envmgr.config.merging import merge, settle
from envmgr.config.nodes import Leaf, Node, Table, leaves, mark_of
from envmgr.config.problems import BadFile, Problem, dotted, raise_errors
from envmgr.config.templates import params
from envmgr.config.templates.interpolation import Filler, Scope
from envmgr.config.templates.lints import lint
from envmgr.config.templates.schema import VERSION, Document, Param
from envmgr.config.templates.source_lints import lint_source
from envmgr.errors import ConfigError

_MAX_PARENTS = 32
_MAX_SERVICES = 500
_READY_ALIASES = ("readiness_probe", "healthcheck")
_AGENT = ("name", "slug", "branch")
_REPO = ("name", "root")
_LATE = ("agent.id", "workspace.path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template that passed every check that needs no spawn.

    Attributes:
        path: Its file.
        shown: The file as people see it: relative to the repository, or with `~`.
        tree: Parents and defaults merged in, nothing filled in yet.
        params: Its inputs.
        warnings: What is allowed but probably not meant.
        files: Every file that was read for it, absolute.
    """

    name: str
    path: Path
    shown: str
    description: str
    tree: Table
    params: dict[str, Param] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()


Finder = Callable[[str, Path], Path]
"""File of a parent: its name or path as written, and the file that names it. Raises NotFound."""


def load(path: Path, *, name: str, show: Callable[[Path], str], find: Finder) -> Template:
    """Read, merge and check.

    Raises:
        ConfigError: With every error of the file in `details.errors`.
    """
    found: list[Problem] = []
    files: list[Path] = []
    tree = prepared(merged(path, show=show, find=find, problems=found, files=files))
    _refuse_masses(tree)
    document, more = examine(tree)
    more += _misnamed(tree, name)
    raise_errors([*found, *more])
    assert document is not None, "without errors there is a document"
    return Template(
        name=name,
        path=path,
        shown=show(path),
        description=document.description,
        tree=tree,
        params=document.params,
        warnings=tuple(p for p in [*found, *more] if p.is_warning),
        files=tuple(files),
    )


def _refuse_masses(tree: Table) -> None:
    services = tree.get("services")
    if isinstance(services, Table) and len(services.items) > _MAX_SERVICES:
        message = f"{len(services.items)} services are more than the {_MAX_SERVICES} one agent can have"
        raise BadFile([Problem(mark=services.mark, path="services", message=message)])


def _misnamed(tree: Table, name: str) -> list[Problem]:
    node = tree.get("name")
    if not isinstance(node, Leaf) or node.text == name:
        return []
    message = f"name {node.text!r} has no effect: the template is found as {name!r}, after its file"
    return [Problem(mark=node.mark, path="name", message=message, hint="Rename the file.", is_warning=True)]


def merged(
    path: Path,
    *,
    show: Callable[[Path], str],
    find: Finder,
    problems: list[Problem],
    files: list[Path],
    chain: tuple[Path, ...] = (),
) -> Table:
    """The file on top of its parents, oldest first. What is wrong and does not end the reading goes to `problems`."""
    tree = read(path, show(path))
    files.append(path.absolute())
    if not isinstance(tree, Table):
        raise BadFile(
            [Problem(mark=tree.mark, message="a template is a map of keys", hint="Begin with `envmgr: 1`.")]
        )
    problems.extend(_version(tree))
    problems.extend(lint_source(tree))
    tree = _without_aliases(tree, problems)
    chain = (*chain, path)
    base: Node = Table(tree.mark, {}, {})
    for leaf in _parents(tree):
        parent = _parent(leaf, path, find)
        if parent in chain or len(chain) > _MAX_PARENTS:
            names = " -> ".join(show(file) for file in (*chain, parent))
            raise BadFile(
                [Problem(mark=leaf.mark, path="extends", message=f"templates extend each other: {names}")]
            )
        above = merged(parent, show=show, find=find, problems=problems, files=files, chain=chain)
        base = merge(base, _without(above, "name"))
    return as_table(merge(base, tree))


def _parents(tree: Table) -> list[Leaf]:
    extends = tree.get("extends")
    return [leaf for _, leaf in leaves(extends) if isinstance(leaf.value, str)] if extends else []


def _parent(leaf: Leaf, path: Path, find: Finder) -> Path:
    try:
        return find(leaf.text, path)
    except ConfigError:
        raise
    except Exception as error:  # told with the place that names it; NotFound has no file and line
        if not hasattr(error, "message"):
            raise
        hint = str(getattr(error, "hint", ""))
        raise BadFile(
            [Problem(mark=leaf.mark, path="extends", message=f"extends: {error}", hint=hint)]
        ) from error


def _without(tree: Table, key: str) -> Table:
    kept = {name: node for name, node in tree.items.items() if name != key}
    return Table(tree.mark, kept, {name: tree.keys[name] for name in kept})


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


def _without_aliases(tree: Table, problems: list[Problem]) -> Table:
    """Other words for `ready` become `ready`, so that merging sees one key."""
    services = tree.get("services")
    if not isinstance(services, Table):
        return tree
    renamed = {name: _renamed(node, ("services", name), problems) for name, node in services.items.items()}
    items = {**tree.items, "services": Table(services.mark, renamed, services.keys)}
    return Table(tree.mark, items, tree.keys)


def _renamed(node: Node, at: tuple[str, str], problems: list[Problem]) -> Node:
    if not isinstance(node, Table):
        return node
    given = [key for key in ("ready", *_READY_ALIASES) if key in node.items]
    if len(given) > 1:
        message = f"{dotted(at)} has both {given[0]!r} and {given[1]!r}, which mean the same"
        problems.append(Problem(mark=node.keys[given[1]], path=dotted(at), message=message, hint="Keep one."))
    names = {key: "ready" if key in _READY_ALIASES else key for key in node.items}
    items = {names[key]: item for key, item in node.items.items()}
    return Table(node.mark, items, {names[key]: mark for key, mark in node.keys.items()})


def prepared(tree: Table) -> Table:
    """Deleted keys gone, and `defaults` merged under every service."""
    tree = as_table(settle(tree))
    services, defaults = tree.get("services"), tree.get("defaults")
    if not (isinstance(services, Table) and isinstance(defaults, Table)):
        return tree
    items = {name: _with_defaults(node, defaults) for name, node in services.items.items()}
    return Table(tree.mark, {**tree.items, "services": Table(services.mark, items, services.keys)}, tree.keys)


def _with_defaults(service: Node, defaults: Table) -> Node:
    if not isinstance(service, Table):
        return service
    used = {
        key: node
        for key, node in defaults.items.items()
        if key in ("stop", "logs", "limits")
        or (key == "ready" and key in service.items)
        or (key == "restart" and not _ends(service))
    }
    return merge(Table(service.mark, used, {key: defaults.keys[key] for key in used}), service)


def _ends(service: Table) -> bool:
    """Whether it is nothing that could be kept running."""
    kind = service.get("kind")
    return isinstance(kind, Leaf) and kind.value in ("task", "external")


def examine(tree: Table) -> tuple[Document | None, list[Problem]]:
    """Check without a spawn: params have their defaults or samples, variables are taken as set.

    Findings about values that depend on a sample are left for `resolve`, which has the real ones.
    """
    declared, _ = declared_params(tree)
    unsure = frozenset(f"params.{name}" for name, param in declared.items() if params.is_needed(param))
    values = {f"params.{name}": params.as_text(value) for name, value in params.samples(declared).items()}
    values |= {f"agent.{name}": "sample" for name in _AGENT} | {f"repo.{name}": "sample" for name in _REPO}
    filler = Filler(scope_for(tree, values, unsure=unsure))
    filled = filler.fill(tree)
    document, problems = checked(as_table(filled))
    certain = [problem for problem in problems if problem.mark not in filler.unsure]
    if document is None and not certain and not filler.problems:
        # Only samples were refused. Nothing more can be said before a spawn.
        document = Document.model_construct(description=_text_at(tree, "description"), params=declared)
    return document, [*filler.problems, *certain]


def _text_at(tree: Table, key: str) -> str:
    node = tree.get(key)
    return node.text if isinstance(node, Leaf) else ""


def checked(filled: Table, *, chosen: Collection[str] | None = None) -> tuple[Document | None, list[Problem]]:
    """Schema first; a document that has a shape is looked at as a whole, with the chosen profiles if there was a choice."""
    document, problems = check(filled, Document)
    problems = [
        problem for problem in problems if problem.path != "envmgr"
    ]  # each file is asked for it by itself
    if document is not None:
        problems = lint(document, filled, chosen=chosen)
    elif "agent" not in filled.items:
        problems = [p for p in problems if p.path != "agent"]
        mark = mark_of(filled, ())
        hint = "Add `agent: {kind: claude_code}`, or `agent: {command: ...}`."
        problems.append(Problem(mark=mark, path="agent", message="the template has no 'agent'", hint=hint))
    return document, problems


def declared_params(tree: Table) -> tuple[dict[str, Param], list[Problem]]:
    """The params that are declared well; the others are told by the check of the whole."""
    found: dict[str, Param] = {}
    problems: list[Problem] = []
    filler = Filler(Scope(values={}))
    for name, node in as_table(tree.get("params") or tree).items.items() if "params" in tree.items else ():
        param, wrong = check(filler.fill(node, ("params", name)), Param, at=("params", name))
        problems += wrong
        if param is not None:
            found[name] = param
    return found, problems


def scope_for(tree: Table, values: dict[str, str], *, unsure: frozenset[str] = frozenset()) -> Scope:
    """What references of this template can name, read off its shape."""
    ports: dict[str, frozenset[str]] = {}
    late = set(_LATE)
    for name, service in as_table(tree.get("services") or Table(tree.mark, {}, {})).items.items():
        node = service.get("ports") if isinstance(service, Table) else None
        names = (
            list(node.items)
            if isinstance(node, Table)
            else [leaf.text for _, leaf in leaves(node)]
            if node
            else []
        )
        ports[name] = frozenset(names)
        late |= {f"services.{name}.host", *(f"services.{name}.ports.{port}" for port in names)}
    late |= {f"secrets.{name}" for name in as_table(tree.get("secrets") or Table(tree.mark, {}, {})).items}
    return Scope(values=values, late=frozenset(late), ports=ports, unsure=unsure)
