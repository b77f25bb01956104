"""Large ignored folders for a worktree: cloned, so that it has its own, or linked, so that all share one.

`cp` of coreutils does the cloning: about three times as fast as a loop in Python, and without its lock. Hard links would
be faster still, but a tool that edits a file in place would edit the main checkout's (and every other agent's).
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from envmgr.aio.blocking import act
from envmgr.drivers.command import run
from envmgr.drivers.git.copying import matching
from envmgr.drivers.git.invoke import failure, git, shown
from envmgr.errors import ConfigError, Conflict
from envmgr.protocols.workspaces import Repository, Worktree

log = logging.getLogger(__name__)

_PART = ".envmgr-part"


async def clone(
    repo: Repository, worktree: Worktree, patterns: Sequence[str], *, own: Sequence[Path], deadline_s: float
) -> int:
    """See `Workspaces.clone`. `own` are envmgr's folders, never copied."""
    made = 0
    for source, target in await _pairs(repo, worktree, patterns, own):
        part = target.with_name(target.name + _PART)
        await act("file", _forget, part)  # of a copy that was cut off
        argv = ("cp", "-a", "--reflink=auto", "--", str(source), str(part))
        done = await run(argv, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, deadline_s=deadline_s)
        if not done.is_ok and source.exists():
            await act("file", _forget, part)
            raise await failure(f"cannot clone {shown(source)}", done, folder=worktree.path)
        if done.is_ok:
            await act("file", _finish, part, target, (repo.root, worktree.path))
            made += 1
    return made


async def link(repo: Repository, worktree: Worktree, patterns: Sequence[str], *, own: Sequence[Path]) -> int:
    """See `Workspaces.link`."""
    pairs = await _pairs(repo, worktree, patterns, own)
    for source, target in pairs:
        await act("file", target.symlink_to, source)
    names = [str(target.relative_to(worktree.path)) for _, target in pairs]
    seen = (
        await git("check-ignore", "-z", "--stdin", cwd=worktree.path, stdin="\0".join(names))
        if names
        else None
    )
    ignored = set(seen.stdout.split("\0")) if seen else set()
    for name in names:
        if name not in ignored:
            for _, target in pairs:
                await act("file", target.unlink)
            raise ConfigError(
                f"workspace.link: git ignores {name} as a folder only, so the link would count as a new file",
                hint=f"Write it without the slash at the end in .gitignore: `{name}`.",
            )
    return len(pairs)


async def _pairs(
    repo: Repository, worktree: Worktree, patterns: Sequence[str], own: Sequence[Path]
) -> list[tuple[Path, Path]]:
    """What is there, and where it is to appear; what is in the worktree already is left alone."""
    if not patterns or repo.root == repo.common_dir:
        return []
    names = _outermost(await matching(repo, patterns))
    barred = (*own, worktree.path, worktree.path.parent, repo.common_dir)
    return await act("file", lambda: list(_free(repo.root, worktree.path, names, barred)))


def _outermost(names: Sequence[str]) -> list[str]:
    """Git may name a folder twice, and what is in it, too."""
    found: list[str] = []
    for name in sorted({name.rstrip("/") for name in names}):
        if not any(name.startswith(f"{other}/") for other in found):
            found.append(name)
    return found


def _free(
    root: Path, worktree: Path, names: Sequence[str], barred: Sequence[Path]
) -> Iterator[tuple[Path, Path]]:
    for name in names:
        source, target = root / name, worktree / name
        if any(place.is_relative_to(source) or source.is_relative_to(place) for place in barred):
            log.info("not taken into a worktree: it holds our own", extra={"path": str(source)})
            continue
        if not target.parent.resolve().is_relative_to(worktree.resolve()):
            raise Conflict(
                f"{shown(target.parent)} leads out of the worktree",
                hint="Take it out of the template's patterns.",
            )
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield source, target


def _finish(part: Path, target: Path, roots: tuple[Path, Path]) -> None:
    """Put a copy in place. What led into the main checkout by its absolute path leads into the worktree."""
    root, worktree = roots
    for folder, folders, files in os.walk(part):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and path.readlink().is_relative_to(root):
                led_to = path.readlink().relative_to(root)
                path.unlink()
                path.symlink_to(worktree / led_to)
    part.rename(target)


def _forget(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
