"""Do two patterns have something in common, and does one take in the other: words over any alphabet, with `many` for any of them.

A pattern is a sequence of letters and `many`, which stands for zero or more letters. Letters need not be characters: of a
path they are its names, which are patterns themselves. Sets of positions are the bits of a number, so both questions take
time proportional to one length times the words of the other, whatever the pattern (ADR 0045).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Common = Callable[[str, str], str | None]
"""What two letters have in common, as a concrete letter; None when nothing."""
Includes = Callable[[str, str], bool]
"""Whether the first letter takes in the second."""

_MOST_WAYS = 64


def meet(a: Sequence[str], b: Sequence[str], *, many: str, free: str, common: Common) -> list[str] | None:
    """A word that both patterns match, as concrete letters; None when there is none.

    Args:
        many: Stands for zero or more letters; never twice in a row.
        free: The letter that has something in common with every letter.
        common: Asked for letters other than `many`.
    """
    stars = _positions(b, many)
    masks: dict[str, int] = {}
    end = 1 << len(b)
    reached = 1 | (stars & 1) << 1
    entries = [reached]  # for each position in `a`, the positions in `b` at which both can be on entering it
    for letter in a:
        if letter == many:
            reached = (2 * end - 1) & -(
                reached & -reached
            )  # from the lowest on: it takes whatever `b` asks for
        else:
            mask = masks.get(letter)
            if mask is None:
                mask = sum(
                    1 << j for j, other in enumerate(b) if other != many and common(letter, other) is not None
                )
                masks[letter] = mask
            moved = (reached & mask) << 1 | reached & stars
            reached = moved | (moved & stars) << 1
            if not reached:
                return None
        entries.append(reached)
    return _trace(a, b, entries, many=many, free=free, common=common) if reached & end else None


def _trace(
    a: Sequence[str], b: Sequence[str], entries: Sequence[int], *, many: str, free: str, common: Common
) -> list[str]:
    """The word, read backwards from where both patterns end."""
    word: list[str | None] = []
    i, j = len(a), len(b)
    while i or j:
        before = j > 0 and entries[i] >> j - 1 & 1
        if not entries[i] >> j & 1:  # reached while the `many` of `a` went on
            j -= 1
            if b[j] != many:
                word.append(common(free, b[j]))
        elif i and a[i - 1] == many:
            i -= 1
        elif before and b[j - 1] == many:  # which stood for nothing
            j -= 1
        elif both := _both(a, b, i=i, j=j, reached=entries[i - 1], many=many, common=common):
            i, j = i - 1, j - 1
            word.append(both)
        else:  # the `many` of `b` went on
            i -= 1
            word.append(common(a[i], free))
    return [letter for letter in reversed(word) if letter is not None]


def _both(
    a: Sequence[str], b: Sequence[str], *, i: int, j: int, reached: int, many: str, common: Common
) -> str | None:
    """What the letters before these positions have in common, if that is how they were reached."""
    if j and reached >> j - 1 & 1 and b[j - 1] != many:
        return common(a[i - 1], b[j - 1])
    return None


def takes_in(a: Sequence[str], b: Sequence[str], *, many: str, free: str, includes: Includes) -> bool:
    """Whether every word of `b` is one of `a`.

    Never true without being so. Of letters that stand for several it asks whether one takes in the other, not whether some
    together do.
    """
    stars = _positions(a, many)

    def after(reached: int, letter: str) -> int:
        moved = reached & stars
        for at, own in enumerate(a):
            if reached >> at & 1 and own != many and includes(own, letter):
                moved |= 2 << at
        return moved | (moved & stars) << 1

    # For each way in which `b` can have come here, the positions of `a` one of which has to lead to the end.
    ways = {1 | (stars & 1) << 1}
    for letter in b:
        if letter == many:
            ways = _repeated(ways, lambda reached: after(reached, free))
        else:
            ways = {after(reached, letter) for reached in ways}
        if 0 in ways or len(ways) > _MOST_WAYS:
            return False
    return all(reached >> len(a) & 1 for reached in ways)


def _repeated(ways: set[int], after: Callable[[int], int]) -> set[int]:
    """However often; what has a way of fewer positions beside it says nothing more."""
    todo, found = list(ways), set(ways)
    while todo:
        way = after(todo.pop())
        if way not in found and len(found) <= _MOST_WAYS:
            found.add(way)
            todo.append(way)
    return {way for way in found if not any(other != way and other & way == other for other in found)}


def _positions(pattern: Sequence[str], letter: str) -> int:
    return sum(1 << i for i, own in enumerate(pattern) if own == letter)
