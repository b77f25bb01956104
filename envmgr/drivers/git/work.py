"""Tell what a worktree holds that exists nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envmgr.aio.blocking import look
from envmgr.drivers.command import Finished
from envmgr.drivers.git.entries import admin_of
from envmgr.drivers.git.invoke import git, words
from envmgr.errors import Unavailable, Unobservable
from envmgr.protocols.workspaces import Commit, Work, Worktree

_NAMED = 200
_COMMITS = 500
_DEADLINE_S = 120.0
_IN_PROGRESS = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}
# Paths come after this many fields in `git status --porcelain=v2`.
_FIELDS = {"1": 8, "2": 9, "u": 10, "?": 1}
_SUBMODULE_COMMITS = "git rev-list --count HEAD --not --remotes"


async def work(worktree: Worktree) -> Work:
    """See `Workspaces.work`."""
    try:
        admin = await look("file", 5.0, admin_of, worktree.path)
        changed = await _changes(worktree.path)
        unpushed = await _commits(worktree) + await _submodule_commits(worktree.path)
        under_way = await look("file", 5.0, in_progress, admin)
    except Unobservable:
        raise
    except Unavailable as error:
        raise Unobservable(error.message, hint=error.hint) from error
    return Work(changed=tuple(changed[:_NAMED]), unpushed=unpushed, in_progress=under_way)


async def changed(worktree: Worktree) -> Sequence[str]:
    """See `Workspaces.changed`."""
    try:
        return await _changes(worktree.path)
    except Unobservable:
        raise
    except Unavailable as error:
        raise Unobservable(error.message, hint=error.hint) from error


async def history(worktree: Worktree) -> Sequence[Commit]:
    """See `Workspaces.history`."""
    wanted = f"{worktree.base}..refs/heads/{worktree.branch}"
    asked = ("log", "-z", "--name-only", f"--max-count={_COMMITS}", "--format=%x1e%H%x1f%at%x1f%an%x1f%s%x1f")
    done = await git(*asked, wanted, "--", cwd=worktree.path, deadline_s=_DEADLINE_S)
    return [_commit(entry) for entry in done.stdout.split("\x1e")[1:]] if done.is_ok else []


def _commit(entry: str) -> Commit:
    id_, at, author, subject, rest = entry.split("\x1f", 4)
    files = tuple(name for name in rest.replace("\0\n", "\0").strip("\n\0").split("\0") if name)
    return Commit(id=id_, at=float(at), author=author, subject=subject, files=files)


async def behind(worktree: Worktree, tip: str) -> int:
    """See `Workspaces.behind`."""
    done = await git("rev-list", "--count", f"HEAD..{tip}", cwd=worktree.path, deadline_s=_DEADLINE_S)
    _must_answer(done, "rev-list")
    return int(done.stdout)


def in_progress(admin: Path) -> str:
    """Name of the operation git is in the middle of; empty if none."""
    return next((name for mark, name in _IN_PROGRESS.items() if (admin / mark).exists()), "")


async def submodule_work(folder: Path) -> str:
    """Which submodule of a worktree holds work of its own; empty if none."""
    changed = await _changes(folder, only_submodules=True)
    return ", ".join(changed) or ("a submodule" if await _submodule_commits(folder) else "")


async def _changes(folder: Path, *, only_submodules: bool = False) -> list[str]:
    done = await git(
        "--no-optional-locks",
        "status",
        "--porcelain=v2",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--ignore-submodules=none",
        cwd=folder,
        deadline_s=_DEADLINE_S,
    )
    _must_answer(done, "status")
    found: list[str] = []
    for record in done.stdout.split("\0"):
        if record and not record.startswith("#"):
            fields = record.split(" ", _FIELDS.get(record[0], 1))
            if not only_submodules or _has_submodule_changes(fields):
                found.append(fields[-1])
    return found


def _has_submodule_changes(fields: list[str]) -> bool:
    # `S<c><m><u>`: new commits, modified content, untracked files. New commits alone are the pointer's matter.
    return fields[0] in {"1", "2", "u"} and fields[2].startswith("S") and fields[2][2:] != ".."


async def _commits(worktree: Worktree) -> int:
    # The agent may have left or deleted its branch: what HEAD and the branch have both count, a missing one does not.
    done = await git(
        "rev-list",
        "--count",
        "--ignore-missing",
        "HEAD",
        f"refs/heads/{worktree.branch}",
        "--not",
        "--remotes",
        worktree.base,
        cwd=worktree.path,
        deadline_s=_DEADLINE_S,
    )
    _must_answer(done, "rev-list")
    return int(done.stdout)


async def _submodule_commits(folder: Path) -> int:
    if not await look("file", 5.0, (folder / ".gitmodules").is_file):
        return 0
    done = await git(
        "submodule",
        "foreach",
        "--quiet",
        "--recursive",
        _SUBMODULE_COMMITS,
        cwd=folder,
        deadline_s=_DEADLINE_S,
    )
    _must_answer(done, "submodule foreach")
    return sum(int(line) for line in done.stdout.split())


def _must_answer(done: Finished, what: str) -> None:
    if not done.is_ok:
        raise Unobservable(f"git {what} cannot tell: {words(done)}", hint="Run `envmgr doctor`.")
