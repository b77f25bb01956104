"""Decide who gets a lock.

Pure: the grants that may be in the way are passed in. Which those are, an index tells by stems: two targets can overlap
only if the literal beginning of one is the beginning of the other's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from envmgr.core.overlap import overlap
from envmgr.core.targets import is_wild, parse_target
from envmgr.model.lock import Conflict, Grant, LockPolicy, Mode, Seen

_COVERS = {
    Mode.WRITE: frozenset({Mode.WRITE, Mode.READ, Mode.INTENT}),
    Mode.READ: frozenset({Mode.READ, Mode.INTENT}),
    Mode.INTENT: frozenset({Mode.INTENT}),
}
# The character after "/", so that everything below a stem lies between the two.
_AFTER_SLASH = "0"


class Around(NamedTuple):
    """Where in the index grants stand that may overlap: at these stems, and strictly between `low` and `high`."""

    stems: tuple[str, ...]
    low: str
    high: str


@lru_cache(maxsize=16_384)
def stem(target: str) -> str:
    """The literal beginning of a canonical target, such as `:/src/app` of `src/app/*.py` and `db:/users` of `db:users`."""
    found = parse_target(target)
    names = found.parts[1:] if found.prefix == "api" else found.parts
    literal = takewhile(lambda name: not is_wild(name), names)
    return f"{found.prefix}:/{'/'.join(literal)}"


@lru_cache(maxsize=16_384)
def around(at: str) -> Around:
    """Stems at which something may overlap what stands at this one."""
    root, _, rest = at.partition("/")
    names = rest.split("/") if rest else []
    above = tuple(f"{root}/{'/'.join(names[:end])}" for end in range(len(names) + 1))
    below = at if at.endswith("/") else f"{at}/"
    return Around(above, below, below[:-1] + _AFTER_SLASH)


def may_meet(one: str, other: str) -> bool:
    """Whether targets at these stems can overlap at all."""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    return long.startswith(short if short.endswith("/") else f"{short}/")


@lru_cache(maxsize=65_536)
def meets(one: str, other: str) -> str:
    """Something that both canonical targets cover; empty when nothing is."""
    return overlap(parse_target(one), parse_target(other)) or ""


def excludes(one: Mode, other: Mode) -> bool:
    """Whether two holders cannot have these on what they share."""
    return Mode.INTENT not in (one, other) and Mode.WRITE in (one, other)


def covers(held: Mode, wanted: Mode) -> bool:
    """Whether who holds the one may do what the other is for."""
    return wanted in _COVERS[held]


def is_same_life(one: str, other: str) -> bool:
    """Whether two lives (`Grant.life`) are of the same run of an agent; a pid of 0 may be any."""
    generation, _, pid = one.partition("/")
    other_generation, _, other_pid = other.partition("/")
    return generation == other_generation and (pid == other_pid or "0" in (pid, other_pid))


def stands(grant: Grant, now: float, *, seen: Seen, floor: float, policy: LockPolicy) -> bool:
    """Whether nobody else may have it: its time, counted from the last sign of life, and the grace are not over.

    Args:
        now: Steady time.
        floor: No grant ends before this; signs of life before it may be lost.
    """
    if now < grant.expires_at:
        return True
    alive_till = seen.get(grant.holder, 0.0) + grant.ttl_s
    return now < max(grant.expires_at, alive_till, floor) + policy.grace_s


@dataclass(slots=True)
class Judgement:
    """What is to be known about one wanted target.

    Attributes:
        own: What the asker holds of exactly this target.
    """

    own: Grant | None
    conflicts: list[Conflict]
    warnings: list[Conflict]

    def has(self, mode: Mode) -> bool:
        """Whether the asker has it already."""
        return self.own is not None and covers(self.own.mode, mode)


def judge(
    target: str, mode: Mode, grants: Iterable[Grant], *, holder: str, family: Collection[str]
) -> Judgement:
    """Look at one wanted target.

    Args:
        grants: All that stand and may overlap; others do no harm.
        family: Whose grants do not count: the asker's own, and those of whom it works for.
    """
    result = Judgement(None, [], [])
    for grant in grants:
        if grant.holder in family:
            if grant.holder == holder and grant.target == target:
                result.own = grant
            continue
        is_in_the_way = excludes(mode, grant.mode)
        if not is_in_the_way and Mode.INTENT not in (mode, grant.mode):
            continue
        if example := meets(target, grant.target):
            found = Conflict(target=target, wanted=mode, grant=grant, example=example)
            (result.conflicts if is_in_the_way else result.warnings).append(found)
    return result
