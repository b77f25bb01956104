"""Real repositories for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envmgr.drivers.git import GitWorkspaces
from envmgr.protocols.workspaces import Repository, Worktree

OWNER = "in1/a1b2c3d4"


def git(folder: Path, *args: str, check: bool = True) -> str:
    """Output of a git command, without the last newline."""
    done = subprocess.run(["git", *args], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or not check, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout.removesuffix("\n")


def python(code: str, *args: str, enter: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start Python code in a process of its own; `enter` are words before the interpreter."""
    command = [*enter, sys.executable, "-c", code, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def allow_file_clones(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git clone submodules from folders, which it refuses since CVE-2022-39253."""
    settings.write_text(
        '[user]\nname=T\nemail=t@example.invalid\n[init]\ndefaultBranch=main\n[protocol "file"]\nallow=always\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))


def wrap(top: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a git first in PATH that runs `text`, in which $real is the real one."""
    real = shutil.which("git")
    script(top / "bin" / "git", f"real={real}\n{text}")
    monkeypatch.setenv("PATH", f"{top / 'bin'}:{os.environ['PATH']}")


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files, folders included."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def make_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    write(folder, files or {"README": "read me\n", "src/app.py": "print('hello')\n"})
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def script(file: Path, text: str) -> None:
    """Write an executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def files_in(folder: Path) -> dict[str, bytes | str]:
    """Everything in a worktree: content by path, a symlink by where it leads."""
    found: dict[str, bytes | str] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if name.split("/")[0] == ".git":
            continue
        if file.is_symlink():
            found[name] = str(file.readlink())
        elif file.is_file():
            found[name] = file.read_bytes() + oct(file.stat().st_mode).encode()
    return found


@dataclass(slots=True, kw_only=True)
class Ground:
    """A repository, a place for worktrees and the driver under test."""

    top: Path
    main: Path
    repo: Repository
    workspaces: GitWorkspaces
    root: Path
    base: str
    made: int = field(default=0)

    @classmethod
    async def lay(cls, top: Path, *, main: Path | None = None) -> Ground:
        """Make one below `top`, on the repository `main` or a new one."""
        main = main or make_repository(top / "project")
        workspaces = GitWorkspaces(top / "state", lock_deadline_s=20.0)
        repo = await workspaces.find(main)
        base = await workspaces.resolve(repo, "HEAD")
        return cls(top=top, main=main, repo=repo, workspaces=workspaces, root=top / "trees", base=base)

    async def register(self, name: str, *, owner: str = OWNER, branch: str = "") -> Worktree:
        """Register a worktree called `name`."""
        return await self.workspaces.register(
            self.repo, path=self.root / name, branch=branch or f"agent/{name}", base=self.base, owner=owner
        )

    async def tree(self, name: str, *, owner: str = OWNER) -> Worktree:
        """Register a worktree and write its files."""
        worktree = await self.register(name, owner=owner)
        await self.workspaces.checkout(worktree)
        return worktree

    async def remove(self, worktree: Worktree, *, owner: str = OWNER) -> None:
        """Remove it and wait until it is deleted."""
        await self.workspaces.remove(self.repo, worktree, owner=owner, root=self.root)
        await self.workspaces.drain()

    def registered(self) -> list[str]:
        """Names of the worktrees that git knows."""
        lines = git(self.main, "worktree", "list", "--porcelain").splitlines()
        return [Path(line.split(" ", 1)[1]).name for line in lines if line.startswith("worktree ")][1:]

    def branches(self) -> list[str]:
        """All local branches but the first."""
        return [
            name
            for name in git(self.main, "branch", "--format=%(refname:short)").splitlines()
            if name != "main"
        ]
