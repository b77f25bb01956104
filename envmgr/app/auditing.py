"""Operations on the audit trail: ask it, check it, prove a row, hand it over."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import ValidationError

from envmgr.aio import blocking
from envmgr.app import audit_views as views
from envmgr.app import spans
from envmgr.app.audit_asked import AuditFilter, filter_of
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, argument, option
from envmgr.core.audit_chain import row_from
from envmgr.errors import NotFound, UsageError
from envmgr.model.audit import Mark, Proof, Statement
from envmgr.model.principal import Scope
from envmgr.services.audit.proving import doubts

_PROOF_CHARS = 1 << 18


class AuditQuery(AuditFilter):
    """Which rows, and how many."""

    limit: int = option("At most so many", short="-n", default=50, ge=1, le=1000)
    before: int = option("Only rows with a smaller number", default=0, ge=0)


class VerifyAsk(Ask):
    """How far back."""

    last: str = option(
        "Begin at the last checkpoint before the last 30m, 6h, 2d, instead of at the first row",
        default="",
        max_length=40,
    )


class ProveAsk(Ask):
    """Which row."""

    seq: int = argument("Number of the row", ge=1)


class CheckAsk(Ask):
    """Which proof, and whom to trust."""

    proof: str = argument(
        "The proof as JSON; on the command line the file with it, `-` for standard input",
        max_length=_PROOF_CHARS,
    )
    key: str = option(
        "Public key in hexadecimal, as the owner of the trail has told it", default="", max_length=64
    )


@operation(
    "audit.query",
    route="GET /api/v1/audit",
    gives=views.AuditPage,
    text=views.page_text,
    command="audit query",
    scope=Scope.AUDIT,
    tool="query_audit",
    is_compact=True,
)
async def query(ask: AuditQuery, app: App) -> views.AuditPage:
    """Show who asked for what, and what came of it.

    `envmgr audit --last 1h` is the same. `--verify`, `--prove SEQ` and `--export` of `envmgr audit` stand for its other commands.
    """
    rows = await app.coordinator.audit.query(await filter_of(ask, app), limit=ask.limit + 1, below=ask.before)
    return views.AuditPage(
        entries=[views.entry(row) for row in rows[: ask.limit]], more=len(rows) > ask.limit
    )


@operation(
    "audit.export",
    route="GET /api/v1/audit/export",
    gives=views.AuditRow,
    text=lambda item, style: item.model_dump_json() + "\n",
    command="audit export",
    scope=Scope.AUDIT,
    tool="export_audit",
)
async def export(ask: AuditFilter, app: App) -> AsyncIterator[views.AuditRow]:
    """Write rows as JSON lines, oldest first, so that others can make their hashes again.

    Rows that have left the database are in the files of `audit/segments` in the state folder, in the same form.
    """
    async for row in app.coordinator.audit.rows(await filter_of(ask, app)):
        yield views.raw(row)


@operation(
    "audit.verify",
    route="POST /api/v1/audit/verify",
    gives=views.AuditVerdict,
    text=views.verdict_text,
    command="audit verify",
    scope=Scope.AUDIT,
    tool="verify_audit",
)
async def verify(ask: VerifyAsk, app: App) -> views.AuditVerdict:
    """Look whether the audit trail is as it was written; ends with 1 when it is not.

    Looks at every row and its place in the chain, the signed checkpoints outside of the database, the files of rows that have left
    it, and the triggers that guard it.
    """
    after_us = int((time.time() - spans.seconds(ask.last)) * 1e6) if ask.last else 0
    return views.verdict(await app.coordinator.audit.verify(after_us=after_us))


@operation(
    "audit.prove",
    route="GET /api/v1/audit/proof/{seq}",
    gives=views.AuditProof,
    text=lambda result, style: result.model_dump_json(indent=1) + "\n",
    command="audit prove",
    scope=Scope.AUDIT,
    tool="prove_audit",
)
async def prove(ask: ProveAsk, app: App) -> views.AuditProof:
    """Prove that a row is in the trail, to somebody who has neither the database nor the other rows.

    The proof is JSON; `envmgr audit check FILE --key PUBLIC_KEY` checks it anywhere, and docs/how-to/audit.md says how to without envmgr.
    """
    return views.proof(await app.coordinator.audit.prove(ask.seq))


@operation(
    "audit.check",
    route="POST /api/v1/audit/check",
    gives=views.ProofVerdict,
    text=views.proof_verdict_text,
    command="audit check",
    is_local=True,
    scope=Scope.AUDIT,
)
async def check(ask: CheckAsk, app: App) -> views.ProofVerdict:
    """Check a proof of `audit prove`; needs no daemon and no database. Ends with 1 when it does not hold."""
    # The daemon reads no files for those who ask it.
    is_file = app.recorder is None and not ask.proof.lstrip().startswith("{")
    found = _proof(await blocking.act("file", _read, ask.proof) if is_file else ask.proof)
    wrong = await blocking.act("file", lambda: doubts(found, public=ask.key))
    return views.ProofVerdict(
        ok=not wrong, seq=found.row.seq, says=wrong, key=ask.key or found.public, is_pinned=bool(ask.key)
    )


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(_PROOF_CHARS)
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(_PROOF_CHARS)
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"{file} cannot be read", hint="Write one with `envmgr audit prove SEQ --json`."
        ) from error


def _proof(text: str) -> Proof:
    try:
        said = views.AuditProof.model_validate_json(text)
        checkpoint = said.checkpoint.model_dump()
        return Proof(
            row=row_from(said.row.model_dump()),
            index=said.index,
            path=tuple(said.path),
            statement=Statement(**{**checkpoint, "mark": Mark(checkpoint["mark"])}),
            public=said.public_key,
        )
    except (ValidationError, ValueError, TypeError) as error:
        raise UsageError(
            "this is no proof", hint="Write one with `envmgr audit prove SEQ --json`."
        ) from error
