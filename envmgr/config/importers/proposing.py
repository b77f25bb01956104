"""A whole template from an import: head, keys with remarks, and the agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envmgr.config.importers.importing import Imported
from envmgr.config.importers.naming import slug
from envmgr.config.importers.writing import body, comments, scalar
from envmgr.config.nodes import Leaf, Node, Table


def name_for(imported: Imported) -> str:
    """What the template is called unless a person says otherwise."""
    return slug(imported.title, imported.format) if imported.title else imported.format


def template(imported: Imported, *, name: str, sources: Sequence[str], agent: Sequence[str]) -> str:
    """The text of a template file.

    Args:
        imported: What was read.
        name: Of the template.
        sources: The imported files as people see them.
        agent: Lines of `agent:` that choose the assistant.
    """
    lines = [
        *_head(imported, name, sources),
        *body(imported.tree, imported.findings),
        "",
        "agent:",
        *agent,
        *(_waits_for(imported.tree)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _head(imported: Imported, name: str, sources: Sequence[str]) -> Iterator[str]:
    files = " ".join(sources)
    yield f"# Imported from {', '.join(sources)} ({imported.format}). The file stays as it is; this template is yours to change."
    yield "#"
    yield f"#   envmgr template import --check {files}"
    yield f"#   envmgr spawn --template {name}"
    about = [finding for finding in imported.findings if not finding.service]
    if about:
        yield "#"
    yield from (f"# {line}" for line in comments(about))
    yield "envmgr: 1"
    yield f"name: {name}"
    yield f"description: {scalar(f'{imported.title or name}, imported from {files}')}"


def _waits_for(tree: Table) -> Iterator[str]:
    """The services that nothing else waits for; through them the agent waits for all."""
    found = last_services(tree)
    if found:
        yield f"  depends_on: [{', '.join(found)}]"


def last_services(tree: Table) -> list[str]:
    """Services on which no other one depends, without those that may not take part."""
    services = tree.get("services")
    if not isinstance(services, Table):
        return []
    on = {name: _edges(node) for name, node in services.items.items()}
    needed = {other for name, others in on.items() for other in others if _takes_part(services.items[name])}
    return [name for name, node in services.items.items() if _takes_part(node) and name not in needed]


def _takes_part(node: Node) -> bool:
    return isinstance(node, Table) and "profiles" not in node.items and "disabled" not in node.items


def _edges(node: Node) -> list[str]:
    edges = node.get("depends_on") if isinstance(node, Table) else None
    if isinstance(edges, Table):
        return list(edges.items)
    return (
        [item.text for item in edges.items if isinstance(item, Leaf)]
        if edges and not isinstance(edges, Leaf)
        else []
    )
