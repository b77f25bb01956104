"""One checkout that is watched: what is touched becomes what somebody has written."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import anyio

from envmgr.core import relevance
from envmgr.errors import EnvmgrError
from envmgr.model.observed import Write
from envmgr.protocols.watching import FolderWatcher
from envmgr.protocols.workspaces import Workspaces
from envmgr.runtime.rewriting import Rewriting

log = logging.getLogger(__name__)

Report = Callable[[Sequence[Write]], Awaitable[None]]

_MOST = 2000
"""More files at once are no work of an agent; the rest of them is not reported."""
_WHOLE = "."
_LONGEST_S = 3.0  # of a bunch that does not become quiet


class Checkout:
    """The top of a worktree, or of a main checkout.

    Args:
        top: As its repository names it.
        is_others: Whether a folder inside is a worktree of its own; asked from threads, for each folder.
        quiet_s: Time without a change that ends a bunch.
        at_once: So many checkouts ask git at the same time.
    """

    def __init__(
        self,
        top: Path,
        workspaces: Workspaces,
        watcher: FolderWatcher,
        *,
        is_others: Callable[[str], bool],
        quiet_s: float,
        at_once: anyio.CapacityLimiter,
    ) -> None:
        self._top = top
        self._workspaces = workspaces
        self._watcher = watcher
        self._is_others = is_others
        self._quiet_s = quiet_s
        self._git = Rewriting(top)
        self._ignored: set[str] = set()
        self._mark = ""
        self._turn = anyio.Lock()
        self._at_once = at_once

    async def run(self, report: Report, *, since: float) -> None:
        """Until cancelled: report each bunch of files that were written, from this moment (Unix time) on."""
        begun = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._begin, begun, report, since)
            changes = self._watcher.below(
                [self._top],
                ignored=relevance.is_passed_by,
                left_out=self._is_left_out,
                quiet_s=self._quiet_s,
                begun=begun.set,
            )
            async with aclosing(changes) as bunches:
                async for touched in bunches:
                    names = [path.relative_to(self._top).as_posix() for path in touched]
                    await self._look(names, report, since=time.time() - self._quiet_s - _LONGEST_S)

    async def _begin(self, begun: anyio.Event, report: Report, since: float) -> None:
        """What was written before the watch was open."""
        await self._look([], report, since=since)  # from now on commits count
        await begun.wait()
        await self._look([_WHOLE], report, since=since)

    def _is_left_out(self, folder: str) -> bool:
        return folder in self._ignored or self._is_others(folder)

    async def _look(self, touched: Sequence[str], report: Report, *, since: float) -> None:
        """What cannot be told now is lost: these are hints, and locks do not rest on them."""
        async with self._turn:
            await self._git.until_done()
            try:
                async with self._at_once:
                    found = await self._workspaces.written(self._top, touched, since=since, mark=self._mark)
                self._mark = found.mark or self._mark
                self._ignored |= {str(self._top / folder.rstrip("/")) for folder in found.ignored}
                writes = [write for write in found.writes if _counts(write)]
                if len(writes) > _MOST:
                    log.warning("more files than are reported", extra={"files": len(writes)})
                if writes:
                    await report(writes[:_MOST])
            except EnvmgrError as error:
                log.info("what was written cannot be told", extra={"why": error.message})


def _counts(write: Write) -> bool:
    """Whether it is no file that tools write for themselves."""
    return not any(map(relevance.is_passed_by, write.path.split("/")))
