"""Look whether the whole trail is as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from envmgr.aio import blocking
from envmgr.core.audit_chain import GENESIS, signed_part, statement_hash
from envmgr.core.audit_walk import Walk, wrong_cut, wrong_statements
from envmgr.errors import Unavailable
from envmgr.model.audit import Finding, Head, Mark, Row, Statement, Verdict, Wrong
from envmgr.protocols.audit import Notary, Shelf
from envmgr.protocols.store import Transaction
from envmgr.services.audit.sealing import Seals, remembered

_AT_ONCE = 500
_SIGNATURES = 1000
"""So many of the newest signatures are checked; each statement names the hash of the one before, with its signature."""


async def verify(seals: Seals, *, after_us: int = 0) -> Verdict:
    """Look at all rows, or at those from the last checkpoint before `after_us` on; others can go on meanwhile.

    Raises:
        Unavailable: Something cannot be read.
    """
    store = seals.store
    async with seals.turn:
        statements, findings = await blocking.act("file", _statements, seals.shelf)
        # Asked where changes are made, so that it is durable before the rows are read.
        known = await store.write(lambda tx: tx.audit.written())
        cut, unguarded = await store.read(_ends)
        key, sealed_number = await store.read(remembered)
        start = _start(cut, statements, after_us)
        walk = Walk.begin(start, statements)
        findings += [Finding(wrong=Wrong.GUARD, says=says) for says in unguarded]
        findings += filter(None, [wrong_cut(cut, statements)])
        findings += await blocking.act("file", partial(_signatures, seals, statements, key, sealed_number))
        findings += filter(None, [await blocking.act("file", _logged, seals.shelf, statements)])
        await _walk(walk, store.search)
        walk.end(known)
        filed, wrong, notes = await blocking.act("file", _files, seals.shelf, [] if after_us else statements)
    checkpoints = [one for one in statements if one.mark is Mark.CHECKPOINT]
    return Verdict(
        checked=walk.checked,
        first=start.seq + 1,
        last=walk.at.seq,
        head=walk.at.hash.hex(),
        statements=len(statements),
        sealed=checkpoints[-1].last if checkpoints else 0,
        sealed_us=checkpoints[-1].at_us if checkpoints else 0,
        newest=statement_hash(statements[-1]) if statements else "",
        filed=filed,
        key=seals.notary.public(),
        findings=(*findings, *walk.findings, *wrong),
        notes=tuple(notes),
    )


def _ends(tx: Transaction) -> tuple[Head, Sequence[str]]:
    return tx.audit.cut(), tx.audit.unguarded()


def _start(cut: Head, statements: Sequence[Statement], after_us: int) -> Head:
    """Where to begin: at the cut, or at a checkpoint that is old enough."""
    found = cut
    for one in statements if after_us else ():
        if one.mark is Mark.CHECKPOINT and one.at_us < after_us and one.last > found.seq:
            found = Head(one.last, bytes.fromhex(one.head))
    return found


async def _walk(walk: Walk, read: Callable[..., object]) -> None:
    """In steps, so that others may read in between."""
    while True:
        rows = await read(partial(_take, walk=walk))  # type: ignore[misc]
        if not rows:
            return


def _take(tx: Transaction, *, walk: Walk) -> int:
    rows = tx.audit.rows(after=walk.at.seq, limit=_AT_ONCE)
    for row in rows:
        walk.take(row)
    return len(rows)


def _statements(shelf: Shelf) -> tuple[list[Statement], list[Finding]]:
    """Those up to the first that cannot be read, and what is wrong with their order."""
    found: list[Statement] = []
    try:
        found.extend(shelf.statements())
    except Unavailable as error:
        return found, [Finding(wrong=Wrong.STATEMENT, says=error.message), *wrong_statements(found)]
    return found, list(wrong_statements(found))


def _signatures(seals: Seals, statements: Sequence[Statement], key: str, number: int) -> list[Finding]:
    notary: Notary = seals.notary
    last = statements[-1].number if statements else 0
    if not statements and not number:
        return []
    notary.open(may_make=False)
    found = []
    if notary.trouble():
        found.append(Finding(wrong=Wrong.KEY, says=notary.trouble()))
    if key != notary.fingerprint():
        says = f"the key is {notary.fingerprint() or 'gone'}, and the database knows {key or 'none'}"
        found.append(Finding(wrong=Wrong.KEY, says=says))
    if number > last:
        says = f"{number} checkpoints have been made, and there are {last}"
        found.append(Finding(wrong=Wrong.STATEMENT, says=says))
    unsigned = [
        one for one in statements[-_SIGNATURES:] if not notary.is_signed(signed_part(one), one.signature)
    ]
    if unsigned:
        says = f"checkpoint {unsigned[0].number} is not signed by the key, as are {len(unsigned) - 1} others"
        found.append(Finding(wrong=Wrong.SIGNATURE, says=says, seq=unsigned[0].first))
    return found


def _logged(shelf: Shelf, statements: Sequence[Statement]) -> Finding | None:
    """Whoever cuts rows, checkpoints and their number in the database may have forgotten the daemon's log."""
    logged, known = shelf.logged(), {one.number: one for one in statements}
    for number in sorted(logged):
        if number not in known:
            says = f"the daemon's log tells of checkpoint {number}, and it is not there"
            return Finding(wrong=Wrong.STATEMENT, says=says)
        if statement_hash(known[number]) != logged[number]:
            says = f"checkpoint {number} is another one than the daemon's log tells of"
            return Finding(wrong=Wrong.STATEMENT, says=says, seq=known[number].first)
    return None


def _files(shelf: Shelf, statements: Sequence[Statement]) -> tuple[int, list[Finding], list[str]]:
    """Rows that have left the database. A file that is gone is no fault of the trail: a person may have moved it."""
    count, wrong, notes, end = 0, [], [], Head(0, GENESIS)
    for one in statements:
        if one.mark is not Mark.CUT:
            continue
        end, begin = Head(one.last, bytes.fromhex(one.head)), end
        digest = shelf.digest(one.file)
        if not digest:
            notes.append(f"{one.file} is not there; rows {one.first} to {one.last} were not checked")
        elif digest != one.digest:
            wrong.append(
                Finding(wrong=Wrong.FILE, says=f"{one.file} is not as it was written", seq=one.first)
            )
        else:
            walk = Walk.begin(begin, statements)
            for row in _rows(shelf, one.file):
                walk.take(row)
            count += walk.checked
            wrong += walk.findings
    return count, wrong, notes


def _rows(shelf: Shelf, name: str) -> Iterator[Row]:
    return shelf.load(name) or iter(())
