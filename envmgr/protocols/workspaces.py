"""Git repositories and the worktrees that agents work in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.model.observe import Seen
from envmgr.model.observed import Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A checkout that agents are spawned from.

    Attributes:
        root: Top of the main checkout (symlinks resolved); for a bare repository its folder.
        common_dir: The shared `.git` directory.
        key: `<folder name>-<8 hex of the path's hash>`: unique on this host, safe in paths.
    """

    root: Path
    common_dir: Path
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """A registered worktree of an agent.

    Attributes:
        base: Commit the branch was created at (full id).
    """

    path: Path
    branch: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A folder below the root of worktrees, as its own link and git's lock tell.

    Attributes:
        owner: `<instance>/<agent>`; empty when nothing proves that it is envmgr's.
        common_dir: Of its repository; None when the link leads nowhere.
        made_at: Unix time of the folder's link.
    """

    path: Path
    owner: str = ""
    branch: str = ""
    base: str = ""
    common_dir: Path | None = None
    made_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worktree holds that exists nowhere else.

    Attributes:
        changed: Paths with uncommitted changes, untracked ones included (at most 200 named).
        unpushed: Commits on the branch that are in no remote and not in the base it started from.
        in_progress: A merge, rebase or cherry-pick under way, by name; empty if none.
    """

    changed: tuple[str, ...] = ()
    unpushed: int = 0
    in_progress: str = ""

    @property
    def is_safe_to_drop(self) -> bool:
        """Nothing would be lost."""
        return not self.changed and not self.unpushed and not self.in_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of a branch; `at` is Unix time."""

    id: str
    at: float
    author: str
    subject: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """What came of a worktree that git did not show as its owner's, for people.

    Attributes:
        mended: What was wrong and is not any more; empty: nothing that could be put right.
        foreign: Why it is somebody else's, or elsewhere; empty: it is not.
    """

    mended: str = ""
    foreign: str = ""


class Workspaces(Protocol):
    """All calls have deadlines; none touches the main checkout's files, index or HEAD."""

    async def find(self, path: Path) -> Repository:
        """The repository that `path` lies in; a worktree answers with its main checkout.

        Raises:
            ConfigError: Not in a git repository, or the repository has no commit yet.
        """

    async def resolve(self, repo: Repository, base: str) -> str:
        """Full commit id of a commit-ish. Raises ConfigError naming close branch names."""

    async def branch_exists(self, repo: Repository, branch: str) -> bool:
        """Whether a local branch of that name exists; ConfigError if the name is not valid for git."""

    async def register(
        self,
        repo: Repository,
        *,
        path: Path,
        branch: str,
        base: str,
        owner: str,
        started: Callable[[], None] | None = None,
    ) -> Worktree:
        """Create branch and worktree without files (`worktree add --no-track --no-checkout`) and lock it.

        `base` is a full commit id, or HEAD. Takes the cross-process lock of the repository for this step only. A stale registration of
        the same path (its folder is gone) is pruned first. `owner` (agent id, generation) goes into the reason of git's worktree
        lock. Calling it again for the same owner, path and branch returns the existing one. `started` is called when
        git runs: what needs no worktree can be begun then without getting in its way.

        Raises:
            Conflict: The branch exists, or the folder exists and is not this owner's.
        """

    async def checkout(self, worktree: Worktree) -> None:
        """Write the files. At most `cores` run at a time. May be repeated after a failure.

        Raises:
            Unavailable: Disk full or git failed; the message carries git's words.
        """

    async def populate(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        """Copy git-ignored files that match `patterns` or `.worktreeinclude`; returns how many.

        Copies only files that git ignores *and* a pattern matches, never `.git`, never envmgr's own folders
        or other worktrees, by reflink where the file system can. Existing files are kept.
        """

    async def clone(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        """Give the worktree its own copies of git-ignored folders that match, such as `node_modules`; returns how many.

        By reflink where the file system can, else by copying: never by hard links, which share what is edited in place.
        A folder appears whole or not at all, and one that is there is kept. Absolute symlinks into the main checkout lead
        into the worktree instead.
        """

    async def link(self, repo: Repository, worktree: Worktree, patterns: Sequence[str]) -> int:
        """Put symlinks to git-ignored files and folders of the main checkout that match; returns how many.

        Raises:
            ConfigError: git would not ignore the link itself.
        """

    async def submodules(self, worktree: Worktree) -> None:
        """`git submodule update --init --recursive` if the tree has any."""

    async def look(self, repo: Repository, path: Path, owner: str) -> Seen[Worktree]:
        """Whether the worktree is registered, present, and locked for this owner."""

    async def claims(self, root: Path) -> Seen[Sequence[Claimed]]:
        """All folders where worktrees of this installation lie, whosever they are."""

    async def reclaim(self, repo: Repository, worktree: Worktree, owner: str) -> Reclaimed:
        """Put back what ties a worktree to its owner: git's lock with its name, and the link of its folder. Touches no other file."""

    async def changed(self, worktree: Worktree) -> Sequence[str]:
        """Paths with uncommitted changes, untracked ones included. Raises Unobservable when git cannot tell."""

    async def work(self, worktree: Worktree) -> Work:
        """What would be lost with it. Raises Unobservable when git cannot tell."""

    async def written(self, folder: Path, touched: Collection[str], *, since: float, mark: str) -> Written:
        """Which files in a checkout somebody has written, of those that were touched.

        Not those that git ignores, that are as they were committed (somebody has checked them out), or that a merge brought;
        those that were written and then committed count.

        Args:
            folder: Top of a worktree, or of the main checkout.
            touched: Relative paths of files and folders.
            since: Unix time; in touched folders files count that have changed since.
            mark: Of the last answer; empty for the first question.

        Raises:
            Unobservable: git does not tell.
        """

    async def history(self, worktree: Worktree) -> Sequence[Commit]:
        """Commits of its branch since the base, newest first, at most 500; none when the base is gone."""

    async def behind(self, worktree: Worktree, tip: str) -> int:
        """Commits of `tip` (a full id) that the worktree's HEAD does not have. Raises Unobservable when git cannot tell."""

    async def snapshot(self, worktree: Worktree, ref: str, *, unless: str = "") -> str:
        """Save HEAD, index and all files (untracked too, ignored not) as a commit under `ref`.

        Uses a private index; HEAD, the real index and hooks are not touched. Returns the commit id, after reading
        its tree back.

        Args:
            unless: The ref of an earlier snapshot. When it has all that already, none is made, and the answer is empty.

        Raises:
            Conflict: A submodule, or a repository inside, holds work that no commit of this one can save.
            Unavailable: It cannot be written or not be read back; nothing of it remains but objects that git collects.
        """

    async def remove(self, repo: Repository, worktree: Worktree, *, owner: str, root: Path) -> None:
        """Unregister the worktree and delete its folder. Removing twice is harmless.

        Refuses (Conflict) unless the resolved path lies strictly inside `root`, is not the main checkout nor
        a git directory, and the worktree's lock names `owner`. The folder is first renamed into a trash folder
        in `root`, then deleted by a niced background process. Asks nothing about work: that is the caller's decision.
        """

    async def drop_branch(self, repo: Repository, branch: str, *, at: str) -> bool:
        """Delete the branch if it still points to `at`; returns whether it is gone."""

    async def drain(self) -> None:
        """Wait for deletions that go on in the background."""

    async def restore(
        self,
        repo: Repository,
        *,
        path: Path,
        branch: str,
        head: str,
        ref: str,
        owner: str,
        base: str = "",
        is_again: bool = False,
    ) -> Worktree:
        """Make a worktree from a snapshot: branch at `head`, uncommitted changes as they were.

        Args:
            base: Commit from which on the branch's commits count as its own; empty for that of the snapshot's worktree.
            is_again: An earlier call was cut off, and nobody has had the worktree since: what it made is used.

        Raises:
            Conflict: Branch or folder exist (again).
            NotFound: There is no such snapshot.
        """

    async def rewind(self, repo: Repository, worktree: Worktree, *, head: str, ref: str) -> None:
        """Put a snapshot back into its worktree: branch at `head`, index and files as they were, ignored files untouched.

        Overwrites what is there; the caller has saved it, and made sure that nobody works there. May be repeated after a
        crash at any moment.

        Raises:
            Conflict: A rebase or bisect is under way, or the branch is checked out elsewhere; nothing was changed.
            NotFound: There is no such snapshot.
        """

    async def drop_snapshot(self, repo: Repository, ref: str) -> None:
        """Forget a snapshot; git collects what nothing else needs. Dropping twice is harmless."""
