"""Give back what deleted rows have left in the database, some pages at a time, so that nobody's write waits."""

from __future__ import annotations

import anyio

from envmgr.runtime.maintenance.task import Done, Order

_PAGES = 256
_PAUSE_S = 0.02


class Vacuum:
    """When more than a share of the file is free pages."""

    name, says = "vacuum", "give back free pages of the database"

    async def do(self, order: Order) -> Done:
        store = order.supervisor.systems.store
        room = await store.read(lambda tx: tx.room())
        if room.free_pages * 100 < order.limits.free_percent * room.pages or not room.can_shrink:
            return Done(
                detail=""
                if room.can_shrink
                else "the database of an older envmgr; it shrinks at the next start"
            )
        if order.is_dry:
            return Done(count=room.free_pages, bytes=room.free_pages * room.page_bytes)
        left = room.free_pages
        while left:
            now = await store.write(lambda tx: tx.shrink(pages=_PAGES))
            if now >= left:
                break  # others write more than is given back: the next time
            left = now
            await anyio.sleep(_PAUSE_S)
        freed = room.free_pages - left
        return Done(count=freed, bytes=freed * room.page_bytes)
