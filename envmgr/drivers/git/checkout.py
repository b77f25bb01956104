"""Write a worktree's files, then run the user's post-checkout hook as `git worktree add` would."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from envmgr.aio.blocking import act, look
from envmgr.drivers.command import run
from envmgr.drivers.git.entries import admin_of
from envmgr.drivers.git.invoke import environment, failure, git, must, words
from envmgr.drivers.git.locking import Locks
from envmgr.errors import Unobservable
from envmgr.protocols.workspaces import Worktree

log = logging.getLogger(__name__)

# Measured: parallel checkout wins from about 20,000 files, and not on two cores.
LOCK = "envmgr.lock"
_MANY_FILES = 20_000
_FEW_CORES = 2
# What `git worktree add` does by `reset --hard`, filters and sparse checkout included, in less time.
_WRITE = ("read-tree", "--reset", "-u", "HEAD")
_NO_COMMIT = "0" * 40
_INDEX_HEADER = struct.Struct(">4sII")


async def checkout(
    worktree: Worktree, *, locks: Locks, hooks: Mapping[Path, Path], deadline_s: float, hook_deadline_s: float
) -> None:
    """See `Workspaces.checkout`; `hooks` maps common directories to the hooks' folders, as far as known."""
    admin, workers = await look("file", 5.0, _prepare, worktree)
    async with locks.held(admin / LOCK, what="the worktree", deadline_s=deadline_s) as lock:
        command = (*workers, *_WRITE)
        written = await git(*command, cwd=worktree.path, deadline_s=deadline_s, pass_fds=(lock,))
        if "index.lock': File exists" in written.stderr:
            # Whoever wrote the index held the lock that we hold now, so this one is of a killed git.
            await act("file", (admin / "index.lock").unlink, missing_ok=True)
            written = await git(*command, cwd=worktree.path, deadline_s=deadline_s, pass_fds=(lock,))
    if not written.is_ok:
        raise await failure("the files cannot be written", written, folder=worktree.path)
    folder = hooks.get(admin.parents[1]) or await _hooks_of(worktree)
    if await look("file", 5.0, os.access, worktree.path / folder / "post-checkout", os.X_OK):
        await _run_hook(worktree, hook_deadline_s)


def _prepare(worktree: Worktree) -> tuple[Path, tuple[str, ...]]:
    """The worktree's git directory, and the options that suit the size of the repository."""
    admin = admin_of(worktree.path)
    cores = os.cpu_count() or 1
    if cores <= _FEW_CORES or _files_in(admin.parents[1] / "index") <= _MANY_FILES:
        return admin, ()
    return admin, ("-c", f"checkout.workers={cores}")


def _files_in(index: Path) -> int:
    """Entries of an index as its header says (gitformat-index(5)); 0 if there is none."""
    try:
        with index.open("rb") as file:
            signature, _, count = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
    except (OSError, struct.error):
        return 0
    return int(count) if signature == b"DIRC" else 0


async def _hooks_of(worktree: Worktree) -> Path:
    asked = await run(("git", "rev-parse", "--git-path", "hooks"), cwd=worktree.path, env=environment())
    return Path(asked.stdout.strip())


async def _run_hook(worktree: Worktree, deadline_s: float) -> None:
    """A failing hook does not undo a checkout in git, nor here; a hanging one is killed."""
    head = await must("rev-parse", "HEAD", cwd=worktree.path)
    command = ("git", "hook", "run", "--ignore-missing", "post-checkout", "--", _NO_COMMIT, head, "1")
    try:
        done = await run(command, cwd=worktree.path, env=environment(language=None), deadline_s=deadline_s)
    except Unobservable:
        log.warning("post-checkout hook killed after its deadline", extra={"deadline_s": deadline_s})
        return
    if not done.is_ok:
        log.warning("post-checkout hook failed", extra={"exit": done.code, "said": words(done)})


async def has_submodules(worktree: Worktree) -> bool:
    """Whether the tree names any."""
    return await look("file", 5.0, (worktree.path / ".gitmodules").is_file)


async def fetch_submodules(worktree: Worktree, *, deadline_s: float) -> None:
    """Clone what `git submodule init`, run before, has entered into the shared configuration."""
    done = await git("submodule", "update", "--init", "--recursive", cwd=worktree.path, deadline_s=deadline_s)
    if not done.is_ok:
        raise await failure("the submodules cannot be fetched", done, folder=worktree.path)
