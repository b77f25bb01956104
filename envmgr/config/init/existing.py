"""Descriptions that a repository already has, and which of them `init` uses.

A compose file comes first. If it runs the application itself (it builds an image, or mounts the whole repository), it is all.
If it has only databases and the like, what runs on the host is added: process-compose.yaml, else Procfile.dev or Procfile, else
what the tools of the languages show. A devcontainer.json is used when no other file says what runs: guesses do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envmgr.config.importers import importing
from envmgr.config.importers.compose.loading import override_of
from envmgr.config.importers.importing import Imported
from envmgr.config.init.looking import missing_tools
from envmgr.config.merging import merge
from envmgr.config.nodes import Items, Leaf, Node, Table, text_leaf
from envmgr.core.counting import counted
from envmgr.errors import EnvmgrError

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_PROCESSES = ("process-compose.yaml", "process-compose.yml", "Procfile.dev", "Procfile")
_DEV = (".devcontainer/devcontainer.json", ".devcontainer.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What is taken over.

    Attributes:
        parts: Imports, containers first.
        sources: Their files as people see them.
        runs_all: Whether they say everything that runs, so that nothing is guessed.
        remarks: Sentences for the person.
    """

    parts: tuple[Imported, ...] = ()
    sources: tuple[str, ...] = ()
    runs_all: bool = False
    remarks: tuple[str, ...] = ()

    def tree(self) -> Table | None:
        """All parts as one."""
        whole: Node | None = None
        for part in self.parts:
            whole = part.tree if whole is None else merge(whole, part.tree)
        return whole if isinstance(whole, Table) and "services" in whole.items else None

    def waitable(self) -> tuple[str, ...]:
        """Those that always take part."""
        return tuple(name for part in self.parts for name in _waitable(part.tree))

    @property
    def is_only_inside(self) -> bool:
        """Whether it says where to work, but not what runs there."""
        return [part.format for part in self.parts] == ["devcontainer"]

    def services(self) -> tuple[str, ...]:
        """Names of all services that are taken over."""
        return tuple(name for part in self.parts for name in _services(part.tree))


def existing(repo: Path, *, is_declared: bool) -> Existing:
    """Look for descriptions; `is_declared` says whether a tool of a language has a command of the repository's own."""
    found = Existing()
    compose = next((repo / name for name in COMPOSE if (repo / name).is_file()), None)
    if compose is not None:
        override = override_of(compose)
        found = _with(found, repo, [compose, override] if override else [compose])
    if found.parts and _runs_application(found.parts[0].tree):
        return _unused(replace(found, runs_all=True), repo, [*_PROCESSES, *_DEV])
    processes = next((name for name in _PROCESSES if (repo / name).is_file()), "")
    if processes:
        added = _with(found, repo, [repo / processes])
        if len(added.parts) > len(found.parts):
            return _unused(_joined(replace(added, runs_all=True), infra=len(found.parts)), repo, _DEV)
        found = added
    dev = next((name for name in _DEV if (repo / name).is_file()), "")
    if dev and not is_declared and not found.parts:
        return replace(_with(found, repo, [repo / dev]), runs_all=True)
    return _unused(found, repo, _DEV)


def _with(found: Existing, repo: Path, files: Sequence[Path]) -> Existing:
    """One more import; a file that cannot be used is a remark."""
    shown = [str(file.relative_to(repo)) for file in files]
    try:
        part = importing.read(files, top=repo, show=lambda path: _shown(path, repo))
    except EnvmgrError as error:
        return replace(found, remarks=(*found.remarks, f"{shown[0]}, which cannot be used: {error.message}"))
    lost = sum(finding.severity != "changed" for finding in part.findings)
    count = counted(len(_services(part.tree)), "service")
    remark = f"{', '.join(shown)}: {count}" + (
        f"; without effect here: {counted(lost, 'line')} of it" if lost else ""
    )
    return replace(
        found,
        parts=(*found.parts, part),
        sources=(*found.sources, *shown),
        remarks=(*found.remarks, remark, *missing_tools(_lines(part.tree))),
    )


def _lines(tree: Table) -> list[str]:
    """Command lines that run on the host."""
    found = [
        node.get("command")
        for node in _services(tree).values()
        if isinstance(node, Table) and "image" not in node.items
    ]
    return [leaf.text for leaf in found if isinstance(leaf, Leaf)]


def _shown(path: Path, repo: Path) -> str:
    return str(path.relative_to(repo)) if path.is_relative_to(repo) else path.name


def _unused(found: Existing, repo: Path, names: Sequence[str]) -> Existing:
    remarks = [
        f"{name}, which is not used; see `envmgr template import {name} --check`"
        for name in names
        if (repo / name).is_file()
    ]
    return replace(found, remarks=(*found.remarks, *remarks))


def _services(tree: Table) -> dict[str, Node]:
    services = tree.get("services")
    return dict(services.items) if isinstance(services, Table) else {}


def _runs_application(tree: Table) -> bool:
    """Databases come as images and mount a file at most; the application is built, or has the repository in it."""
    return any(
        isinstance(service, Table) and ("build" in service.items or _mounts_all(service))
        for service in _services(tree).values()
    )


def _mounts_all(service: Table) -> bool:
    volumes = service.get("volumes")
    entries = volumes.items if isinstance(volumes, Items) else ()
    return any(isinstance(entry, Leaf) and entry.text.startswith(".:") for entry in entries)


def _joined(found: Existing, *, infra: int) -> Existing:
    """Processes wait for the containers, whose addresses they are then given; a name that both have is the container's."""
    before = [name for part in found.parts[:infra] for name in _waitable(part.tree)]
    if not before:
        return found
    remarks = list(found.remarks)
    parts = list(found.parts[:infra])
    for part in found.parts[infra:]:
        services = part.tree.items["services"]
        assert isinstance(services, Table)
        kept = {}
        for name, service in services.items.items():
            if name in before:
                remarks.append(
                    f"{name} of {part.format}, which is not used: there is a container of that name"
                )
            else:
                kept[name] = _after(service, before)
        keys = {name: services.keys[name] for name in kept}
        tree = {**part.tree.items, "services": Table(services.mark, kept, keys)}
        parts.append(replace(part, tree=Table(part.tree.mark, tree, part.tree.keys)))
    return replace(found, parts=tuple(parts), remarks=tuple(remarks))


def _waitable(tree: Table) -> list[str]:
    return [
        name
        for name, service in _services(tree).items()
        if isinstance(service, Table) and not {"profiles", "disabled"} & set(service.items)
    ]


def _after(service: Node, before: Sequence[str]) -> Node:
    if not isinstance(service, Table):
        return service
    edges = service.get("depends_on")
    mark = service.mark
    joined: Node
    if isinstance(edges, Table):
        more = {name: Table(mark, {}, {}) for name in before if name not in edges.items}
        joined = Table(edges.mark, {**edges.items, **more}, {**edges.keys, **dict.fromkeys(more, mark)})
    else:
        own = edges.items if isinstance(edges, Items) else ()
        joined = Items(mark, (*own, *(text_leaf(mark, name) for name in before)))
    keys = {**service.keys, "depends_on": service.keys.get("depends_on", mark)}
    return Table(mark, {**service.items, "depends_on": joined}, keys)
