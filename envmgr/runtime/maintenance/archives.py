"""Entries of the archive that are too old, or too many."""

from __future__ import annotations

from envmgr.runtime.archiving.keeping import Archive
from envmgr.runtime.maintenance.task import Done, Order


class Archives:
    """Pinned ones stay."""

    name, says = "archive", "forget old entries of the archive"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def do(self, order: Order) -> Done:
        if order.is_dry:
            return Done(detail="(not counted beforehand)")
        count, size = await self._archive.tidy(share=order.limits.archive_share)
        return Done(count=count, bytes=size)
