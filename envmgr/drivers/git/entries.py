"""What git has on file about a worktree, read without starting git (gitrepository-layout(5), gitworktree(1)).

Whose a worktree is stands in the reason of git's own worktree lock: it is written together with the entry,
survives us, keeps `git worktree prune` away and is shown by `git worktree list`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from envmgr.errors import Unobservable
from envmgr.protocols.workspaces import Claimed, Repository

_WORD = "envmgr"
_NO_COMMIT = "0" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who has a worktree and what it was made from."""

    owner: str
    base: str
    branch: str

    def reason(self) -> str:
        """As the reason of git's lock; one line whatever the owner is called."""
        return f"{_WORD} {quote(self.owner, safe='/:@,')} {self.base} {self.branch}"

    @classmethod
    def parse(cls, reason: str) -> Claim | None:
        """The claim in a lock reason; None for a lock that is not ours."""
        match reason.strip().split(" "):
            case [word, owner, base, branch] if word == _WORD:
                return cls(owner=unquote(owner), base=base, branch=branch)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One folder below `<common dir>/worktrees`.

    Attributes:
        path: Where the worktree should be; None when git died before writing it.
        reason: Of its lock; None if it is not locked.
    """

    admin: Path
    path: Path | None
    reason: str | None

    @property
    def claim(self) -> Claim | None:
        """Ours, or None."""
        return None if self.reason is None else Claim.parse(self.reason)

    def is_whole(self) -> bool:
        """Whether `git worktree add` came to its end."""
        head = _read(self.admin / "HEAD")
        return (
            self.path is not None
            and (self.path / ".git").is_file()
            and (self.admin / "commondir").is_file()
            and bool(head)
            and head != _NO_COMMIT
        )


def admin_of(worktree: Path) -> Path:
    """The git directory of a linked worktree.

    Raises:
        Unobservable: The folder is no linked worktree (any more).
    """
    admin = _linked(worktree)
    if admin is None or not admin.is_dir():
        raise Unobservable("the worktree's link to its repository is missing", hint="Run `envmgr doctor`.")
    return admin


def find_entry(repo: Repository, path: Path, *, owner: str | None = None) -> Entry | None:
    """The entry of the worktree at `path`, or a half-made one of `owner` that has no path yet."""
    wanted = path.parent.resolve() / path.name
    home = repo.common_dir / "worktrees"
    linked = _linked(wanted)
    if linked is not None and linked.parent == home and (entry := _entry(linked)).path == wanted:
        return entry
    if not home.is_dir():
        return None
    for admin in sorted(home.iterdir()):
        entry = _entry(admin)
        is_unfinished = entry.path is None and entry.claim is not None and entry.claim.owner == owner
        if entry.path == wanted or is_unfinished:
            return entry
    return None


def entries(repo: Repository) -> list[Entry]:
    """All of a repository."""
    home = repo.common_dir / "worktrees"
    return [_entry(admin) for admin in sorted(home.iterdir())] if home.is_dir() else []


def claims(root: Path) -> list[Claimed]:
    """See `Workspaces.claims`: worktrees lie two levels below the root. Blocking."""
    if not root.is_dir():
        return []
    folders = (
        path
        for key in sorted(root.iterdir())
        if key.is_dir() and key.name[0] != "."
        for path in sorted(key.iterdir())
    )
    return [_claimed(path) for path in folders if path.is_dir() and not path.is_symlink()]


def _claimed(path: Path) -> Claimed:
    admin = _linked(path)
    if admin is None:
        return Claimed(path=path, made_at=path.stat().st_mtime)
    made_at = (path / ".git").stat().st_mtime
    entry = _entry(admin)
    claim = entry.claim
    # git must know the worktree at this very place: a copy of a worktree has the same link.
    if claim is None or entry.path != path.parent.resolve() / path.name:
        return Claimed(path=path, common_dir=admin.parents[1] if admin.is_dir() else None, made_at=made_at)
    return Claimed(
        path=path,
        owner=claim.owner,
        branch=claim.branch,
        base=claim.base,
        common_dir=admin.parents[1],
        made_at=made_at,
    )


def _linked(worktree: Path) -> Path | None:
    """Where the worktree's `.git` file points to."""
    try:
        pointer = _read(worktree / ".git")
    except IsADirectoryError:
        return None
    if pointer is None or not pointer.startswith("gitdir: "):
        return None
    return (worktree / pointer.removeprefix("gitdir: ")).resolve()


def _entry(admin: Path) -> Entry:
    pointer = _read(admin / "gitdir")
    # git writes the real path; only its newer, optional relative form needs work.
    place = Path(pointer).parent if pointer else None
    if place is not None and not place.is_absolute():
        place = (admin / place).resolve()
    return Entry(admin=admin, path=place, reason=_read(admin / "locked"))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
