"""A devcontainer.json on its way into a template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import word
from envmgr.config.importers.devcontainer.variables import DevVariables
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.request import Request
from envmgr.config.nodes import Leaf, Node, Table, text_leaf


@dataclass(slots=True, kw_only=True)
class Dev:
    """A devcontainer.json on its way into a template.

    Attributes:
        folder: Where the file is; paths in it are relative to that.
        variables: What `${...}` in it means.
        slug: Name of the container's service.
        out: That service.
        workspace: Where the worktree is inside.
    """

    request: Request
    said: Table
    folder: Path
    variables: DevVariables
    slug: str
    out: Draft
    workspace: str

    def text(self, node: Node, key: str) -> Leaf:
        """A value as text of a template. Raises ConfigError for a list or map."""
        leaf = word(node, key)
        return text_leaf(leaf.mark, phrases.text(self.variables.parts(leaf, key)))
