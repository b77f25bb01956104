"""Take worktrees away: prove that they are ours, rename, unregister, delete in the background."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path

from envmgr.aio.blocking import act
from envmgr.drivers.git.entries import Entry, find_entry
from envmgr.drivers.git.invoke import shown
from envmgr.errors import Conflict, Unavailable
from envmgr.protocols.workspaces import Repository, Worktree

TRASH = ".trash"
_FEW_FILES = 2_000
_ONE_DISK = "--one-file-system" if sys.platform == "linux" else "-f"
# Package caches come with read-only folders, which `rm` alone cannot empty.
_DELETE = (
    f'rm -rf {_ONE_DISK} -- "$1" || {{ chmod -R u+rwX -- "$1"; rm -rf {_ONE_DISK} -- "$1"; }}; rmdir -- "$2"'
)


class Trash:
    """Deletes folders without keeping anybody waiting; large ones at low priority."""

    def __init__(self) -> None:
        self._running: dict[Path, threading.Thread] = {}

    async def delete(self, folder: Path) -> None:
        """Delete a folder of a trash folder: at once if small, else in the background."""
        if folder in self._running:
            return
        command = ["sh", "-c", _DELETE, "sh", str(folder), str(folder.parent)]
        if await act("file", _has_few_files, folder):
            await act("file", _run, command)
            return
        thread = threading.Thread(
            target=self._in_background, args=(folder, command), name="envmgr-trash", daemon=True
        )
        self._running[folder] = thread
        thread.start()

    def _in_background(self, folder: Path, command: list[str]) -> None:
        try:
            _run(["nice", "-n", "19", *command])
        finally:
            self._running.pop(folder)

    async def drain(self) -> None:
        """Wait until all that was begun is deleted."""
        for thread in list(self._running.values()):
            await act("file", thread.join)


def _run(command: list[str]) -> None:
    # Own session: it goes on when the daemon ends. Whatever stays is deleted by the next removal.
    subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _has_few_files(folder: Path) -> bool:
    seen = 0
    for _, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > _FEW_FILES:
            return False
    return True


def detach(repo: Repository, worktree: Worktree, *, owner: str, root: Path) -> list[Path]:
    """Rename the folder away and unregister it; returns what is now to be deleted.

    The rename comes first: if we die after it, the next call finds a vanished folder and finishes. The caller holds
    the repository's lock.

    Raises:
        Conflict: It is not proven that the worktree is this owner's and lies inside `root`.
    """
    path = worktree.path
    _must_lie_inside(repo, path, root)
    entry = find_entry(repo, path, owner=owner)
    is_there = os.path.lexists(path)
    if entry is None and is_there and any(path.iterdir()):
        raise _refused(path, "git does not know it as a worktree", "Look into it and delete it yourself.")
    if entry is not None:
        _must_be_of(entry, path, owner)
    if is_there:
        _rename(path, root / TRASH)
    if entry is not None:
        # What `git worktree remove -f -f` does for a vanished folder, submodules' repositories included.
        shutil.rmtree(entry.admin)
    return sorted((root / TRASH).iterdir()) if (root / TRASH).is_dir() else []


def _must_lie_inside(repo: Repository, path: Path, root: Path) -> None:
    place, home = path.parent.resolve() / path.name, root.resolve()
    if path.is_symlink():
        raise _refused(path, "it is a symlink", "Delete the link yourself.")
    if place == home or not place.is_relative_to(home) or ".." in path.parts:
        raise _refused(path, f"it lies outside {shown(root)}", "Use `git worktree remove`.")
    for kept in (repo.root.resolve(), repo.common_dir.resolve()):
        if kept.is_relative_to(place) or (kept == repo.common_dir and place.is_relative_to(kept)):
            raise _refused(path, "it holds the repository itself", "Run `envmgr doctor`.")
    if (path / ".git").is_dir() or ((path / "HEAD").is_file() and (path / "objects").is_dir()):
        raise _refused(path, "it is a repository of its own", "Run `envmgr doctor`.")


def _must_be_of(entry: Entry, path: Path, owner: str) -> None:
    claim = entry.claim
    if claim is None or claim.owner != owner:
        whose = f"it belongs to {claim.owner}" if claim else "it is not locked by envmgr"
        raise _refused(path, whose, "Run `git worktree list -v` to see who holds it.")


def _refused(path: Path, why: str, hint: str) -> Conflict:
    return Conflict(f"{shown(path)} is not removed: {why}", hint=hint)


def _rename(path: Path, trash: Path) -> None:
    try:
        trash.mkdir(exist_ok=True)
        try:
            path.rename(trash / uuid.uuid4().hex)
        except FileNotFoundError:  # an older deletion has just taken the empty trash folder away
            trash.mkdir(exist_ok=True)
            path.rename(trash / uuid.uuid4().hex)
    except OSError as error:
        raise Unavailable(
            f"{shown(path)} cannot be moved away: {error.strerror}",
            hint="Check the rights of its folder, and that nothing is mounted there.",
        ) from error
