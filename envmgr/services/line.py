"""Who waits for locks: in memory, because a wait is a request that is being answered, and ends with its connection.

Waiters enter in the store's writer thread, inside the change that found the lock taken, so that no release is missed in
between; they leave there, or in the event loop. Each step is one operation on a dict, which threads may share.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import anyio

from envmgr.core.leasing import may_meet, meets, stem
from envmgr.core.waits import Wish, ahead, in_order, is_first, positions


@dataclass(slots=True)
class Waiter:
    """One request that waits. `wake` is set when it is worth asking again."""

    wish: Wish
    wake: anyio.Event = field(default_factory=anyio.Event)
    has_asked: bool = False


class Line:
    """All who wait, of all repositories."""

    def __init__(self, steady: Callable[[], float], *, age_s: float) -> None:
        self._steady = steady
        self._age_s = age_s
        self._waiters: dict[int, Waiter] = {}
        self._numbers = itertools.count(1)

    def waiter(self, wish: Wish) -> Waiter:
        """Made for one request; it is not in the line yet."""
        return Waiter(replace(wish, number=next(self._numbers), since=self._steady()))

    def enter(self, waiter: Waiter) -> bool:
        """Keep its place, or give it one; returns whether it had one."""
        had = waiter.wish.number in self._waiters
        self._waiters[waiter.wish.number] = waiter
        return had

    def leave(self, number: int) -> bool:
        """Give the place up; returns whether it had one."""
        return self._waiters.pop(number, None) is not None

    def is_anybody(self, *, but: int = 0) -> bool:
        """Whether anyone waits, except this one."""
        count = len(self._waiters)
        return count > 1 or (count == 1 and but not in self._waiters)

    def wishes(self) -> list[Wish]:
        """Of all who wait, in the order of asking."""
        return [waiter.wish for waiter in list(self._waiters.values())]

    def position(self, wish: Wish) -> int:
        """From 1."""
        return len(ahead(wish, self.wishes(), self._steady(), age_s=self._age_s)) + 1

    def positions(self) -> dict[int, int]:
        """Of all who wait, by number. Compares each with each."""
        return positions(self.wishes(), self._steady(), age_s=self._age_s)

    def free(self, repo: str, target: str) -> None:
        """Something came free: wake those who want it and have nobody before them."""
        at, waiters = stem(target), dict(self._waiters)
        here = [waiter.wish for waiter in waiters.values() if waiter.wish.repo == repo]
        wanting = [wish for wish in here if any(_touches(one, target, at) for one in wish.targets)]
        if wanting:
            ordered = in_order(here, self._steady(), age_s=self._age_s)
            self.wake(wish for wish in wanting if is_first(wish, ordered))

    def wake(self, wishes: Iterable[Wish]) -> None:
        """It is worth their while to ask again."""
        for wish in wishes:
            if (waiter := self._waiters.get(wish.number)) is not None:
                waiter.wake.set()

    def gone(self, wish: Wish) -> None:
        """It is out of the line: those behind it may be first now."""
        for target in wish.targets:
            self.free(wish.repo, target)


def _touches(wanted: str, target: str, at: str) -> bool:
    return wanted == target or (may_meet(stem(wanted), at) and bool(meets(wanted, target)))
