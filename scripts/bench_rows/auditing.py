"""What the audit trail adds to a change: the same locks, taken and given back with rows of the trail and without."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from envmgr.model.lock import LockPolicy, Outcome
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Ground
from envmgr.services.lock_desk import LockDesk
from envmgr.services.locks import LockRequest, Locks
from envmgr.store.sqlite import SqliteStore
from scripts.bench_rows.rows import Row, median, row

_ROUNDS = 1000
_WARM = 50
_REPO, _TARGET = "/repo", ("src/app.py",)
_ME = Principal(kind=PrincipalKind.AGENT, name="fox", agent="0000000f")


def rows() -> Sequence[Row]:
    """Durable, one after the other; with and without alternate, so that both meet the same noise."""
    return [asyncio.run(_measured())]


async def _measured() -> Row:
    times: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="eb-", dir="/tmp") as folder:
        store = AuditedStore(await SqliteStore.open(Path(folder) / "envmgr.db"))
        ground = Ground(store=store, now=time.time, steady=time.time, publish=lambda events: None)
        desk = LockDesk(Locks(ground, LockPolicy()))
        for number in range(_ROUNDS + _WARM):
            for is_audited, found in times.items():
                began = time.perf_counter()
                await _take(desk, is_audited=is_audited)
                if number >= _WARM:
                    found.append((time.perf_counter() - began) * 1000)
                await desk.release(_ME, _REPO, _TARGET)
        await store.close()
    return row(
        "coordinate", "a lock taken with its row of the audit trail", value=median(times[True]), unit="ms",
        reference=median(times[False]), bar=1.3, note="reference: the same change without the row; both durable",
    )  # fmt: skip


async def _take(desk: LockDesk, *, is_audited: bool) -> None:
    params = {"targets": list(_TARGET)}
    with (
        answering(Call(principal=_ME, operation="lock.acquire", params=params))
        if is_audited
        else nullcontext()
    ):
        answer = await desk.acquire(LockRequest(principal=_ME, repo=_REPO, targets=_TARGET))
    assert answer.outcome is Outcome.GRANTED
