"""Whether two lock targets have something in common, with a witness; whether one takes in another. Exact, see ADR 0045."""

from __future__ import annotations

import functools

from envmgr.core.meeting import meet, takes_in
from envmgr.core.targets import DEEP, Target, is_wild, render

_ANY = "x"
_ANY_METHOD = "GET"


def overlap(a: Target, b: Target) -> str | None:
    """A path or key that both match; None when they have nothing in common."""
    if a.prefix != b.prefix or (a.bucket != b.bucket and a.bucket and b.bucket):
        return None
    names = meet(a.parts, b.parts, many=DEEP, free="*", common=_common_name)
    if names is None:
        return None
    if a.prefix == "api" and names[0] == _ANY:
        names[0] = _ANY_METHOD
    return render(a.prefix, names)


def covers(a: Target, b: Target) -> bool:
    """Whether everything that `b` matches is matched by `a`."""
    return a.prefix == b.prefix and takes_in(a.parts, b.parts, many=DEEP, free="*", includes=_includes_name)


def has_path(target: Target, path: str) -> bool:
    """Whether a concrete path (relative to the repository, in normal form) is matched."""
    return target.is_path and takes_in(
        target.parts, path.split("/"), many=DEEP, free="*", includes=_matches_name
    )


@functools.lru_cache(maxsize=16384)
def _common_name(a: str, b: str) -> str | None:
    """A name that both match; names are not empty, and neither `.` nor `..`."""
    if not is_wild(a) and not is_wild(b):
        return a if a == b else None
    found = meet(a, b, many="*", free="?", common=_common_character)
    if found is None:
        return None
    name = "".join(found)
    if name in ("", ".", "..") or (name[0] == "." and a[0] == b[0] == "*"):
        return _another(a, b, name)
    return name


def _another(a: str, b: str, name: str) -> str | None:
    """Of patterns that share this name, one that a file can have, and rather one that is not hidden."""
    if a[0] == b[0] == "*":
        return _ANY + name
    if "*" in a and "*" in b:  # nothing else in them but dots and `?`, so more dots do
        return "..."
    short, other = (b, a) if "*" in a else (a, b)
    for at, letter in enumerate(short):
        if letter == "?":
            given = short[:at] + _ANY + short[at + 1 :]
            if found := meet(given, other, many="*", free="?", common=_common_character):
                return "".join(found)
    return None


def _common_character(a: str, b: str) -> str | None:
    if a == "?":
        return _ANY if b == "?" else b
    return a if b in ("?", a) else None


@functools.lru_cache(maxsize=16384)
def _includes_name(a: str, b: str) -> bool:
    return a in ("*", b) or (
        is_wild(a) and b != DEEP and takes_in(a, b, many="*", free="?", includes=_includes_character)
    )


def _includes_character(a: str, b: str) -> bool:
    return a in ("?", b)


def _matches_name(a: str, name: str) -> bool:
    """`name` is concrete: a `*` in it is nothing but itself."""
    if not is_wild(a):
        return a == name
    plain = name.replace("*", "\x00").replace("?", "\x00")
    return _includes_name(a, plain)
