"""What an assistant has said of itself, for those who wait for the next word."""

from __future__ import annotations

import anyio

from envmgr.model.agent import Activity


class Reports:
    """A count of reports and the latest one. `put` wakes everybody who waits.

    Attributes:
        turn: Held while a prompt is delivered, so that two never run into each other.
    """

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.count = 0
        self.latest: Activity | None = None
        self._news = anyio.Event()

    def put(self, activity: Activity) -> None:
        """Record a report."""
        self.count += 1
        self.latest = activity
        self._news.set()
        self._news = anyio.Event()

    async def after(self, mark: int, *, within_s: float) -> Activity | None:
        """The latest report once there are more than `mark`; None if that takes longer than `within_s` seconds."""
        with anyio.move_on_after(within_s):
            while self.count <= mark:
                await self._news.wait()
            return self.latest
        return None
