"""Which of the files that were touched somebody has written: not what git ignores, and not what git itself checked out."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from envmgr.aio.blocking import look
from envmgr.drivers.git.invoke import git, words
from envmgr.errors import Unobservable
from envmgr.model.observed import Write, WriteKind, Written

_DEADLINE_S = 60.0
_NAMED = 200  # with more of them git is asked about all files
_COARSE_S = 0.05
_FIELDS = {"1": 8, "2": 9, "u": 10}  # as in work.py
_LETTERS = {"A": WriteKind.ADDED, "D": WriteKind.DELETED}
_TAIL_BYTES = 64 * 1024
_ROOT = "0" * 40


async def written(folder: Path, touched: Collection[str], *, since: float, mark: str) -> Written:
    """See `Workspaces.written`."""
    log = await look("file", 5.0, _log_of, folder)
    moves, now = await look("file", 5.0, _moves, log, mark)
    if not touched:
        return Written(mark=now)
    is_merging = await look("file", 5.0, log.parent.with_name("MERGE_HEAD").exists)
    found, ignored = await _status(folder, touched, is_merging=is_merging)
    for old, new in moves:
        for path, kind in await _committed(folder, old, new):
            found.setdefault(path, kind)
    writes = await look("file", 10.0, _stamped, folder, found, frozenset(touched), since)
    return Written(writes=writes, ignored=tuple(ignored), mark=now)


async def _status(
    folder: Path, touched: Collection[str], *, is_merging: bool
) -> tuple[dict[str, WriteKind], list[str]]:
    """Files that differ from HEAD, and folders that are ignored. What a merge under way has brought does not count."""
    named = ("--", *touched) if len(touched) <= _NAMED else ()
    done = await git(
        "--no-optional-locks",
        "--literal-pathspecs",
        "status",
        "--porcelain=v2",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--ignored=matching",
        "--ignore-submodules=all",
        *named,
        cwd=folder,
        deadline_s=_DEADLINE_S,
    )
    if not done.is_ok:
        raise Unobservable(f"git status cannot tell: {words(done)}", hint="Run `envmgr doctor`.")
    found: dict[str, WriteKind] = {}
    ignored = []
    for record in filter(None, done.stdout.split("\0")):
        path = record.split(" ", _FIELDS.get(record[0], 1))[-1]
        if record[0] == "!":
            ignored += [path] if path.endswith("/") else []
        elif record[0] != "#" and not (is_merging and _is_merged(record)):
            found[path] = WriteKind.ADDED if record[0] == "?" else _kind(record[2:4])
    return found, ignored


def _is_merged(record: str) -> bool:
    """In conflict, or as git has put it into the index."""
    return record[0] == "u" or (record[0] == "1" and record[3] == ".")


def _kind(letters: str) -> WriteKind:
    """From what git says of index and worktree."""
    return _LETTERS.get(letters[1], _LETTERS.get(letters[0], WriteKind.MODIFIED))


async def _committed(folder: Path, old: str, new: str) -> list[tuple[str, WriteKind]]:
    trees = ("--root", new) if old == _ROOT else (old, new)
    asked = ("diff-tree", "-r", "-z", "--no-renames", "--no-commit-id", "--name-status", *trees)
    done = await git(*asked, cwd=folder, deadline_s=_DEADLINE_S)
    said = done.stdout.split("\0")
    return [
        (path, _LETTERS.get(letter, WriteKind.MODIFIED))
        for letter, path in zip(said[::2], said[1::2], strict=False)
    ]


def _log_of(folder: Path) -> Path:
    """Where git writes down how HEAD moves."""
    pointer = folder / ".git"
    if pointer.is_dir():
        return pointer / "logs" / "HEAD"
    try:
        admin = pointer.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
    except OSError as error:
        raise Unobservable(
            "the worktree's link to its repository is missing", hint="Run `envmgr doctor`."
        ) from error
    return folder / admin / "logs" / "HEAD"


def _moves(log: Path, mark: str) -> tuple[list[tuple[str, str]], str]:
    """Commits made since the mark, as (before, after), and the mark of now. Merges and checkouts are nobody's writing."""
    try:
        with log.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not mark or not 0 <= size - int(mark) <= _TAIL_BYTES:
                return [], str(size)
            file.seek(int(mark))
            lines = file.read(size - int(mark)).decode("utf-8", "replace").splitlines()
    except OSError:  # no commit yet, or no reflog is kept
        return [], mark
    moves = []
    for line in lines:
        who, _, what = line.partition("\t")
        if what.startswith("commit") and not what.startswith("commit (merge)"):
            old, new = who.split(" ", 2)[:2]
            moves.append((old, new))
    return moves, str(size)


def _stamped(
    folder: Path, found: dict[str, WriteKind], touched: frozenset[str], since: float
) -> tuple[Write, ...]:
    """Those that were touched, or lie in a touched folder and have changed since."""
    now, writes = time.time(), []
    for path, kind in found.items():
        at = _changed_at(folder / path)
        if path not in touched and not (_is_below(path, touched) and (at is None or at >= since - _COARSE_S)):
            continue
        writes.append(Write(path=path, kind=kind, at=now if at is None else min(at, now)))
    return tuple(writes)


def _is_below(path: str, touched: Collection[str]) -> bool:
    return any(str(parent) in touched for parent in _parents(path))


def _parents(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
    yield "."


def _changed_at(path: Path) -> float | None:
    """None when it is gone."""
    try:
        return path.lstat().st_ctime
    except OSError:
        return None
