"""Who waits for whom, and which waits are over or would never end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple

from envmgr.core.waits import Wish, behind, in_order, place
from envmgr.model.lock import Link


class Needs(NamedTuple):
    """What a wish lacks: the same for only those targets, and the grants that are in its way."""

    part: Wish
    links: Sequence[Link]


class Waits:
    """The wait-for graph at one moment. What is asked of the store is asked once, and only if it matters.

    Hundreds may wait, most of them for the same: whatever is done for each of them must not look at each of the others.
    """

    def __init__(
        self,
        waiting: Sequence[Wish],
        needs: Callable[[Wish], Needs],
        now: float,
        *,
        age_s: float,
        holds: Callable[[str], bool],
    ) -> None:
        """`holds` tells whether a holder has any lock at all."""
        self._now, self._age_s = now, age_s
        self._ordered = in_order(waiting, now, age_s=age_s)
        self._places = [place(wish, now, age_s=age_s) for wish in self._ordered]
        self._of: dict[str, list[int]] = defaultdict(list)
        for at, wish in enumerate(self._ordered):
            self._of[wish.holder].append(at)
        self._ask = needs
        self._needs = cache(lambda at: needs(self._ordered[at]))
        self._holds = cache(holds)
        self._needing = cache(self._find_needing)
        self._blocked: Mapping[str, Sequence[int]] | None = None

    # --- one who asks ------------------------------------------------------------------------------------------

    def bars(self, wish: Wish) -> list[Wish]:
        """Whom the wish must not overtake. Who waits for the asker's own grants does not count: both would wait for ever."""
        return [self._ordered[at] for at in self._bars(wish)]

    def cycle(self, wish: Wish) -> tuple[Link, ...]:
        """The deadlock that waiting for the wish would be; empty when its wait can end."""
        part, links = self._ask(wish)
        is_behind = any(link.blocker in self._of for link in links) or any(True for _ in self._bars(part))
        if not is_behind or not self._is_waited_for(wish):
            return ()
        return self._way(wish, self._needing(wish.holder))

    # --- all who wait ------------------------------------------------------------------------------------------

    def worth_asking(self) -> list[Wish]:
        """Who would get an answer now: what they want, or that their wait has no end."""
        found = [wish for at, wish in enumerate(self._ordered) if self._is_open(at)]
        return found + [self._ordered[at] for at in self._stuck() if self._has_no_end(at)]

    def _is_open(self, at: int) -> bool:
        part, links = self._needs(at)
        return not links and next(self._bars(part), None) is None

    def _has_no_end(self, at: int) -> bool:
        wish = self._ordered[at]
        return at in self._needing(wish.holder) and bool(self.cycle(wish))

    def _stuck(self) -> list[int]:
        """Those who wait for one of themselves; each of the others waits, in the end, only for such as do not wait."""
        left = Counter(wish.holder for wish in self._ordered)
        stuck: dict[str, list[int]] = defaultdict(list)
        todo = deque(range(len(self._ordered)))
        while todo:
            at = todo.popleft()
            if on := self._waits_for(at, left):
                stuck[on].append(at)  # looked at again when that one is through
                continue
            holder = self._ordered[at].holder
            left[holder] -= 1
            if not left[holder]:
                del left[holder]
                todo.extend(stuck.pop(holder, ()))
        return [at for those in stuck.values() for at in those]

    def _waits_for(self, at: int, holders: Collection[str]) -> str:
        """One of these holders that keeps it waiting; empty when none does."""
        part, links = self._needs(at)
        on = next((link.blocker for link in links if link.blocker in holders), "")
        before = (one for one in islice(self._ordered, at) if one.holder in holders)
        return on or next((one.holder for one in before if one.keeps_out(part)), "")

    # --- parts of it -------------------------------------------------------------------------------------------

    def _ahead(self, wish: Wish) -> Iterator[int]:
        """Those of others who wait for something the wish cannot share, and whose turn is before it."""
        own = place(wish, self._now, age_s=self._age_s)
        for at in range(bisect_left(self._places, own)):
            one = self._ordered[at]
            if one.number != wish.number and one.keeps_out(wish):
                yield at

    def _bars(self, wish: Wish) -> Iterator[int]:
        for at in self._ahead(wish):
            if not self._is_waited_for(wish) or at not in self._needing(wish.holder):
                yield at

    def _is_waited_for(self, wish: Wish) -> bool:
        """False spares the rest: nobody can wait for one who has nothing, and stands nowhere else in the line."""
        stands = any(self._ordered[at].number != wish.number for at in self._of.get(wish.holder, ()))
        return stands or self._holds(wish.holder)

    def _find_needing(self, holder: str) -> Collection[int]:
        """Who waits for the holder, at whatever remove; everybody ahead counts as a reason to wait."""
        if self._blocked is None:
            self._blocked = self._by_blocker()
        found, reached, todo = set[int](), {holder}, [holder]
        left = list(range(len(self._ordered)))
        while todo:
            who = todo.pop()
            new = {at for at in self._blocked.get(who, ()) if at not in found}
            for first in self._of.get(who, ()):
                one = self._ordered[first]
                later = left[bisect_right(left, first) :]
                new |= {at for at in later if one.keeps_out(self._needs(at).part)}
            found |= new
            left = [at for at in left if at not in new] if new else left
            holders = {self._ordered[at].holder for at in new} - reached
            reached |= holders
            todo += holders
        return found

    def _by_blocker(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for at in range(len(self._ordered)):
            for blocker in {link.blocker for link in self._needs(at).links}:
                found[blocker].append(at)
        return found

    def _way(self, wish: Wish, through: Collection[int]) -> tuple[Link, ...]:
        """The shortest way from the wish back to its holder; none when there is none.

        Args:
            through: All who can stand on it.
        """
        goal, start = wish.holder, -1
        came: dict[int, tuple[int, Link]] = {}
        seen, todo = {goal}, deque([start])
        while todo:
            here = todo.popleft()
            for link in self._links(self._ask(wish) if here == start else self._needs(here), goal, through):
                if link.blocker == goal:
                    return _traced(came, here, link)
                if link.blocker not in seen:
                    seen.add(link.blocker)
                    nexts = [at for at in self._of.get(link.blocker, ()) if at in through]
                    came |= dict.fromkeys(nexts, (here, link))
                    todo += nexts
        return ()

    def _links(self, needs: Needs, goal: str, through: Collection[int]) -> Iterator[Link]:
        """All that keeps one waiting and can be on the way."""
        yield from needs.links
        for at in self._bars(needs.part):
            if at in through or self._ordered[at].holder == goal:
                yield behind(needs.part, self._ordered[at])


def _traced(came: Mapping[int, tuple[int, Link]], here: int, last: Link) -> tuple[Link, ...]:
    way = [last]
    while here in came:
        here, link = came[here]
        way.append(link)
    return tuple(reversed(way))
