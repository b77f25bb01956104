"""What a refused or rolled-back request must leave as it was."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from envmgr.testing.audit import audit
from tests.support.host import Host, git
from tests.support.wait import eventually


@dataclass(frozen=True)
class Picture:
    """A repository and a host, as far as a spawn could change them; agents are looked at by the tests themselves."""

    branches: list[str]
    worktrees: list[str]
    folders: list[str]
    checkout: tuple[str, str, str]
    processes: list[str]
    leases: list[tuple[str, int]]


def checkout(repo: Path) -> tuple[str, str, str]:
    """HEAD, status and index of the main checkout."""
    index = repo / ".git" / "index"
    status = git(repo, "--no-optional-locks", "status", "--porcelain")
    head = git(repo, "rev-parse", "HEAD") + git(repo, "symbolic-ref", "HEAD")
    return head, status, hashlib.sha256(index.read_bytes()).hexdigest()


def picture(here: Host, repo: Path | None = None) -> Picture:
    """As it is now."""
    repo = repo or here.repo
    return Picture(
        branches=git(repo, "for-each-ref", "--format=%(refname)").splitlines(),
        worktrees=git(repo, "worktree", "list").splitlines(),
        folders=sorted(str(path) for path in (here.state / "worktrees").glob("*/*") if path.name[0] != "."),
        checkout=checkout(repo),
        processes=[
            found.what for found in audit(here.state) if found.kind in ("process", "tmux", "listener")
        ],
        leases=held_leases(here),
    )


def held_leases(here: Host) -> list[tuple[str, int]]:
    """Service and port of every lease that is held, straight from the database."""
    database = here.state / "envmgr.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT service, port FROM lease WHERE held ORDER BY port").fetchall()
    return [(str(service), int(port)) for service, port in rows]


@contextmanager
def untouched(here: Host, repo: Path | None = None) -> Iterator[None]:
    """What happens inside leaves branches, worktrees, checkout, processes and leases as they were.

    Work of agents that were there before is saved from time to time, whatever else happens.
    """

    def is_checkpoint(ref: str) -> bool:
        return ref.startswith(agents) and not ref.endswith("/handoff")

    agents = tuple(f"refs/envmgr/{agent['id']}/" for agent in here.ok("ls", "--json").json["agents"])
    # A program that is just being started is a copy of whoever starts it, for a moment.
    before = eventually(lambda: found if (found := picture(here, repo)) == picture(here, repo) else None)
    assert before is not None
    before = replace(before, branches=[ref for ref in before.branches if not is_checkpoint(ref)])
    yield

    def is_as_before() -> bool:
        now = picture(here, repo)
        now = replace(now, branches=[ref for ref in now.branches if not is_checkpoint(ref)])
        assert now == before, f"before: {before}\nnow: {now}"
        return True

    eventually(is_as_before, within_s=15)
