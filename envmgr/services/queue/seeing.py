"""Looks at the queue, as of now."""

from __future__ import annotations

from collections.abc import Collection

from envmgr.model.task import TaskStatus
from envmgr.services.queue import looking
from envmgr.services.queue.grounded import Grounded


class Looking(Grounded):
    """A part of `Queue`."""

    async def see(self, repo: str, task: str) -> looking.Seen:
        """All of one task. Raises NotFound."""
        return await self._read(lambda tx: looking.see(tx, repo, task))

    async def why(self, repo: str, task: str, *, capabilities: Collection[str] = ()) -> looking.Why:
        """What keeps a task from being done. Raises NotFound."""
        locks = self._footing.locks
        return await self._read(
            lambda tx: looking.why(tx, repo, task, locks=locks, capabilities=capabilities)
        )

    async def page(
        self,
        repo: str,
        *,
        statuses: Collection[TaskStatus] = (),
        is_open: bool = False,
        kind: str = "",
        holder: str = "",
        after: int = 0,
        limit: int = 50,
    ) -> looking.Page:
        """Tasks, the newest first."""
        return await self._read(
            lambda tx: looking.page(
                tx,
                repo,
                statuses=statuses,
                is_open=is_open,
                kind=kind,
                holder=holder,
                after=after,
                limit=limit,
            )
        )

    async def graph(self, repo: str, task: str = "", *, limit: int = 200) -> looking.Graph:
        """Everything that one task is tied to, or all unfinished ones. Raises NotFound."""
        return await self._read(lambda tx: looking.graph(tx, repo, task, limit=limit))
