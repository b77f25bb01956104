"""Measurements in a database of their own, so that history never costs a commit of state.

What is added waits in memory and is written together, some times a minute, by the one thread that owns the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from envmgr.protocols.series import Sample, Series
from envmgr.store.lane import Lane
from envmgr.store.series_file import SeriesFile

_DAY_S = 86_400.0
_AT_ONCE = 5_000


class SqliteSeries(Series):
    """`Series` in one file. Belongs to the event loop it was made in; the file is opened with the first use.

    Args:
        raw_s: Seconds samples are kept as they came; afterwards as means of minutes.
        minutes_s: Seconds those are kept.
        max_bytes: The file is kept smaller than this by giving up the oldest samples; looked at by `tidy`.
        flush_s: Seconds samples may wait in memory.
    """

    def __init__(
        self,
        path: Path,
        *,
        raw_s: float = _DAY_S,
        minutes_s: float = 30 * _DAY_S,
        max_bytes: int = 2**28,
        flush_s: float = 20.0,
    ) -> None:
        self._file = SeriesFile(path, raw_s=raw_s, minutes_s=minutes_s, max_bytes=max_bytes)
        self._lane: Lane[SeriesFile] = Lane("series", self._file.work, close=self._file.close)
        self._loop = asyncio.get_running_loop()
        self._flush_s = flush_s
        self._added: list[Sample] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = True

    @property
    def trouble(self) -> str:
        """See `Series.trouble`."""
        return self._file.trouble

    def add(self, *samples: Sample) -> None:
        if not self._is_open:
            return
        self._added += samples
        if len(self._added) >= _AT_ONCE:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._flush_s, self._flush)

    async def read(
        self, agent: str, *, subject: str | None = None, metric: str = "", since_at: float = 0.0
    ) -> Sequence[Sample]:
        if not self._is_open:
            return ()
        self._flush()
        asked = {"agent": agent, "subject": subject, "metric": metric, "since": since_at}
        return await self._lane.ask(lambda file: file.read(asked)) or ()

    async def forget(self, agent: str) -> None:
        if self._is_open:
            self._flush()
            await self._lane.ask(lambda file: file.forget(agent))

    async def tidy(self, now: float) -> int:
        if not self._is_open:
            return 0
        self._flush()
        return await self._lane.ask(lambda file: file.tidy(now)) or 0

    async def close(self) -> None:
        if self._is_open:
            self._flush()
            self._is_open = False
        await self._lane.close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._added:
            added, self._added = self._added, []
            _ = self._lane.ask(lambda file: file.write(added))  # nobody waits; it fails for nobody
