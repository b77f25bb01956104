"""Forget old events, so that the store stays small."""

from __future__ import annotations

import logging
from functools import partial

import anyio

from envmgr.errors import EnvmgrError
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Systems

log = logging.getLogger(__name__)

_EVERY_S = 3600.0
_AGE_S = 30 * 86400.0
_KEEP = 100_000


class Retention:
    """Once an hour: events older than 30 days go, save the newest 100,000."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before_at = self._systems.now() - _AGE_S
            try:
                await self._systems.store.write(partial(_prune, before_at=before_at))
            except EnvmgrError as error:
                log.warning("events not pruned", extra={"why": error.message})
            await anyio.sleep(_EVERY_S)


def _prune(tx: Transaction, before_at: float) -> int:
    return tx.prune(before_at=before_at, keep=_KEEP)
