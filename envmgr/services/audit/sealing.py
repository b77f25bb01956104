"""Vouch for new rows in a signed file outside of the database, now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from envmgr.aio import blocking
from envmgr.core.audit_chain import GENESIS, root, signed_part, statement_hash
from envmgr.core.audit_walk import Walk
from envmgr.errors import EnvmgrError
from envmgr.model.audit import SEALED, Head, Mark, Row, Statement
from envmgr.protocols.audit import Notary, Shelf
from envmgr.protocols.store import Transaction
from envmgr.services.audit.recording import AuditedStore

log = logging.getLogger(__name__)

_KEY, _SEALED = "audit.key", "audit.sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How often. `rows` are in one statement at most."""

    period_s: float = 60.0
    rows: int = 1000


class Seals:
    """Makes statements, one after the other.

    Args:
        instance: Of whose trail they are.
    """

    def __init__(
        self,
        store: AuditedStore,
        shelf: Shelf,
        notary: Notary,
        *,
        now: Callable[[], float],
        instance: str,
        terms: Terms | None = None,
    ) -> None:
        self.store = store
        self.shelf = shelf
        self.notary = notary
        self.turn = anyio.Lock()
        """Held by whoever makes statements or relies on none being made."""
        self._now = now
        self._instance = instance
        self._terms = terms or Terms()
        self._last: Statement | None = None
        self._sealed = Head(0, GENESIS)
        self._unsealed = 0
        self._full = anyio.Event()
        self._is_read = self._is_open = False
        self._found = ""
        self.trouble = ""
        """Why rows cannot be vouched for, or what was found when they were; empty when all is well."""
        store.on_rows = self._count

    async def open(self) -> None:
        """Learn where the file ends; quick. A file that cannot be read keeps nobody from working."""
        try:
            await self._read()
        except EnvmgrError as error:
            self._complain(error.message)

    async def _read(self) -> None:
        """No number is given twice, even to rows of an older database: the trail goes on after the last checkpoint."""
        if self._is_read:
            return
        self._last = await blocking.act("file", self.shelf.last)
        if sealed := await blocking.act("file", lambda: self.shelf.last(Mark.CHECKPOINT)):
            self._sealed = Head(sealed.last, bytes.fromhex(sealed.head))
        known, unguarded = await self.store.read(lambda tx: (tx.audit.head(), tx.audit.unguarded()))
        if unguarded:
            self._found = unguarded[0]
            self._complain(self._found)
        self._unsealed = max(0, known.seq - self._sealed.seq)
        if known.seq < self._sealed.seq:
            self._found = f"rows after {known.seq} are missing"
            self._complain(self._found)
            await self.store.write(lambda tx: tx.audit.expect(self._sealed))
        self._is_read = True

    async def run(self) -> None:
        """Until cancelled. What fails is tried again after the usual time."""
        while True:
            with anyio.move_on_after(self._terms.period_s):
                await self._full.wait()
            self._full = anyio.Event()
            if self._unsealed:
                try:
                    await self.seal()
                except EnvmgrError as error:
                    self._complain(error.message)
                    await anyio.sleep(self._terms.period_s)
                else:
                    self.trouble = self._found  # that stays until a person has looked

    async def seal(self) -> None:
        """Vouch for all rows that there are.

        Raises:
            Unavailable: There is no key, or something cannot be written.
        """
        async with self.turn:
            await self._read()
            await self._find_key()
            while True:
                rows = await self.store.search(partial(_rows, after=self._sealed.seq, limit=self._terms.rows))
                if rows:
                    await self._vouch(rows)
                if len(rows) < self._terms.rows:
                    self._unsealed = 0
                    return

    async def add(self, statement: Statement) -> Statement:
        """Sign it with the place that it has, and put it on the shelf; call it with the turn. Raises as `seal`."""
        await self._find_key()
        last = self._last
        placed = replace(
            statement,
            number=last.number + 1 if last else 1,
            prev=statement_hash(last) if last else "",
            key=self.notary.fingerprint(),
        )

        def put() -> Statement:
            signed = replace(placed, signature=self.notary.sign(signed_part(placed)))
            self.shelf.add(signed)
            return signed

        self._last = await blocking.act("file", put)
        # In one more place, which nobody has cut who has cut the rows and the file of checkpoints.
        log.info(SEALED, extra={"number": self._last.number, "digest": statement_hash(self._last)})
        number = str(self._last.number)
        await self.store.write(lambda tx: tx.put(_SEALED, number))
        return self._last

    def draft(self, mark: Mark, rows: Sequence[Row]) -> Statement:
        """A statement about these rows that has no place yet."""
        return Statement(
            mark=mark,
            number=0,
            first=rows[0].seq,
            last=rows[-1].seq,
            head=rows[-1].hash.hex(),
            root=root([row.hash for row in rows]).hex(),
            at_us=int(self._now() * 1e6),
            instance=self._instance,
            prev="",
            key="",
        )

    async def _vouch(self, rows: Sequence[Row]) -> None:
        """Rows that are wrong are told, and vouched for as they are: later changes of them would not be found otherwise."""
        walk = Walk.begin(self._sealed, ())

        def check() -> Statement:
            for row in rows:
                walk.take(row)
            return self.draft(Mark.CHECKPOINT, rows)

        statement = await blocking.act("file", check)
        for finding in walk.findings:
            self._found = finding.says
            self._complain(finding.says)
        await self.add(statement)
        self._sealed = walk.at

    async def _find_key(self) -> None:
        """The database remembers which key it was; a new one is made only where nothing was ever signed."""
        if self._is_open:
            return
        known = await self.store.read(lambda tx: tx.get(_KEY))
        await blocking.act("file", lambda: self.notary.open(may_make=not known and self._last is None))
        found = self.notary.fingerprint()
        if found and not known:
            await self.store.write(lambda tx: tx.put(_KEY, found))
        self._is_open = not self.notary.trouble()

    def _complain(self, why: str) -> None:
        if why != self.trouble:
            log.error("the audit trail has trouble; see `envmgr audit --verify`", extra={"why": why})
        self.trouble = why

    def _count(self, rows: int) -> None:
        self._unsealed += rows
        if self._unsealed >= self._terms.rows:
            self._full.set()


def _rows(tx: Transaction, *, after: int, limit: int) -> Sequence[Row]:
    return tx.audit.rows(after=after, limit=limit)


def remembered(tx: Transaction) -> tuple[str, int]:
    """What the database knows of the key and of the number of statements."""
    return tx.get(_KEY) or "", int(tx.get(_SEALED) or 0)
