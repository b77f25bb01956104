"""Every call gets its row, in the transaction of its effect where it has one."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.audit import OK, Entry
from envmgr.model.principal import DAEMON
from envmgr.protocols.store import Store, Transaction
from envmgr.services import calls
from envmgr.services.audit.entries import Redaction, answer, entry, failure, is_denied
from envmgr.services.calls import Call

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_WAITING = 10_000
_AGAIN_S = 1.0
_MOST_TURNED_AWAY = 50
"""In a second."""


class AuditedStore:
    """A store in which the first change of a call carries the call's row: both are kept, or neither.

    Calls without a change, and calls that failed, get their row afterwards (`finish`). Rows that nobody waits for are
    written behind, many at once, and before the store is closed.

    Args:
        secrets: Known values that must not be recorded; may grow.
        behind_s: How long a row may wait for others.
        on_rows: Told how many rows have been written.
    """

    def __init__(self, store: Store, secrets: Collection[str] = (), *, behind_s: float = 0.2) -> None:
        self._store = store
        self.secrets = secrets
        self._redaction = Redaction(secrets)
        self._behind_s = behind_s
        self._waiting: deque[Entry] = deque()
        self._lost = 0
        self._turned_away = (0, 0)
        self._wake = anyio.Event()
        self._flushing = anyio.Lock()
        self.on_rows: Callable[[int], None] = lambda count: None

    async def write(self, change: Callable[[Transaction], T]) -> T:
        call = calls.current()
        if call is None:
            return await self._store.write(change)
        wrote: list[bool] = []

        def run(tx: Transaction) -> T:
            with calls.answering(call):  # the writer's thread knows of no call by itself
                result = change(tx)
            # An earlier change of the same call may have brought it.
            if not call.is_written:
                call.outcome = OK if call.result.get("ok", True) else str(call.result.get("reason", "not_ok"))
                tx.audit.append(entry(call, self._redaction, outcome=call.outcome))
                call.is_written = True
                wrote.append(True)
            return result

        try:
            result = await self._store.write(run)
        except Exception:
            if wrote:
                call.is_written = False
            raise
        self.on_rows(len(wrote))
        return result

    async def read(self, query: Callable[[Transaction], T]) -> T:
        return await self._store.read(query)

    async def search(self, query: Callable[[Transaction], T]) -> T:
        return await self._store.search(query)

    async def close(self) -> None:
        """Write what waits, then close."""
        try:
            await self.flush()
        except EnvmgrError as error:
            log.error(
                "rows of the audit trail are lost", extra={"rows": len(self._waiting), "why": error.message}
            )
        await self._store.close()

    async def finish(
        self, call: Call, *, result: object = None, error: BaseException | None = None, is_read: bool = False
    ) -> None:
        """The call is over: record it unless its row says all that there is to say.

        Args:
            is_read: Nobody waits for the row. Nor does anybody for one of a call that failed.
        """
        outcome = failure(error) if error is not None else answer(result)
        call.is_over = True
        if call.is_written and outcome == call.outcome:
            return
        if isinstance(error, EnvmgrError):
            call.is_denied, call.result = is_denied(error), {"message": error.message}
        latency_us = int((time.perf_counter() - call.since) * 1e6)
        self._later(entry(call, self._redaction, outcome=outcome, latency_us=latency_us))
        if not is_read and error is None:
            await self._try_flush()

    def begin(self, call: Call) -> None:
        """Record a call now that will go on for long, such as one that follows a log."""
        call.is_written, call.outcome = True, OK
        self._later(entry(call, self._redaction))

    def turn_away(self, call: Call, error: EnvmgrError) -> None:
        """Record a call that was not even begun: without a good key, with fields that make no sense, or one too many.

        Whoever may do nothing can still ask, as often as they like; beyond some in a second they are only counted.
        """
        second = int(time.monotonic())
        if second != self._turned_away[0]:
            self._turned_away = (second, 0)
        self._turned_away = (second, self._turned_away[1] + 1)
        if self._turned_away[1] > _MOST_TURNED_AWAY:
            self._lost += 1
            return
        call.is_denied, call.is_over, call.result = is_denied(error), True, {"message": error.message}
        self._later(entry(call, self._redaction, outcome=failure(error)))

    async def run(self) -> None:
        """Write behind, until cancelled."""
        while True:
            await self._wake.wait()
            await anyio.sleep(self._behind_s)
            self._wake = anyio.Event()
            if not await self._try_flush():
                await anyio.sleep(_AGAIN_S)
                self._wake.set()

    async def flush(self) -> None:
        """Write all rows that wait. Raises as `Store.write`; they then go on waiting."""
        async with self._flushing:
            rows = list(self._waiting)
            if lost := self._lost:
                rows.append(self._gap(lost))
            if not rows:
                return

            def append(tx: Transaction) -> None:
                for row in rows:
                    tx.audit.append(row)

            await self._store.write(append)
            self._lost -= lost
            for _ in range(len(rows) - bool(lost)):
                self._waiting.popleft()
        self.on_rows(len(rows))

    async def _try_flush(self) -> bool:
        try:
            await self.flush()
        except EnvmgrError as error:
            log.warning("the audit trail cannot be written", extra={"why": error.message})
            return False
        return True

    def _later(self, row: Entry) -> None:
        """No call fails because its row cannot be written just now; how many rows were lost is recorded in their place."""
        if len(self._waiting) >= _MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(row)
        self._wake.set()

    def _gap(self, lost: int) -> Entry:
        call = Call(principal=DAEMON, operation="audit.lost", result={"rows": lost})
        return entry(call, self._redaction, outcome="lost")
