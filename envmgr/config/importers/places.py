"""Files that an import reads, and paths in them, as seen from the top of the repository."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.config.files import read_text
from envmgr.config.importers.asking import wrong
from envmgr.config.nodes import Node
from envmgr.config.problems import Mark
from envmgr.config.variables import read_env_file


@dataclass(slots=True)
class Places:
    """One repository, seen by one import.

    Attributes:
        top: Top of the repository: what an agent's worktree is a copy of.
        show: A file as people see it.
        read: Every file that was read, in order.
    """

    top: Path
    show: Callable[[Path], str]
    read: list[Path] = field(default_factory=list)

    def text(self, path: Path) -> str:
        """Content of a file. Raises ConfigError."""
        if path not in self.read:
            self.read.append(path)
        return read_text(path, self.show(path))

    def variables(self, path: Path) -> dict[str, str]:
        """NAME=value lines of a file; none if there is no such file."""
        if not path.is_file():
            return {}
        if path not in self.read:
            self.read.append(path)
        return read_env_file(path, self.show(path))

    def inside(self, folder: Path, said: str) -> str | None:
        """A path as the worktree's own (`.` or `a/b`), or None if it leads out of it, also by a symbolic link."""
        path = Path(os.path.normpath(self.top / folder / said))
        top = Path(os.path.normpath(self.top))
        if said.startswith("~") or not path.is_relative_to(top):
            return None
        if not path.resolve().is_relative_to(top.resolve()):
            return None
        return str(path.relative_to(top))

    def yaml(self, path: Path, tags: MutableMapping[Mark, str] | None = None) -> Node:
        """A YAML file as nodes. Raises ConfigError."""
        from envmgr.config.yaml_source import read_yaml  # costs 20 ms to import

        return read_yaml(self.text(path), self.show(path), tags=tags)

    def must_exist(self, path: Path, mark: Mark, what: str) -> Path:
        """The file, or an error at the place that names it."""
        if not path.is_file():
            raise wrong(mark, f"{what}: there is no file {self.show(path)}")
        return path
