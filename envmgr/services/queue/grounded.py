"""Reads and changes of the queue, with what time has brought done before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.ground import Ground, Tell
from envmgr.services.queue.claiming import Claims
from envmgr.services.queue.ending import Ends
from envmgr.services.queue.rules import Footing

T = TypeVar("T")


class Grounded:
    """What the parts of the queue's face share."""

    _ground: Ground
    _footing: Footing
    _claims: Claims
    _ends: Ends

    async def catch_up(self) -> int:
        """Do what time has brought; returns how many tasks it was about."""
        if not await self._ground.read(lambda tx: tx.tasks.is_any_due(self._ground.steady())):
            return 0
        return await self._write(lambda tx, tell, now: self._claims.catch_up(tx, tell, now=now))

    async def _read(self, query: Callable[[Transaction], T]) -> T:
        await self.catch_up()
        return await self._ground.read(query)

    async def _write(self, change: Callable[[Transaction, Tell, float], T]) -> T:
        now = self._ground.steady()
        return await self._ground.write(lambda tx, tell: change(tx, tell, now))


def note(task: str, *, reason: str = "") -> None:
    """For the audit trail."""
    call = calls.current()
    if call is not None:
        call.target = task
        call.result = {"ok": not reason, **({"reason": reason} if reason else {})}
