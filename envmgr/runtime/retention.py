"""Forget old events, and copies of volumes that nobody asked for, so that the disk stays free."""

from __future__ import annotations

import logging
from functools import partial

import anyio

from envmgr.errors import EnvmgrError
from envmgr.protocols.store import SnapshotKind, Transaction
from envmgr.runtime import restoring, saving
from envmgr.runtime.incarnation import Layout, Systems

log = logging.getLogger(__name__)

_EVERY_S = 3600.0
_AGE_S = 30 * 86400.0
_KEEP = 100_000
_COPIES_S = 7 * 86400.0
_OUR_OWN = (SnapshotKind.REMOVAL, SnapshotKind.RESTORE)


class Retention:
    """Once an hour: events older than 30 days go, save the newest 100,000.

    So do copies of volumes older than 7 days that were made before a removal or a restore. The files of such a snapshot stay: git
    holds them, and they take next to nothing. Snapshots that a person took or a fork began from are never touched.
    """

    def __init__(self, systems: Systems, layout: Layout) -> None:
        self._systems, self._layout = systems, layout

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before_at = self._systems.now() - _AGE_S
            try:
                await self._systems.store.write(partial(_prune, before_at=before_at))
                await self._forget_copies()
            except EnvmgrError as error:
                log.warning("old things not forgotten", extra={"why": error.message})
            await anyio.sleep(_EVERY_S)

    async def _forget_copies(self) -> None:
        before_at = self._systems.now() - _COPIES_S
        for snapshot in await self._systems.store.read(lambda tx: tx.snapshots()):
            if snapshot.kind not in _OUR_OWN or not snapshot.volumes or snapshot.at >= before_at:
                continue
            note = await restoring.pending_for(self._systems, snapshot.agent)
            if note is None or snapshot.id not in (note.snapshot, note.before):
                await saving.drop_volumes(self._systems, self._layout, snapshot)


def _prune(tx: Transaction, before_at: float) -> int:
    return tx.prune(before_at=before_at, keep=_KEEP)
