"""The audit trail of one daemon, as operations and maintenance use it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.errors import EnvmgrError
from envmgr.model.audit import Filter, Proof, Row, Verdict
from envmgr.services.audit import checking, proving, reading
from envmgr.services.audit.keeping import Keeping
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.audit.sealing import Seals

log = logging.getLogger(__name__)

_END_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """All its parts."""

    recorder: AuditedStore
    seals: Seals
    keeping: Keeping

    async def query(self, wanted: Filter, *, limit: int, below: int = 0) -> list[Row]:
        """The newest rows that fit, those of calls that have been answered included. Raises as `Store.write`."""
        await self.recorder.flush()
        return await reading.newest(self.recorder, wanted, limit=limit, below=below)

    async def rows(self, wanted: Filter) -> AsyncIterator[Row]:
        """All rows that fit, oldest first. Raises as `Store.write`."""
        await self.recorder.flush()
        async for row in reading.oldest(self.recorder, wanted):
            yield row

    async def verify(self, *, after_us: int = 0) -> Verdict:
        """See `checking.verify`."""
        await self.recorder.flush()
        return await checking.verify(self.seals, after_us=after_us)

    async def prove(self, seq: int) -> Proof:
        """See `proving.prove`."""
        await self.recorder.flush()
        return await proving.prove(self.seals, seq)

    def start(self, group: TaskGroup) -> None:
        """Begin to write behind and to vouch for what is written."""
        tasks.keep(group, "recording", self.recorder.run)
        tasks.keep(group, "sealing", self.seals.run)

    async def end(self) -> None:
        """Write and vouch for what there is; not for long, for somebody waits for the daemon to end."""
        with anyio.move_on_after(_END_S):
            try:
                await self.recorder.flush()
                await self.seals.seal()
            except EnvmgrError as error:
                log.error("the audit trail cannot be vouched for", extra={"why": error.message})
