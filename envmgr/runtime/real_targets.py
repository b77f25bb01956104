"""The target that is really meant: a path through links is the path that they lead to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from envmgr.core.targets import Target, is_wild, parse_target, path_target
from envmgr.errors import UsageError


def real_target(text: str, *, roots: Sequence[Path]) -> Target:
    """Read a target and follow the links on the way to it, as far as its names are no patterns. Blocks, for some system calls.

    Args:
        text: As for `parse_target`.
        roots: Where the repository's files are: the worktree of who asks, then the main checkout.

    Raises:
        UsageError: It is no target, or links lead out of the repository, or in a circle.
    """
    target = parse_target(text)
    if not target.is_path or not roots:
        return target
    names = text.split("/")
    known = next((at for at, name in enumerate(names) if is_wild(name)), len(names))
    head, rest = "/".join(names[:known]), names[known:]
    if not head.strip("./"):
        return target
    # `..` behind a link leads to where the kernel says, so links come first.
    place = _within(text, head, roots)
    if place == os.path.normpath(head):
        return target
    if not rest:
        return parse_target("**") if place == "." else path_target(place)
    return parse_target("/".join(["." if place == "." else path_target(place).text, *rest]))


def _within(text: str, head: str, roots: Sequence[Path]) -> str:
    """The real path of the head, relative to the first root that has it."""
    try:
        real = os.path.realpath(roots[0] / head)
    except OSError as error:
        raise UsageError(f"{text} cannot be locked: {error.strerror}") from error
    for root in map(os.path.realpath, roots):
        if real == root or real.startswith(f"{root}/"):
            return real[len(root) + 1 :] or "."
    raise UsageError(
        f"{text} cannot be locked: a link leads out of the repository",
        hint="Locks are about files of the repository; what lies outside belongs to nobody here.",
    )
