"""One service of a compose file on its way into a template."""

from __future__ import annotations

from dataclasses import dataclass, field

from envmgr.config.importers import asking
from envmgr.config.importers.compose.loading import Project
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.naming import Names
from envmgr.config.nodes import Leaf, Node, Table
from envmgr.config.problems import Mark
from envmgr.core.placeholders import Part


@dataclass(slots=True, kw_only=True)
class Whole:
    """What all services of a project share.

    Attributes:
        tree: The merged project.
        out: The template.
        tasks: Services that others wait for to succeed.
        healthy: Services that others wait for to be healthy.
        links: Names that links of others give to a service.
        chosen: Profiles that are part of the template for good.
    """

    project: Project
    tree: Table
    out: Draft
    services: Names
    volumes: Names
    networks: Names
    tasks: frozenset[str] = frozenset()
    healthy: frozenset[str] = frozenset()
    links: dict[str, list[tuple[str, Mark]]] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Here:
    """A service.

    Attributes:
        name: As the file has it.
        slug: As the template has it.
        ports: Names of its ports, by the number inside.
        published: Names of its ports, by the number on this machine that the file has for them.
    """

    name: str
    slug: str
    said: Table
    out: Draft
    whole: Whole
    ports: dict[int, str] = field(default_factory=dict)
    published: dict[int, str] = field(default_factory=dict)

    @property
    def is_task(self) -> bool:
        """Whether others wait for its success."""
        return self.name in self.whole.tasks

    def key(self, *path: str) -> str:
        """Where in the file, for messages."""
        return ".".join(("services", self.name, *path))

    def text(self, node: Node, key: str, *, is_late: bool = True) -> Leaf:
        """A value as text of a template. Raises ConfigError for a list or map."""
        leaf = asking.word(node, self.key(key))
        return self.whole.project.variables(leaf.mark).text(leaf, self.key(key), is_late=is_late)

    def parts(self, leaf: Leaf, key: str) -> list[Part]:
        """A value in pieces."""
        return self.whole.project.variables(leaf.mark).parts(leaf, self.key(key))

    def now(self, node: Node, key: str) -> str:
        """A value as far as it can be told now. Raises ConfigError for a list or map."""
        leaf = asking.word(node, self.key(key))
        return self.whole.project.variables(leaf.mark).now(leaf)

    def flag(self, node: Node, key: str) -> bool:
        """A value that says yes or no."""
        return asking.flag(self.now(node, key), node.mark, self.key(key))

    def changed(self, mark: Mark, key: str, says: str) -> None:
        """Report."""
        self.whole.project.report.changed(mark, self.key(key), says)

    def dropped(self, mark: Mark, key: str, says: str) -> None:
        """Report."""
        self.whole.project.report.dropped(mark, self.key(key), says)

    def unsupported(self, mark: Mark, key: str, says: str) -> None:
        """Report."""
        self.whole.project.report.unsupported(mark, self.key(key), says)
