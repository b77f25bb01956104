"""Walk along the audit trail and tell everything that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from envmgr.core.audit_chain import GENESIS, is_whole, root, statement_hash
from envmgr.model.audit import Finding, Head, Mark, Row, Statement, Wrong

_MOST = 20
"""So many findings are told; one wrong row may lead to many."""


@dataclass(slots=True)
class Walk:
    """Takes rows in their order, beside the statements about them.

    Attributes:
        at: The last row that was taken.
        checked: How many.
        findings: What is wrong, at most a screen of it.
    """

    at: Head
    statements: Iterator[Statement]
    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    _next: Statement | None = None
    _leaves: list[bytes] = field(default_factory=list)

    @classmethod
    def begin(cls, at: Head, statements: Iterable[Statement]) -> Walk:
        """After the row `at`; statements about rows up to there are passed over."""
        walk = cls(at, iter([one for one in statements if one.mark is Mark.CHECKPOINT and one.last > at.seq]))
        walk._next = next(walk.statements, None)
        return walk

    def take(self, row: Row) -> None:
        """The next row."""
        if row.seq != self.at.seq + 1:
            self.report(
                Wrong.MISSING, f"rows {self.at.seq + 1} to {row.seq - 1} are missing", self.at.seq + 1
            )
        elif row.prev != self.at.hash:
            self.report(Wrong.CHAIN, f"row {row.seq} does not follow from row {self.at.seq}", row.seq)
        if not is_whole(row):
            self.report(Wrong.CHANGED, f"row {row.seq} is not as it was written", row.seq)
        while self._next is not None and row.seq > self._next.last:
            self._statement_about(None)
        if self._next is not None and row.seq >= self._next.first:
            self._leaves.append(row.hash)
        if self._next is not None and row.seq == self._next.last:
            self._statement_about(row)
        self.at, self.checked = Head(row.seq, row.hash), self.checked + 1

    def _statement_about(self, last: Row | None) -> None:
        """`last` is the row that the next statement names, if it is there."""
        said, self._next = self._next, next(self.statements, None)
        leaves, self._leaves = self._leaves, []
        if said is None or last is None:
            return  # that rows are missing has been told
        if last.hash.hex() != said.head:
            self.report(
                Wrong.CHECKPOINT,
                f"checkpoint {said.number} says otherwise about row {last.seq}: it was written anew",
                last.seq,
            )
        elif len(leaves) == said.last - said.first + 1 and root(leaves).hex() != said.root:
            self.report(
                Wrong.CHECKPOINT, f"checkpoint {said.number} says otherwise about its rows", said.first
            )

    def end(self, known: Head | None) -> None:
        """There are no more rows. `known` is the newest one that this process has written itself."""
        newest = self._next
        for newest in self.statements:
            pass
        if newest is not None and newest.last > self.at.seq:
            self.report(
                Wrong.TRUNCATED,
                f"checkpoint {newest.number} tells of rows up to {newest.last}, and the last one is {self.at.seq}:"
                " the end is gone, or an older database is in its place",
                self.at.seq + 1,
            )
        elif known is not None and known.seq > self.at.seq:
            self.report(
                Wrong.TRUNCATED,
                f"row {known.seq} has been written, and the last one is {self.at.seq}",
                self.at.seq + 1,
            )

    def report(self, wrong: Wrong, says: str, seq: int = 0) -> None:
        """Take a finding down."""
        if len(self.findings) < _MOST:
            self.findings.append(Finding(wrong=wrong, says=says, seq=seq))


def wrong_statements(statements: Iterable[Statement]) -> Iterator[Finding]:
    """Whether each follows from the one before it. Their signatures are another matter."""
    before: Statement | None = None
    for one in statements:
        number, prev = (before.number + 1, statement_hash(before)) if before else (1, "")
        if (one.number, one.prev) != (number, prev):
            says = f"checkpoint {one.number} does not follow from checkpoint {number - 1}"
            yield Finding(wrong=Wrong.STATEMENT, says=says, seq=one.first)
        before = one


def wrong_cut(cut: Head, statements: Iterable[Statement]) -> Finding | None:
    """Whether a statement allows that rows are missing up to `cut`."""
    if cut == Head(0, GENESIS):
        return None
    for one in statements:
        if one.mark is Mark.CUT and (one.last, one.head) == (cut.seq, cut.hash.hex()):
            return None
    says = f"rows up to {cut.seq} were taken out of the database, and no signed checkpoint says so"
    return Finding(wrong=Wrong.CUT, says=says, seq=cut.seq)
