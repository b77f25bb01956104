"""Copy ignored files such as `.env` or `node_modules` from the main checkout into a worktree.

A file must be ignored by git *and* match a pattern, as `.worktreeinclude` has it elsewhere: tracked files come by
checkout, and what is neither tracked nor ignored is the user's unfinished work.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from envmgr.aio.blocking import act, look
from envmgr.drivers.git.invoke import disk_full, free_bytes, git, must, shown
from envmgr.errors import Conflict, EnvmgrError, Unavailable
from envmgr.protocols.workspaces import Repository, Worktree

log = logging.getLogger(__name__)

INCLUDE_FILE = ".worktreeinclude"
_FICLONE = 0x40049409
_LIST = ("ls-files", "--others", "--ignored", "--directory", "-z")
_DEADLINE_S = 120.0


async def populate(
    repo: Repository, worktree: Worktree, patterns: Sequence[str], *, own: Sequence[Path], deadline_s: float
) -> int:
    """See `Workspaces.populate`.

    `own` are envmgr's folders, never copied; `deadline_s` is for the copying.
    """
    wanted = await look("file", 5.0, _wanted, repo, patterns)
    if not wanted or repo.root == repo.common_dir:
        return 0
    copy = _Copy(
        source=repo.root,
        target=worktree.path,
        barred=frozenset({*own, worktree.path, worktree.path.parent}),
        end_at=time.monotonic() + deadline_s,
    )
    names = await matching(repo, wanted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(copy.stop_when_cancelled)
        trouble = await act("file", copy.all, names)
        tasks.cancel_scope.cancel()
    if trouble is not None:
        raise trouble
    log.info(
        "copied ignored files", extra={"files": copy.files, "bytes": copy.bytes, "into": str(worktree.path)}
    )
    return copy.files


def _wanted(repo: Repository, patterns: Sequence[str]) -> list[str]:
    lines = list(patterns)
    with contextlib.suppress(FileNotFoundError):
        lines += (repo.root / INCLUDE_FILE).read_text(encoding="utf-8").splitlines()
    return [line.rstrip() for line in lines if line.strip() and not line.startswith("#")]


async def matching(repo: Repository, wanted: Sequence[str]) -> list[str]:
    """Files and whole folders (with a slash at the end) that match a pattern and are ignored."""
    patterns = [f"--exclude={pattern}" for pattern in wanted]
    listed = await must(*_LIST, *patterns, cwd=repo.root, deadline_s=_DEADLINE_S)
    matched = [name for name in listed.split("\0") if name]
    ignored = await _ignored(repo, matched)
    whole = [name for name in matched if name in ignored]
    # A folder may match while git ignores only some files in it.
    parts = [name for name in matched if name not in ignored and name.endswith("/")]
    if not parts:
        return whole
    inside = await must(*_LIST, "--exclude-standard", "--", *parts, cwd=repo.root, deadline_s=_DEADLINE_S)
    return whole + [name for name in inside.split("\0") if name]


async def _ignored(repo: Repository, names: Sequence[str]) -> set[str]:
    if not names:
        return set()
    # Exit status 1 says that none is.
    done = await git(
        "check-ignore", "-z", "--stdin", cwd=repo.root, stdin="\0".join(names), deadline_s=_DEADLINE_S
    )
    return set(done.stdout.split("\0"))


@dataclass(slots=True, kw_only=True)
class _Copy:
    """One run of copying, in a worker thread."""

    source: Path
    target: Path
    barred: frozenset[Path]
    end_at: float
    files: int = 0
    bytes: int = 0
    is_stopped: bool = False
    checked: set[Path] = field(default_factory=set)

    async def stop_when_cancelled(self) -> None:
        """Let the thread end early; it cannot be abandoned, as it would go on writing."""
        try:
            await anyio.sleep_forever()
        finally:
            self.is_stopped = True

    def all(self, names: Sequence[str]) -> EnvmgrError | None:
        """Copy everything; returns the trouble, which a task group would wrap."""
        try:
            for name in names:
                for file in self._files(self.source / name):
                    if self.is_stopped:
                        return None
                    self._one(file)
        except EnvmgrError as error:
            return error
        return None

    def _files(self, start: Path) -> Iterator[Path]:
        """Files and symlinks at and below `start`; other repositories and envmgr's folders left out."""
        if start.is_symlink() or not start.is_dir():
            if start.name != ".git":
                yield start
            return
        if start in self.barred or (start / ".git").exists():
            return
        with os.scandir(start) as children:
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    yield from self._files(Path(child.path))
                elif child.name != ".git":
                    yield Path(child.path)

    def _one(self, file: Path) -> None:
        if time.monotonic() > self.end_at:
            raise Unavailable(
                f"copying ignored files was stopped at its deadline, after {self.files} files",
                hint="Name fewer files in the template's patterns and in .worktreeinclude.",
            )
        new = self.target / file.relative_to(self.source)
        self._make_parent(new.parent)
        try:
            self._write(file, new)
        except FileNotFoundError:
            return  # deleted meanwhile
        except FileExistsError:
            return  # kept
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise Unavailable(
                    f"cannot copy {shown(file)}: {error.strerror}", hint="Check its rights."
                ) from error
            new.unlink(missing_ok=True)
            raise disk_full("ignored files cannot be copied", self.target, free_bytes(self.target)) from error

    def _make_parent(self, folder: Path) -> None:
        """Make the folder inside the worktree; a tracked symlink must not lead out of it."""
        if folder in self.checked:
            return
        if not folder.resolve().is_relative_to(self.target.resolve()):
            raise Conflict(
                f"{shown(folder)} leads out of the worktree",
                hint="Take it out of the patterns of ignored files.",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise disk_full(
                    "ignored files cannot be copied", self.target, free_bytes(self.target)
                ) from error
            raise Conflict(f"{shown(folder)} is no folder", hint="Take it out of the patterns.") from error
        self.checked.add(folder)

    def _write(self, file: Path, new: Path) -> None:
        about = file.lstat()
        if stat.S_ISLNK(about.st_mode):
            new.symlink_to(file.readlink())
        elif stat.S_ISREG(about.st_mode):
            with file.open("rb") as old, new.open("xb") as fresh:
                if not _reflink(old.fileno(), fresh.fileno()):
                    shutil.copyfileobj(old, fresh, 1024 * 1024)
            shutil.copystat(file, new)
            self.bytes += about.st_size
        else:
            return  # sockets and pipes belong to running programs
        self.files += 1


def _reflink(old: int, new: int) -> bool:
    """Share the blocks where the file system can (btrfs, xfs); False if it cannot."""
    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError:
        return False
    return True
