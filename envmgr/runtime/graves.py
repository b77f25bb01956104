"""Watch names that must not exist any more, until they surely do not.

A server that was stuck carries out a request whose client was killed long ago; what appears under a
tombstone's name is closed, and the tombstone goes when the name was absent twice in a row.
"""

from __future__ import annotations

import logging
from functools import partial

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Absent, Present
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Systems

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_ABSENT_TIMES = 2


class Graves:
    """The loop over tombstones."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        self._absent: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                for grave in await self._systems.store.read(lambda tx: tx.tombstones()):
                    await self._visit(grave)
            except EnvmgrError as error:  # looked at again soon
                log.warning("tombstone not checked", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("tombstone not checked")
            await anyio.sleep(_EVERY_S)

    async def _visit(self, grave: Tombstone) -> None:
        match await self._systems.terminals.look(grave.name, owner=grave.data.get("owner", "")):
            case Present(terminal):
                self._absent.pop(grave.name, None)
                await self._systems.terminals.close(terminal)
                log.info("late session closed", extra={"agent": grave.agent, "session": grave.name})
            case Absent():
                times = self._absent[grave.name] = self._absent.get(grave.name, 0) + 1
                if times >= _ABSENT_TIMES:
                    del self._absent[grave.name]
                    await self._systems.store.write(partial(_exhume, grave=grave))


def _exhume(tx: Transaction, grave: Tombstone) -> None:
    tx.exhume(grave.kind, grave.name)
