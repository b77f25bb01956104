"""Prove one row to somebody who has neither the database nor the other rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from envmgr.aio import blocking
from envmgr.core.audit_chain import is_whole, path, root_by, signed_part
from envmgr.errors import NotFound
from envmgr.model.audit import Mark, Proof, Row, Statement
from envmgr.protocols.store import Transaction
from envmgr.services.audit.sealing import Seals
from envmgr.services.audit.signatures import is_signed


async def prove(seals: Seals, seq: int) -> Proof:
    """The row with its way to a signed checkpoint; if none covers it yet, one is made.

    Raises:
        NotFound: There is no such row, or its file is gone.
        Unavailable: There is no key to sign with.
    """
    statement = await blocking.act("file", _about, seals, seq)
    if statement is None:
        await seals.seal()
        statement = await blocking.act("file", _about, seals, seq)
    if statement is None:
        raise NotFound(f"there is no row {seq}", hint="See `envmgr audit`.")
    rows = await _rows(seals, statement)
    hashes, index = [row.hash for row in rows], seq - statement.first
    return Proof(
        row=rows[index],
        index=index,
        path=tuple(one.hex() for one in path(hashes, index)),
        statement=statement,
        public=seals.notary.public(),
    )


async def _rows(seals: Seals, statement: Statement) -> Sequence[Row]:
    count = statement.last - statement.first + 1
    rows = await seals.store.search(partial(_between, first=statement.first, count=count))
    if len(rows) < count:
        rows = await blocking.act("file", _filed, seals, statement)
    if len(rows) != count or rows[0].seq != statement.first:
        raise NotFound(
            f"rows {statement.first} to {statement.last} are not all there",
            hint="Run `envmgr audit --verify`; rows that have left the database are in the folder `audit/segments`.",
        )
    return rows


def _between(tx: Transaction, *, first: int, count: int) -> Sequence[Row]:
    return [row for row in tx.audit.rows(after=first - 1, limit=count) if row.seq < first + count]


def _about(seals: Seals, seq: int) -> Statement | None:
    seals.notary.open(may_make=False)
    for one in seals.shelf.statements():
        if one.mark is Mark.CHECKPOINT and one.first <= seq <= one.last:
            return one
    return None


def _filed(seals: Seals, statement: Statement) -> Sequence[Row]:
    for cut in seals.shelf.statements():
        if cut.mark is Mark.CUT and cut.first <= statement.first and statement.last <= cut.last:
            rows = seals.shelf.load(cut.file) or iter(())
            return [row for row in rows if statement.first <= row.seq <= statement.last]
    return ()


def doubts(proof: Proof, *, public: str = "") -> list[str]:
    """What is wrong with a proof; nothing if it holds. Blocking, shortly.

    Args:
        public: The key to trust; without it the proof's own, which says only that proof and key belong together.
    """
    found = []
    said, row = proof.statement, proof.row
    if not is_whole(row):
        found.append("the row is not the one that its hash was made of")
    if row.seq != said.first + proof.index:
        found.append("the row is in another place than the proof says")
    try:
        hashes = [bytes.fromhex(one) for one in proof.path]
        top = root_by(row.hash, proof.index, count=said.last - said.first + 1, path=hashes)
    except ValueError:
        top = b""
    if top.hex() != said.root:
        found.append("the row is not among those that the checkpoint is about")
    if public and public != proof.public:
        found.append("it was signed with another key")
    if not is_signed(signed_part(said), said.signature, public or proof.public):
        found.append("the signature of the checkpoint is wrong")
    return found
