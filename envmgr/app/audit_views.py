"""What operations of the audit trail give, and how people see it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from envmgr.app import text
from envmgr.app.moments import moment
from envmgr.app.shapes import View
from envmgr.core.audit_chain import row_plain
from envmgr.core.counting import counted
from envmgr.model.audit import OK, Decision, Proof, Row, Verdict

# Any: parameters and results are JSON of the operation's own form.


class AuditEntry(View):
    """One call."""

    seq: int = Field(description="Number of the row; the trail has no gaps")
    at: str = Field(description="When it was asked, RFC 3339")
    request: str = Field(description="Rows of one call share it")
    actor: str = Field(description="Id of whoever asked: an agent's id, or kind and name")
    kind: str = Field(description="person, agent, program or daemon")
    name: str
    agent: str = Field(description="The agent's id, if it was one")
    session: str
    operation: str
    target: str = Field(description="What it was about")
    decision: str = Field(description="allowed or denied")
    outcome: str = Field(description="ok, the code of the error, or the reason of an answer that says no")
    params: dict[str, Any] = Field(description="Without secrets, and shortened")
    result: dict[str, Any]
    latency_s: float | None = Field(description="Until the answer; none when the row went with the change")
    hash: str


class AuditPage(View):
    """Rows, newest first."""

    entries: list[AuditEntry]
    more: bool = Field(description="Older ones fit as well: ask again with `before` the last number")
    ok: bool = True


class AuditRow(View):
    """A row as it was hashed: `hash` is the SHA-256 of `prev` and the JSON array of all fields from `seq` to `latency_us`."""

    seq: int
    at_us: int
    request: str
    actor: str
    kind: str
    name: str
    agent: str
    session: str
    operation: str
    target: str
    decision: str
    outcome: str
    params: str
    result: str
    latency_us: int | None
    prev: str
    hash: str


class AuditFinding(View):
    """Something that is not as it was written."""

    kind: str = Field(
        description="changed, chain, missing, truncated, checkpoint, statement, signature, key, cut, file or guard"
    )
    seq: int = Field(description="Where it begins; 0 when it has no place")
    says: str


class AuditVerdict(View):
    """What came of a look at the whole trail."""

    ok: bool
    checked: int = Field(description="Rows of the database that were checked")
    first: int
    last: int
    head: str = Field(description="Hash of the last row")
    sealed: int = Field(description="The last row that a signed checkpoint vouches for")
    sealed_at: str = Field(description="When the newest checkpoint was made; empty without one")
    checkpoints: int
    newest: str = Field(description="Hash of the newest checkpoint")
    filed: int = Field(description="Rows in files that were checked")
    key: str = Field(description="Public key of the checkpoints; write it down somewhere else")
    findings: list[AuditFinding]
    notes: list[str]


class Checkpoint(View):
    """A signed statement about rows, as it stands in the file of checkpoints."""

    mark: str
    number: int
    first: int
    last: int
    head: str
    root: str
    at_us: int
    instance: str
    prev: str
    key: str
    file: str = ""
    digest: str = ""
    signature: str


class AuditProof(View):
    """A row, its way up the tree, and the signed checkpoint that names the root."""

    row: AuditRow
    index: int
    path: list[str]
    checkpoint: Checkpoint
    public_key: str


class ProofVerdict(View):
    """Whether a proof holds."""

    ok: bool
    seq: int
    says: list[str] = Field(description="What is wrong with it")
    key: str = Field(description="Public key that it was checked with")
    is_pinned: bool = Field(description="The key was given by whoever asked, and not taken from the proof")


def entry(row: Row) -> AuditEntry:
    """The row for people and programs that only read."""
    e = row.entry
    return AuditEntry(
        seq=row.seq,
        at=moment(e.at_us / 1e6),
        request=e.request,
        actor=e.actor,
        kind=e.kind,
        name=e.name,
        agent=e.agent,
        session=e.session,
        operation=e.operation,
        target=e.target,
        decision=e.decision,
        outcome=e.outcome,
        params=_object(e.params),
        result=_object(e.result),
        latency_s=None if e.latency_us is None else e.latency_us / 1e6,
        hash=row.hash.hex(),
    )


def _object(written: str) -> dict[str, Any]:
    """A row that somebody has tampered with is shown, too."""
    try:
        found = json.loads(written)
    except ValueError:
        return {"unreadable": written}
    return found if isinstance(found, dict) else {"unreadable": written}


def raw(row: Row) -> AuditRow:
    """The row for programs that make its hash again."""
    return AuditRow.model_validate(row_plain(row))


def verdict(found: Verdict) -> AuditVerdict:
    """With words instead of types."""
    return AuditVerdict(
        ok=not found.findings,
        checked=found.checked,
        first=found.first,
        last=found.last,
        head=found.head,
        sealed=found.sealed,
        sealed_at=moment(found.sealed_us / 1e6) if found.sealed_us else "",
        checkpoints=found.statements,
        newest=found.newest,
        filed=found.filed,
        key=found.key,
        findings=[AuditFinding(kind=one.wrong.value, seq=one.seq, says=one.says) for one in found.findings],
        notes=list(found.notes),
    )


def proof(found: Proof) -> AuditProof:
    """All that somebody else needs."""
    said = {name: getattr(found.statement, name) for name in Checkpoint.model_fields}
    return AuditProof(
        row=raw(found.row),
        index=found.index,
        path=list(found.path),
        checkpoint=Checkpoint(**{**said, "mark": found.statement.mark.value}),
        public_key=found.public,
    )


def page_text(result: AuditPage, style: text.Style) -> str:
    """A table, the newest row last, as in a log."""
    if not result.entries:
        return "nothing fits\n"
    rows, colours = [], []
    for one in reversed(result.entries):
        outcome = one.outcome if one.decision == Decision.ALLOWED else f"{one.decision}: {one.outcome}"
        rows.append(
            [str(one.seq), one.at[:19].replace("T", " "), one.name, one.operation, outcome, one.target]
        )
        colours.append("" if one.outcome == OK else "amber" if one.decision == Decision.ALLOWED else "red")
    shown = text.table(["SEQ", "AT (UTC)", "WHO", "OPERATION", "OUTCOME", "TARGET"], rows, style, colours)
    more = f"older ones fit as well: --before {result.entries[-1].seq}\n" if result.more else ""
    return shown + more


def verdict_text(result: AuditVerdict, style: text.Style) -> str:
    """One line when all is well, and each finding otherwise."""
    lines = [style.paint(f"{one.kind}: {one.says}", "red") for one in result.findings]
    seen = f"{counted(result.checked, 'row')} of the database"
    filed = f" and {counted(result.filed, 'row')} in files" if result.filed else ""
    said = "is as it was written" if result.ok else "is NOT as it was written"
    lines.append(f"the audit trail {said}: checked {seen}{filed}, {result.first} to {result.last}")
    lines.append(
        f"  signed  up to {result.sealed}, {counted(result.checkpoints, 'checkpoint')}"
        + (f", the newest of {result.sealed_at[:19]}Z, {result.newest[:16]}" if result.sealed_at else "")
    )
    lines.append(f"  key     {result.key or 'none'}")
    lines.append(f"  head    {result.head}")
    return "\n".join([*lines, *(f"  note    {note}" for note in result.notes)]) + "\n"


def proof_verdict_text(result: ProofVerdict, style: text.Style) -> str:
    """What was proved, and by which key."""
    if not result.ok:
        return "".join(style.paint(f"{one}\n", "red") for one in result.says)
    trust = "the key that you gave" if result.is_pinned else f"the key in it, {result.key}; compare that"
    return f"row {result.seq} was in the audit trail, signed with {trust}\n"
