"""Put a snapshot back into the worktree it was taken of: branch, index and files as they were, ignored files untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

from envmgr.aio.blocking import act, look
from envmgr.drivers.git.checkout import LOCK
from envmgr.drivers.git.entries import admin_of
from envmgr.drivers.git.invoke import must, shown
from envmgr.drivers.git.locking import Locks
from envmgr.drivers.git.snapshots import DEADLINE_S, Saved, add_all, apply
from envmgr.drivers.git.work import in_progress
from envmgr.drivers.git.worktrees import place_of
from envmgr.errors import Conflict
from envmgr.protocols.workspaces import Repository, Worktree

_UNSAVED = {"rebase": "git rebase --abort", "bisect": "git bisect reset"}
# What an operation under way leaves beside the index (gitrepository-layout(5)).
_STATE = (
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
)


async def rewind(repo: Repository, worktree: Worktree, saved: Saved, *, head: str, locks: Locks) -> None:
    """See `Workspaces.rewind`."""
    admin = await look("file", 5.0, admin_of, worktree.path)
    await _refuse(repo, worktree, admin)
    async with locks.held(admin / LOCK, what="the worktree", deadline_s=DEADLINE_S) as lock:
        # Nobody works there, and a git of ours would hold the lock: what is there belongs to a git that was killed.
        await act("file", (admin / "index.lock").unlink, missing_ok=True)
        # Now the index knows every file that is not ignored, so that those the snapshot lacks go away.
        await add_all(worktree.path, pass_fds=(lock,))
        await act("file", _end_operations, admin)
        await _move(worktree, saved, head)
        await apply(worktree, saved, pass_fds=(lock,))


async def fill(worktree: Worktree, saved: Saved, *, locks: Locks) -> None:
    """Write a snapshot into a worktree that was made for it; may be repeated, also while a killed caller's git still writes."""
    admin = await look("file", 5.0, admin_of, worktree.path)
    async with locks.held(admin / LOCK, what="the worktree", deadline_s=DEADLINE_S) as lock:
        await act("file", (admin / "index.lock").unlink, missing_ok=True)
        await apply(worktree, saved, pass_fds=(lock,))


async def _refuse(repo: Repository, worktree: Worktree, admin: Path) -> None:
    under_way = await look("file", 5.0, in_progress, admin)
    if under_way in _UNSAVED:
        end = _UNSAVED[under_way]
        raise Conflict(
            f"a {under_way} is under way, which no snapshot can keep",
            hint=f"Finish it, or end it with `{end}` in the worktree.",
        )
    place = await place_of(repo, worktree.branch)
    if place not in ("", shown(worktree.path)):
        raise Conflict(
            f"the branch {worktree.branch} is checked out in {place}",
            hint="Switch to another branch there first.",
        )


def _end_operations(admin: Path) -> None:
    for name in _STATE:
        (admin / name).unlink(missing_ok=True)
    shutil.rmtree(admin / "sequencer", ignore_errors=True)


async def _move(worktree: Worktree, saved: Saved, head: str) -> None:
    """Branch and HEAD to where they were; HEAD detached, if the worktree had left its branch."""
    branch = f"refs/heads/{worktree.branch}"
    await must("update-ref", "-m", "envmgr: snapshot restored", branch, head, cwd=worktree.path)
    if saved.head == head:
        await must("symbolic-ref", "HEAD", branch, cwd=worktree.path)
    else:
        await must("update-ref", "--no-deref", "HEAD", saved.head, cwd=worktree.path)
