"""Paths that callers give, as paths within their repository."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from envmgr.app.caller import Caller
from envmgr.errors import Invalid


def inside(paths: Iterable[str], who: Caller) -> tuple[str, ...]:
    """Each relative to the repository, without `.`, `..` and repetitions; those of an agent's worktree may be absolute.

    Raises:
        Invalid: One leads out.
    """
    roots = [who.repo]
    if who.actor is not None and who.actor.incarnation is not None:
        roots.append(str(who.actor.incarnation.path))
    return tuple(dict.fromkeys(_inside(path, roots) for path in paths))


def _inside(path: str, roots: Sequence[str]) -> str:
    given = PurePosixPath(path.strip())
    if given.is_absolute():
        root = next((root for root in roots if given.is_relative_to(root)), None)
        given = given.relative_to(root) if root is not None else given
    folded = posixpath.normpath(str(given))
    if not path.strip() or folded.startswith(("/", "../")) or folded in (".", ".."):
        raise Invalid(
            f"{path[:200]!r} is no file or folder of the repository",
            hint="Give paths relative to the top of the repository, such as src/app.py.",
        )
    return folded
