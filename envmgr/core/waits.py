"""Who waits: the order of the line, and who may not be overtaken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, takewhile

from envmgr.core.leasing import excludes, may_meet, meets, stem
from envmgr.model.lock import Conflict, Grant, Link, Mode, Priority

_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A set of targets somebody wants all at once.

    Attributes:
        number: In the order of asking; 0 for one who does not wait (yet) and so comes after all of its class.
        targets: Canonical.
        family: Holders whose grants are not in its way.
        since: Steady time of asking.
    """

    number: int
    repo: str
    targets: tuple[str, ...]
    mode: Mode
    holder: str
    name: str
    family: frozenset[str]
    priority: Priority = Priority.NORMAL
    reason: str = ""
    since: float = 0.0

    def shared_with(self, other: Wish) -> tuple[str, str] | None:
        """Targets of the two that cannot be had at once; None when both could have all they want."""
        if self.repo != other.repo or not excludes(self.mode, other.mode):
            return None
        for mine in self.targets:
            for theirs in other.targets:
                if mine == theirs or (may_meet(stem(mine), stem(theirs)) and meets(mine, theirs)):
                    return mine, theirs
        return None

    def keeps_out(self, other: Wish) -> bool:
        """Whether the other one has to wait when this one comes first."""
        return self.holder not in other.family and self.shared_with(other) is not None


def place(wish: Wish, now: float, *, age_s: float) -> tuple[float, float]:
    """Sorts the line: better class first, and each `age_s` of waiting counts like the next better one."""
    waited = now - wish.since if wish.number else 0.0
    return max(0, _RANK[wish.priority] - waited // age_s), wish.number or float("inf")


def ahead(wish: Wish, waiting: Iterable[Wish], now: float, *, age_s: float) -> list[Wish]:
    """Those of others who wait for something the wish cannot share, and whose turn is before it; first in line first."""
    own = place(wish, now, age_s=age_s)
    before = ((place(one, now, age_s=age_s), one) for one in waiting if one.number != wish.number)
    found = [(at, one) for at, one in before if at < own and one.keeps_out(wish)]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def in_order(waiting: Iterable[Wish], now: float, *, age_s: float) -> list[Wish]:
    """First in line first."""
    return sorted(waiting, key=lambda wish: place(wish, now, age_s=age_s))


def is_first(wish: Wish, ordered: Iterable[Wish]) -> bool:
    """Whether nobody before it keeps it out. `ordered` are all who wait, in order; those after it are not looked at."""
    before = takewhile(lambda one: one.number != wish.number, ordered)
    return not any(one.keeps_out(wish) for one in before)


def positions(waiting: Iterable[Wish], now: float, *, age_s: float) -> dict[int, int]:
    """From 1, by number: how many have to be served before it, and itself."""
    ordered = in_order(waiting, now, age_s=age_s)
    return {
        wish.number: 1 + sum(one.keeps_out(wish) for one in islice(ordered, at))
        for at, wish in enumerate(ordered)
    }


def behind(wish: Wish, other: Wish) -> Link:
    """The wish waits for one who waits, too, and came first."""
    shared = wish.shared_with(other)
    assert shared is not None, "only who wants the same is ahead"
    return Link(
        holder=wish.holder, name=wish.name, target=shared[0],
        blocker=other.holder, blocker_name=other.name, held=shared[1],
    )  # fmt: skip


def link(wish: Wish, conflict: Conflict) -> Link:
    """The wish waits for the grant that is in its way."""
    grant = conflict.grant
    return Link(
        holder=wish.holder, name=wish.name, target=conflict.target,
        blocker=grant.holder, blocker_name=grant.name, held=grant.target,
    )  # fmt: skip


def queued_before(wish: Wish, other: Wish) -> Conflict:
    """One who waits is in the way like one who holds."""
    mine, theirs = wish.shared_with(other) or ("", "")
    grant = Grant(
        token=0, repo=other.repo, stem=stem(theirs), target=theirs, mode=other.mode, holder=other.holder,
        name=other.name, reason=other.reason, ttl_s=0.0, since_at=0.0, expires_at=0.0,
    )  # fmt: skip
    return Conflict(target=mine, wanted=wish.mode, grant=grant, example=meets(mine, theirs), is_waiting=True)


def says(step: Link) -> str:
    """For people."""
    return f"{step.name} waits for {step.target}, held by {step.blocker_name}"
