"""The loop of the queue: wakes what time has brought for those who wait for an event, and forgets what is old."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio

from envmgr.model.principal import DAEMON
from envmgr.protocols.store import Transaction
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Ground, Tell
from envmgr.services.queue.queue import Queue
from envmgr.services.queue.rules import QueueRules

_AT_ONCE = 500
_PRUNE_S = 3600.0

Gone = Callable[[str, str], Awaitable[str]]
"""Of a holder and the run that claimed a task: why that is over; empty while it goes on."""


class QueueKeeper:
    """One per daemon."""

    def __init__(
        self, queue: Queue, ground: Ground, rules: QueueRules, *, period_s: float, gone: Gone
    ) -> None:
        self._queue = queue
        self._ground = ground
        self._rules = rules
        self._period_s = period_s
        self._gone = gone
        self._pruned_at = ground.steady()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.turn()
            await anyio.sleep(self._period_s)

    async def turn(self) -> None:
        """One look."""
        with _own("task.expire", {}):
            while await self._queue.catch_up():
                pass
        await self._return_of_gone()
        if self._ground.steady() - self._pruned_at >= _PRUNE_S:
            self._pruned_at = self._ground.steady()
            await self._forget()

    async def _return_of_gone(self) -> None:
        """A level, not an edge: whatever let a holder go, what it has is seen here."""
        held = await self._ground.read(lambda tx: tx.tasks.leased())
        lives = dict.fromkeys((task.holder, task.life) for task in held if task.life)
        for holder, life in lives:
            if why := await self._gone(holder, life):
                with _own("task.return", {"holder": holder, "reason": why}):
                    await self._ground.write(partial(self._give_back, holder=holder, life=life))

    def _give_back(self, tx: Transaction, tell: Tell, *, holder: str, life: str) -> None:
        # What a new run of the agent has claimed since stays with that.
        self._queue.release_of(tx, tell, holder, life=life)

    async def _forget(self) -> None:
        old_at = self._ground.steady() - self._rules.keep_s
        known_at = self._ground.steady() - self._rules.remember_s
        while await self._ground.write(lambda tx, _: tx.tasks.forget(before_at=known_at, limit=_AT_ONCE)):
            pass
        with _own("task.prune", {"keep_s": self._rules.keep_s}):
            while await self._ground.write(lambda tx, _: tx.tasks.prune(before_at=old_at, limit=_AT_ONCE)):
                pass


def _own(operation: str, params: Mapping[str, object]) -> answering:
    return answering(Call(principal=DAEMON, operation=operation, params=params))
