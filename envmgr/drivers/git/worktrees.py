"""Make worktrees: one `git worktree add`, whatever an earlier attempt left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import anyio

from envmgr.aio.blocking import act
from envmgr.drivers.command import Finished
from envmgr.drivers.git.entries import Claim, Entry, find_entry
from envmgr.drivers.git.invoke import failure, git, shown, words
from envmgr.drivers.git.repository import branch_tip, head, resolve
from envmgr.errors import ConfigError, Conflict, EnvmgrError, Unobservable
from envmgr.protocols.workspaces import Repository, Worktree

HEAD = "HEAD"

_TRIES = 5
_WAIT_S = 0.05
_BUSY = re.compile(r"could not lock config file|Unable to create '.*\.lock'|cannot lock ref|commondir")
_NAME_CLASH = re.compile(r"'refs/heads/(?P<other>\S+)' exists; cannot create")
_BRANCH_EXISTS = re.compile(
    r"a branch named '.*' already exists|reference already exists|is already (checked out|used)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A worktree to be made.

    Attributes:
        start: Commit the branch is created at; differs from `claim.base` when work is restored.
        note: File that says, while it exists, that this owner's attempt has begun and not ended.
        started: Called when git runs.
    """

    path: Path
    claim: Claim
    start: str
    note: Path
    started: Callable[[], None] | None = None

    def at(self, commit: str) -> Wish:
        """The same, from a commit."""
        return replace(self, start=commit, claim=replace(self.claim, base=commit))

    @property
    def worktree(self) -> Worktree:
        """As callers know it."""
        return Worktree(path=self.path, branch=self.claim.branch, base=self.claim.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """What an earlier attempt left.

    Attributes:
        is_whole: The worktree is there: nothing to do.
        was_noted: An attempt of this owner began and did not end; a branch still at its start is of that attempt.
        has_proof: A lock of ours names the branch, so it is this owner's wherever it points to.
    """

    claim: Claim
    is_whole: bool = False
    was_noted: bool = False
    has_proof: bool = False


def note_of(state_dir: Path, repo: Repository, owner: str) -> Path:
    """Where the beginning of an attempt is noted."""
    return state_dir / "locks" / repo.key / quote(owner, safe="")


async def make(repo: Repository, wish: Wish, lock: int) -> Worktree:
    """Create branch and worktree without files, or return what an earlier call of the same owner made.

    `lock` is the descriptor of the repository's lock, held by the caller; git inherits it.
    """
    commit, past = await act("file", _begin, repo, wish)
    if wish.start == HEAD:
        wish = wish.at(commit or await resolve(repo, HEAD))
        if past is not None and past.claim.base == HEAD:
            past = replace(past, claim=wish.claim)
    if past is not None and past.is_whole:
        return replace(wish, claim=past.claim).worktree
    try:
        made = await _make(repo, wish, past, lock)
    except Unobservable:
        raise  # the note stays: nobody knows how far git came
    except EnvmgrError:
        await act("file", wish.note.unlink, missing_ok=True)
        raise
    await act("file", wish.note.unlink, missing_ok=True)
    return made


async def _make(repo: Repository, wish: Wish, past: _Past | None, lock: int) -> Worktree:
    try:
        return await _add(repo, wish, past, lock)
    except Conflict:
        # Only now, because reading all registrations takes longer than letting git find the clash.
        stale = await act("file", _survey, repo, wish)
        if stale is None:
            raise
        return await _add(repo, wish, stale, lock)


def _begin(repo: Repository, wish: Wish) -> tuple[str, _Past | None]:
    """Note that an attempt begins; look closer if there are signs of an earlier one.

    Also returns the commit of HEAD, empty when only git can tell: one way to a thread less for each spawn.
    """
    return head(repo) if wish.start == HEAD else "", _past(repo, wish)


def _past(repo: Repository, wish: Wish) -> _Past | None:
    was_noted = wish.note.exists() and wish.note.read_text(encoding="utf-8") == wish.claim.branch
    # git itself does not see a stale registration whose parent folder is gone too.
    is_suspicious = was_noted or wish.path.exists() or not wish.path.parent.exists()
    past = _survey(repo, wish) if is_suspicious else None
    if past is not None and past.is_whole:
        return past
    wish.note.parent.mkdir(parents=True, exist_ok=True)
    wish.note.write_text(wish.claim.branch, encoding="utf-8")
    _hide_from_main(repo, wish.path)
    return past or (_Past(claim=wish.claim, was_noted=True) if was_noted else None)


def _survey(repo: Repository, wish: Wish) -> _Past | None:
    """What is registered for the path or, half-made, for the owner; clears away what has no files."""
    entry = find_entry(repo, wish.path, owner=wish.claim.owner)
    if entry is None:
        return None
    claim = _own_claim(entry, wish)
    if claim is not None and entry.is_whole():
        return _Past(claim=claim, is_whole=True)
    clear(entry, wish.path)
    return _Past(claim=claim or wish.claim, has_proof=claim is not None)


def _own_claim(entry: Entry, wish: Wish) -> Claim | None:
    """The owner's claim on the entry, None for a stale one of nobody.

    Raises:
        Conflict: It is somebody else's.
    """
    claim = entry.claim
    if claim is not None and claim.owner == wish.claim.owner and claim.branch == wish.claim.branch:
        return claim
    if entry.reason is None and not wish.path.exists():
        return None
    what = f"for {claim.owner} on {claim.branch}" if claim else "and not envmgr's"
    raise Conflict(
        f"{shown(wish.path)} is a registered worktree already, {what}",
        hint=f"See `git worktree list`; if nobody needs it: git worktree remove -f -f '{wish.path}'",
        details={"owner": claim.owner if claim else ""},
    )


def clear(entry: Entry, path: Path) -> None:
    """Forget a worktree whose folder is gone or was never filled: what `git worktree prune` would do, for one.

    Raises:
        Conflict: There are files.
    """
    if path.exists() and any(child.name != ".git" for child in path.iterdir()):
        raise Conflict(
            f"{shown(path)} holds files, but git does not know it as a worktree any more",
            hint="Run `git worktree repair` in the repository, or move the folder away.",
        )
    (path / ".git").unlink(missing_ok=True)
    shutil.rmtree(entry.admin)


def _clear_own(repo: Repository, wish: Wish) -> None:
    entry = find_entry(repo, wish.path, owner=wish.claim.owner)
    if entry is not None and entry.claim == wish.claim:
        clear(entry, wish.path)


def _hide_from_main(repo: Repository, path: Path) -> None:
    """Keep worktrees inside the checkout out of its `git status` and `git add` (R-6), in the private exclude file."""
    if not path.is_relative_to(repo.root) or repo.root == repo.common_dir:
        return
    place = path.relative_to(repo.root)
    folder = place.parent if place.parent.parts else place
    line = "/" + re.sub(r"([\\*?\[\] ])", r"\\\1", folder.as_posix()) + "/"
    exclude = repo.common_dir / "info" / "exclude"
    text = exclude.read_text(encoding="utf-8") if exclude.exists() else ""
    if line not in text.splitlines():
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text(
            f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n", encoding="utf-8"
        )


async def _add(repo: Repository, wish: Wish, past: _Past | None, lock: int) -> Worktree:
    if past is not None:
        wish = replace(wish, claim=past.claim)
    branch, command = wish.claim.branch, await _command(repo, wish, past)
    for attempt in range(1, _TRIES + 1):
        done = await git(*command, cwd=repo.root, pass_fds=(lock,), started=wish.started)
        if done.is_ok:
            return wish.worktree
        if "-b" in command and not _BRANCH_EXISTS.search(done.stderr):
            # git makes the branch first and leaves it when the rest fails; the old value keeps all others safe.
            await git("update-ref", "-d", f"refs/heads/{branch}", wish.start, cwd=repo.root)
        if attempt == _TRIES or _NAME_CLASH.search(done.stderr) or not _BUSY.search(done.stderr):
            break
        await act("file", _clear_own, repo, wish)
        await anyio.sleep(_WAIT_S * attempt)
    raise await _refusal(repo, wish, done)


async def _command(repo: Repository, wish: Wish, past: _Past | None) -> list[str]:
    branch, path = wish.claim.branch, str(wish.path)
    command = ["worktree", "add", "--no-checkout", "--lock", "--reason", wish.claim.reason()]
    tip = await branch_tip(repo, branch) if past else None
    if past is not None and tip is not None and (past.has_proof or (past.was_noted and tip == wish.start)):
        return [*command, path, branch]
    return [*command, "--no-track", "-b", branch, path, wish.start]


async def _refusal(repo: Repository, wish: Wish, done: Finished) -> EnvmgrError:
    branch, said = wish.claim.branch, done.stderr
    if clash := _NAME_CLASH.search(said):
        other = clash["other"]
        return Conflict(
            f"the branch {branch} cannot exist beside {other}", hint="Choose another branch name."
        )
    if _BRANCH_EXISTS.search(said):
        place = await place_of(repo, branch)
        return Conflict(
            f"the branch {branch} exists already" + (f", checked out in {place}" if place else ""),
            hint=f"Choose another name, or delete it: git branch -d {branch}",
            details={"branch": branch, "worktree": place},
        )
    if f"'{wish.path}' already exists" in said or "is a missing but" in said:
        return Conflict(
            f"{shown(wish.path)} is taken: it is not empty, or registered as a worktree",
            hint="Move it away or choose another name.",
        )
    if "not a valid branch name" in said:
        return bad_name(branch)
    if "invalid reference" in said or "not a valid object name" in said:
        return ConfigError(f"there is no commit {wish.start}", hint="Fetch it, or choose another base.")
    if _BUSY.search(said):
        return Conflict(
            f"another git process holds the repository: {words(done)}",
            hint="Wait for it; if none runs, delete the .lock file git names.",
        )
    return await failure("the worktree cannot be created", done, folder=wish.path)


def bad_name(branch: str) -> ConfigError:
    """The refusal of a branch name."""
    return ConfigError(
        f"`{branch}` is not a valid branch name",
        hint="Use letters, digits, `-`, `_` and `/`, as in agent/fix-login.",
    )


async def place_of(repo: Repository, branch: str) -> str:
    """Where a branch is checked out; empty if nowhere."""
    listed = await git("worktree", "list", "--porcelain", "-z", cwd=repo.root)
    for block in listed.stdout.split("\0\0"):
        fields = dict(line.split(" ", 1) for line in block.split("\0") if " " in line)
        if fields.get("branch") == f"refs/heads/{branch}":
            return shown(Path(fields["worktree"]))
    return ""


async def drop_branch(repo: Repository, branch: str, *, at: str) -> bool:
    """See `Workspaces.drop_branch`; the caller holds the repository's lock."""
    if await branch_tip(repo, branch) is None:
        return True
    if await place_of(repo, branch):
        return False
    done = await git("update-ref", "-d", f"refs/heads/{branch}", at, cwd=repo.root)
    if done.is_ok:
        # `git push -u` of the agent leaves a section; without one this fails, which is fine.
        await git("config", "--local", "--remove-section", f"branch.{branch}", cwd=repo.root)
        return True
    if await branch_tip(repo, branch) == at:
        raise await failure(f"the branch {branch} cannot be deleted", done, folder=repo.root)
    return False
