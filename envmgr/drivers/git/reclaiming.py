"""Worktrees of an agent that git no longer shows as its own: put right where that is certain, else told.

Only marks are written, never files of the worktree. Blocking.
"""

from __future__ import annotations

from envmgr.drivers.git.entries import Claim, Entry, entries, find_entry
from envmgr.protocols.workspaces import Reclaimed, Repository, Worktree

_POINTER = ".git"


def reclaim(repo: Repository, worktree: Worktree, owner: str) -> Reclaimed:
    """See `Workspaces.reclaim`; the caller holds the repository's lock."""
    entry = find_entry(repo, worktree.path)
    if entry is None:
        moved = next((e.path for e in entries(repo) if e.claim and e.claim.owner == owner and e.path), None)
        return Reclaimed(foreign=f"its worktree was moved to {moved}") if moved else Reclaimed()
    claim = entry.claim
    if claim is not None and claim.owner != owner:
        return Reclaimed(foreign=f"its worktree is registered for {claim.owner}")
    if claim is None and entry.reason is not None:
        return Reclaimed(
            foreign=f"its worktree is locked by somebody else: {entry.reason or 'no reason given'}"
        )
    return Reclaimed(mended="; ".join(_mend(entry, worktree, owner)))


def _mend(entry: Entry, worktree: Worktree, owner: str) -> list[str]:
    done = []
    pointer = worktree.path / _POINTER
    if worktree.path.is_dir() and not pointer.exists():
        pointer.write_text(f"gitdir: {entry.admin}\n", encoding="utf-8")
        done.append("its link to the repository was missing")
    # A lock on what is not whole would keep git from clearing it away.
    if entry.reason is None and entry.is_whole():
        claim = Claim(owner=owner, base=worktree.base, branch=worktree.branch)
        (entry.admin / "locked").write_text(claim.reason(), encoding="utf-8")
        done.append("its lock had been taken off")
    return done
