"""Globs over the files of a worktree: `*` and `?` stay within a name, `**` crosses folders, a folder means all in it.

Paths are relative to the worktree, with `/` between names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]")
_MEANS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_WILD = re.compile(r"[*?\[]")


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is named by one of the patterns, or lies in a folder that is."""
    compiled = [re.compile(_regex(_plain(pattern)), re.DOTALL) for pattern in patterns]
    return lambda path: any(one.fullmatch(path) for one in compiled)


def beginnings(patterns: Iterable[str]) -> tuple[str, ...]:
    """The files and folders below which everything that can match lies; `.` is the whole worktree.

    Patterns that lead out of the worktree have none: they never match.
    """
    found = dict.fromkeys(start for pattern in patterns if (start := _beginning(_plain(pattern))) is not None)
    return tuple(
        start
        for start in found
        if not any(other != start and PurePosixPath(start).is_relative_to(other) for other in found)
    )


def _plain(pattern: str) -> str:
    return pattern.removeprefix("./").rstrip("/")


def _beginning(pattern: str) -> str | None:
    literal: list[str] = []
    for name in pattern.split("/"):
        if _WILD.search(name):
            break
        literal.append(name)
    if ".." in pattern.split("/") or pattern.startswith("/"):
        return None
    return "/".join(name for name in literal if name not in ("", ".")) or "."


def _regex(pattern: str) -> str:
    if pattern in ("", "."):
        return ".*"
    out, at = "", 0
    for found in _TOKEN.finditer(pattern):
        out += re.escape(pattern[at : found.start()])
        token = found[0]
        out += _MEANS.get(token) or token.replace("[!", "[^", 1)
        at = found.end()
    return out + re.escape(pattern[at:]) + "(?:/.*)?"
