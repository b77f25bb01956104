"""Rows that somebody asks for: the newest ones, or one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from envmgr.model.audit import Filter, Row
from envmgr.protocols.store import Store, Transaction

_WINDOW = 20_000
"""So many numbers are searched at once, that others may read in between."""
_SLACK_US = 3_600_000_000
"""Clocks are set, and rows of calls that wait come late; beyond an hour nothing is looked for."""


async def newest(store: Store, wanted: Filter, *, limit: int, below: int = 0) -> list[Row]:
    """Rows that fit, newest first; with `below`, only those with a smaller number."""
    found: list[Row] = []
    end = below or (await store.read(lambda tx: tx.audit.head())).seq + 1
    first = (await store.read(lambda tx: tx.audit.cut())).seq
    while end > first + 1 and len(found) < limit:
        begin = max(first, end - _WINDOW - 1)
        query = partial(_search, wanted=wanted, above=begin, below=end, limit=limit - len(found))
        rows, latest_us = await store.search(query)
        found += rows
        if latest_us and latest_us < wanted.after_us - _SLACK_US:
            break
        end = begin + 1
    return found


async def oldest(store: Store, wanted: Filter) -> AsyncIterator[Row]:
    """All rows that fit, oldest first; those that are added meanwhile are not among them."""
    end = (await store.read(lambda tx: tx.audit.head())).seq + 1
    begin = (await store.read(lambda tx: tx.audit.cut())).seq
    while begin + 1 < end:
        until = min(end, begin + _WINDOW // 10 + 1)
        query = partial(_search, wanted=wanted, above=begin, below=until, limit=_WINDOW)
        rows, _ = await store.search(query)
        for row in reversed(rows):
            yield row
        begin = until - 1


def _search(
    tx: Transaction, *, wanted: Filter, above: int, below: int, limit: int
) -> tuple[Sequence[Row], int]:
    rows = tx.audit.search(wanted, above=above, below=below, limit=limit)
    return rows, tx.audit.latest_us(above=above, below=below) if wanted.after_us else 0
