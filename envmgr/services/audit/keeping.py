"""Take old rows out of the database, into files, so that the chain goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from envmgr.aio import blocking
from envmgr.model.audit import Head, Mark, Row
from envmgr.protocols.store import Transaction
from envmgr.services.audit.sealing import Seals

_DAY_US = 86_400_000_000
_FILE_ROWS = 20_000
_LEAST_ROWS = 1000
"""Fewer are not worth a file; they stay a while longer."""
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long rows stay: in the database by age and number, and then in files."""

    days: float = 90.0
    rows: int = 1_000_000
    files_days: float = 730.0


class Keeping:
    """Moves rows. May be cut off at any moment: what was begun is gone on with the next time.

    First the file is written, then a signed statement, and only then may the database let go of the rows.
    """

    def __init__(self, seals: Seals, terms: Terms, *, least_rows: int = _LEAST_ROWS) -> None:
        self._seals = seals
        self._terms = terms
        self._least_rows = least_rows

    async def work(self, *, now: float, steady: float = math.inf, is_dry: bool = False) -> tuple[int, int]:
        """How many rows have left (or would leave), and how many bytes of old files went.

        Args:
            steady: The time by a clock that nobody sets: one that was set years ahead makes nothing old.
        """
        seals, now = self._seals, min(now, steady)
        if not is_dry:
            await seals.seal()
        async with seals.turn:
            last_us = int(now * 1e6 - self._terms.days * _DAY_US)
            moved = await self._move(last_us, is_dry=is_dry)
        drop = partial(seals.shelf.drop, before_at=now - self._terms.files_days * 86_400, is_dry=is_dry)
        _, freed = await blocking.act("file", drop)
        return moved, freed

    async def _move(self, last_us: int, *, is_dry: bool) -> int:
        store, moved = self._seals.store, 0
        if not is_dry:
            await self._delete(await self._allowed())
        begin = await store.read(lambda tx: tx.audit.cut())
        head = await store.read(lambda tx: tx.audit.head())
        ends = await blocking.act(
            "file", partial(self._ends, begin.seq, last_us, head.seq - self._terms.rows)
        )
        if not ends or ends[-1] - begin.seq < self._least_rows:
            return 0
        if is_dry:
            return ends[-1] - begin.seq
        while ends:
            fitting = [end for end in ends if end - begin.seq <= _FILE_ROWS] or ends[:1]
            rows = await store.search(partial(_through, after=begin.seq, through=fitting[-1]))
            if not rows:
                break  # an older database is in its place: nothing of it is moved
            begin, moved, ends = await self._cut(rows), moved + len(rows), ends[len(fitting) :]
        return moved

    def _ends(self, after: int, last_us: int, above: int) -> list[int]:
        """Where the trail may be cut: at the ends of checkpoints, so that each has its rows in one place."""
        return [
            one.last
            for one in self._seals.shelf.statements()
            if one.mark is Mark.CHECKPOINT and one.last > after and (one.at_us < last_us or one.last <= above)
        ]

    async def _cut(self, rows: Sequence[Row]) -> Head:
        seals, name = self._seals, f"{rows[0].seq:012}-{rows[-1].seq:012}.jsonl.gz"
        digest = await blocking.act("file", seals.shelf.save, name, rows)
        draft = await blocking.act("file", seals.draft, Mark.CUT, rows)
        await seals.add(replace(draft, file=name, digest=digest))
        head = Head(rows[-1].seq, rows[-1].hash)
        await self._delete(head)
        return head

    async def _allowed(self) -> Head | None:
        """The newest cut that a statement allows; a crash may have come before the database heard of it."""
        last = await blocking.act("file", lambda: self._seals.shelf.last(Mark.CUT))
        return Head(last.last, bytes.fromhex(last.head)) if last else None

    async def _delete(self, cut: Head | None) -> None:
        """In steps: whoever wants to write waits for none of them for long."""
        if cut is None:
            return
        await self._seals.store.write(partial(_allow, cut=cut))
        while await self._seals.store.write(partial(_drop, through=cut.seq)):
            pass


def _through(tx: Transaction, *, after: int, through: int) -> Sequence[Row]:
    return [row for row in tx.audit.rows(after=after, limit=through - after) if row.seq <= through]


def _allow(tx: Transaction, *, cut: Head) -> None:
    if tx.audit.cut().seq < cut.seq:
        tx.audit.allow_cut(cut)


def _drop(tx: Transaction, *, through: int) -> int:
    return tx.audit.delete(through=through, at_most=_AT_ONCE)
