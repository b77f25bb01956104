"""One template from its files: read, defaults merged beneath, checked as far as that goes without a spawn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.config.checking import as_table, check
from envmgr.config.merging import LOOKS, merge, settle
from envmgr.config.nodes import Leaf, Node, Table, leaves, mark_of
from envmgr.config.problems import BadFile, Problem, raise_errors
from envmgr.config.templates import params
from envmgr.config.templates.interpolation import Filler, Scope
from envmgr.config.templates.lints import lint
from envmgr.config.templates.reading import Finder, Reader
from envmgr.config.templates.schema import Document, Param
from envmgr.config.templates.source_lints import lint_shared

_MAX_SERVICES = 500
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
        imports: Those of them that are in another format, as people see them.
    """

    name: str
    path: Path
    shown: str
    description: str
    tree: Table
    params: dict[str, Param] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()
    imports: frozenset[str] = frozenset()


def load(
    path: Path, *, name: str, show: Callable[[Path], str], find: Finder, top: Path | None = None
) -> Template:
    """Read, merge and check.

    Args:
        path: The file.
        name: What the template is called.
        show: A file as people see it.
        find: See `Finder`.
        top: Top of the repository; None outside of one.

    Raises:
        ConfigError: With every error of the file in `details.errors`.
    """
    reader = Reader(show=show, find=find, top=top)
    tree = prepared(reader.merged(path))
    _refuse_masses(tree)
    document, more = examine(tree)
    more += [*_misnamed(tree, name), *lint_shared(tree)]
    raise_errors([*reader.problems, *more])
    assert document is not None, "without errors there is a document"
    return Template(
        name=name,
        path=path,
        shown=show(path),
        description=document.description,
        tree=tree,
        params=document.params,
        warnings=tuple(p for p in [*reader.problems, *more] if p.is_warning),
        files=tuple(dict.fromkeys(reader.files)),
        imports=frozenset(reader.imports),
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
        or (key in LOOKS and key in service.items)
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
