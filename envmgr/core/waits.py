"""Who waits for whom: the order of the line, who may not be overtaken, and waits that would never end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

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


def first_in_line(waiting: Iterable[Wish], now: float, *, age_s: float) -> Iterator[Wish]:
    """Those who wait and have nobody before them who keeps them out."""
    ordered = sorted(waiting, key=lambda wish: place(wish, now, age_s=age_s))
    for at, wish in enumerate(ordered):
        if not any(one.keeps_out(wish) for one in islice(ordered, at)):
            yield wish


# By wish: the grants that are in its way.
Blocks = Callable[[Wish], Sequence[Link]]


class Waits:
    """The wait-for graph at one moment; what is asked of the store is asked once."""

    def __init__(
        self,
        waiting: Sequence[Wish],
        blocks: Blocks,
        now: float,
        *,
        age_s: float,
        holds: Callable[[str], bool],
    ) -> None:
        """`holds` tells whether a holder has any lock at all."""
        self._waiting, self._now, self._age_s = waiting, now, age_s
        self._blocks = cache(blocks)
        self._ahead = cache(self._find_ahead)
        self._needing = cache(self._find_needing)
        self._holds = holds

    def bars(self, wish: Wish) -> list[Wish]:
        """Whom the wish must not overtake. Who waits for the asker's own grants does not count: both would wait for ever."""
        before = self._ahead(wish)
        if not before or not self._is_waited_for(wish):
            return before
        needing = self._needing(wish.holder)
        return [one for one in before if one not in needing]

    def cycle(self, wish: Wish) -> tuple[Link, ...]:
        """The deadlock that waiting for the wish would be; empty when its wait can end."""
        if not self._is_waited_for(wish):
            return ()
        return tuple(self._walk(wish, wish.holder, {wish.holder}))

    def _is_waited_for(self, wish: Wish) -> bool:
        """False spares the rest: nobody can wait for one who has nothing, and stands nowhere else in the line."""
        return self._holds(wish.holder) or any(
            one.holder == wish.holder and one.number != wish.number for one in self._waiting
        )

    def _links(self, wish: Wish) -> list[Link]:
        """All that keeps the wish waiting."""
        return [*self._blocks(wish), *(_behind(wish, one) for one in self.bars(wish))]

    def _find_ahead(self, wish: Wish) -> list[Wish]:
        return ahead(wish, self._waiting, self._now, age_s=self._age_s)

    def _find_needing(self, holder: str) -> frozenset[Wish]:
        """Who waits for the holder, at whatever remove; everybody ahead counts as a reason to wait."""
        waits_for = {
            wish: {link.blocker for link in self._blocks(wish)} | {one.holder for one in self._ahead(wish)}
            for wish in self._waiting
        }
        reached, found = {holder}, set[Wish]()
        while more := {wish for wish in waits_for.keys() - found if waits_for[wish] & reached}:
            found |= more
            reached |= {wish.holder for wish in more}
        return frozenset(found)

    def _walk(self, wish: Wish, goal: str, seen: set[str]) -> list[Link]:
        """The way to the goal; empty when there is none."""
        for link in self._links(wish):
            if link.blocker == goal:
                return [link]
            if link.blocker in seen:
                continue
            seen.add(link.blocker)
            for one in self._waiting:
                if one.holder == link.blocker and (way := self._walk(one, goal, seen)):
                    return [link, *way]
        return []


def _behind(wish: Wish, other: Wish) -> Link:
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
