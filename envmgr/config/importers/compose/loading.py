"""A compose project from its files: `include` and `extends` followed, several files merged, nothing filled in yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from envmgr.config.importers.asking import is_nothing, kind, listed, table, word, words, wrong
from envmgr.config.importers.compose.merging import merge, normal
from envmgr.config.importers.findings import Report
from envmgr.config.importers.places import Places
from envmgr.config.importers.variables import Declared, Variables
from envmgr.config.nodes import Leaf, Node, Table
from envmgr.config.problems import Mark

_DEEPEST = 16
_SECTIONS = ("services", "volumes", "networks", "configs", "secrets")
_OVERRIDES = {
    "compose.yaml": ("compose.override.yaml", "compose.override.yml"),
    "compose.yml": ("compose.override.yml", "compose.override.yaml"),
    "docker-compose.yml": ("docker-compose.override.yml", "docker-compose.override.yaml"),
    "docker-compose.yaml": ("docker-compose.override.yaml", "docker-compose.override.yml"),
}


def override_of(path: Path) -> Path | None:
    """The file that `docker compose up` lays on top of this one by itself."""
    found = (path.with_name(name) for name in _OVERRIDES.get(path.name, ()))
    return next((other for other in found if other.is_file()), None)


class Project:
    """Reads files; afterwards `folder` and `variables` answer for each value by the file it stands in."""

    def __init__(self, places: Places, report: Report, declared: Declared) -> None:
        self.places, self.report, self.declared = places, report, declared
        self._folders: dict[str, Path] = {}
        self._variables: dict[str, Variables] = {}
        self._tags: dict[Mark, str] = {}
        self._environment: dict[str, str] = {}

    def folder(self, mark: Mark) -> Path:
        """What relative paths of this value start from."""
        return self._folders.get(mark.file, self.places.top)

    def variables(self, mark: Mark) -> Variables:
        """Variables as this value's file sees them."""
        return self._variables[mark.file]

    def load(self, files: Sequence[Path]) -> Table:
        """The whole project, the first file's folder being its own.

        Raises:
            ConfigError: With file and line.
        """
        folder = files[0].parent
        self._environment = self.places.variables(folder / ".env")
        return self._merged(files, folder, [folder / ".env"], chain=())

    def _merged(
        self, files: Sequence[Path], folder: Path, dotenv: Sequence[Path], chain: tuple[Path, ...]
    ) -> Table:
        whole: Node | None = None
        included: Node | None = None
        for path in files:
            tree = self._file(path, folder, dotenv, chain)
            for node in listed(tree.get("include"), "include"):
                included = merge(included, self._include(node, folder, (*chain, path)), self._tags)
            whole = merge(whole, self._extended(tree, path, (*chain, path)), self._tags)
        assert isinstance(whole, Table)
        if included is None:
            return whole
        both = merge(included, whole, self._tags)
        assert isinstance(both, Table)
        return both

    def _file(self, path: Path, folder: Path, dotenv: Sequence[Path], chain: tuple[Path, ...]) -> Table:
        shown = self.places.show(path)
        if path in chain or len(chain) > _DEEPEST:
            names = " -> ".join(self.places.show(file) for file in (*chain, path))
            raise wrong(Mark(shown), f"files include each other: {names}")
        self._folders[shown] = folder
        known: dict[str, str] = {}
        for file in dotenv:
            known |= self.places.variables(file)
        self._variables[shown] = Variables(
            known | self._environment,
            shown=self.places.show(dotenv[-1]) if dotenv else ".env",
            report=self.report,
            declared=self.declared,
        )
        tree = self.places.yaml(path, self._tags)
        if not isinstance(tree, Table):
            raise wrong(tree.mark, f"a compose file is a map of keys, not {kind(tree)}")
        self._refuse_tags(shown)
        items: dict[str, Node] = dict(tree.items)
        for section in _SECTIONS:
            if (found := table(tree.get(section), section)) is not None and section == "services":
                services = {
                    name: normal(table(node, f"services.{name}") or Table(node.mark, {}, {}))
                    for name, node in found.items.items()
                }
                items[section] = Table(found.mark, services, found.keys)
        return Table(tree.mark, items, tree.keys)

    def _refuse_tags(self, shown: str) -> None:
        for mark, tag in self._tags.items():
            if mark.file == shown and tag not in ("!reset", "!override"):
                raise wrong(mark, f"tag {tag} is not known", "Compose has !reset and !override.")

    def _include(self, node: Node, folder: Path, chain: tuple[Path, ...]) -> Table:
        long = node if isinstance(node, Table) else Table(node.mark, {"path": node}, {"path": node.mark})
        files = [self._path(leaf, folder, "include") for leaf in words(long.get("path"), "include.path")]
        if not files:
            raise wrong(node.mark, "include needs 'path'")
        own = files[0].parent
        if (said := long.get("project_directory")) is not None and not is_nothing(said):
            own = folder / self._now(word(said, "include.project_directory"))
        dotenv = [folder / self._now(leaf) for leaf in words(long.get("env_file"), "include.env_file")]
        return self._merged(files, own, dotenv or [own / ".env"], chain)

    def _path(self, leaf: Leaf, folder: Path, what: str) -> Path:
        said = self._now(leaf)
        if "://" in said or said.startswith(("oci:", "git@")):
            raise wrong(leaf.mark, f"{what}: {said} is not a file here", "Fetch it, and name the file.")
        path = Path(os.path.normpath(folder / said))
        if self.places.inside(folder, said) is None:
            raise wrong(leaf.mark, f"{what}: {said} lies outside of the repository")
        return self.places.must_exist(path, leaf.mark, what)

    def _now(self, leaf: Leaf) -> str:
        return self.variables(leaf.mark).now(leaf)

    def _extended(self, tree: Table, path: Path, chain: tuple[Path, ...]) -> Table:
        """The file with every `extends` of its services filled in."""
        services = table(tree.get("services"), "services")
        if services is None:
            return tree
        done = {name: self._extend(name, services, path, chain) for name in services.items}
        items = {**tree.items, "services": Table(services.mark, done, services.keys)}
        return Table(tree.mark, items, tree.keys)

    def _extend(
        self, name: str, services: Table, path: Path, chain: tuple[Path, ...], seen: tuple[str, ...] = ()
    ) -> Node:
        service = services.items[name]
        assert isinstance(service, Table), "normalised before"
        said = service.get("extends")
        if said is None or is_nothing(said):
            return service
        here = f"{path}:{name}"
        if here in seen or len(seen) > _DEEPEST:
            raise wrong(said.mark, f"services.{name}: services extend each other in a ring")
        long = said if isinstance(said, Table) else Table(said.mark, {"service": said}, {})
        parent = self._now(word(long.get("service") or said, f"services.{name}.extends.service"))
        source, file = services, path
        if (other := long.get("file")) is not None and not is_nothing(other):
            file = self._path(word(other, "extends.file"), self.folder(other.mark), "extends")
            found = self._file(file, file.parent, [path.parent / ".env"], ())
            source = table(found.get("services"), "services") or Table(found.mark, {}, {})
        if parent not in source.items:
            raise wrong(
                said.mark, f"services.{name} extends {parent!r}, which is not in {self.places.show(file)}"
            )
        base = self._extend(parent, source, file, chain, (*seen, here))
        over = {key: node for key, node in service.items.items() if key != "extends"}
        merged = merge(base, Table(service.mark, over, service.keys), self._tags)
        return merged if merged is not None else service
