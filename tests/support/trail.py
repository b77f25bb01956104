"""An audit trail in a folder of its own, and ways to tamper with it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from envmgr.drivers.notary import FileNotary
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.protocols.store import Transaction
from envmgr.services.audit import keeping, sealing
from envmgr.services.audit.keeping import Keeping
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.audit.sealing import Seals
from envmgr.services.audit.trail import Trail
from envmgr.services.calls import Call, answering
from envmgr.store.audit_files import AuditFiles
from envmgr.store.sqlite import SqliteStore

OTTER = Principal(kind=PrincipalKind.AGENT, name="otter", agent="otter001")
SEAL_ROWS = 10
NOW = 1_800_000_000.0


@asynccontextmanager
async def trail(
    folder: Path, *, keep_days: float = 90.0, keep_rows: int = 10**6, shelf: AuditFiles | None = None
) -> AsyncIterator[Trail]:
    """As a daemon opens and closes it."""
    store = AuditedStore(await SqliteStore.open(folder / "state.db"), behind_s=0.0)
    shelf, notary = shelf or AuditFiles(folder / "audit"), FileNotary(folder / "audit")
    terms = sealing.Terms(period_s=3600.0, rows=SEAL_ROWS)
    seals = Seals(store, shelf, notary, now=lambda: NOW, instance="test", terms=terms)
    await seals.open()
    kept = Keeping(seals, keeping.Terms(days=keep_days, rows=keep_rows), least_rows=1)
    try:
        yield Trail(recorder=store, seals=seals, keeping=kept)
    finally:
        await store.close()


async def act(trail: Trail, count: int = 1, *, operation: str = "lock.acquire") -> None:
    """So many calls that change something, each with its row."""
    for number in range(count):
        call = Call(principal=OTTER, operation=operation, params={"target": f"src/{number}.py"}, at=NOW)
        with answering(call):
            await trail.recorder.write(lambda tx: tx.put("touched", "1"))
        await trail.recorder.finish(call)


async def last(trail: Trail) -> int:
    """Number of the newest row."""
    return (await trail.recorder.read(lambda tx: tx.audit.head())).seq


@contextmanager
def tampering(folder: Path, *, unguarded: bool = False) -> Iterator[sqlite3.Connection]:
    """Another program's hands on the database; `unguarded` drops the triggers and puts them back."""
    connection = sqlite3.connect(folder / "state.db", isolation_level=None, timeout=5)
    try:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit%'"
        ).fetchall()
        for name, _ in triggers if unguarded else ():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers if unguarded else ():
            connection.execute(sql)
    finally:
        connection.close()


def count(tx: Transaction) -> int:
    """Rows that the database holds."""
    return len(tx.audit.rows(after=0, limit=10**6))
