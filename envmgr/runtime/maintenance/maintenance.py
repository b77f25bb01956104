"""All tasks, in their order, on a schedule and when somebody asks."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass

import anyio

from envmgr.errors import EnvmgrError, UsageError
from envmgr.model.event import NewEvent
from envmgr.runtime.maintenance import database, files, records
from envmgr.runtime.maintenance.task import Done, Limits, Order, Task
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_CALM_S = 30.0

# The database shrinks last, when the others have made room in it.
_TASKS: tuple[Task, ...] = (
    records.Events(),
    records.Incidents(),
    records.Copies(),
    files.Logs(),
    files.Temp(),
    records.Measurements(),
    records.Ports(),
    database.Vacuum(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one task came to; `error` says why it could not be done."""

    task: str
    says: str
    done: Done = Done()
    error: str = ""


class Maintenance:
    """The loop, and the door for those who ask.

    Args:
        more: Tasks of other areas.
    """

    def __init__(
        self, supervisor: Supervisor, limits: Limits, *, period_s: float = 3600.0, more: Sequence[Task] = ()
    ) -> None:
        self._supervisor = supervisor
        self._limits = limits
        self._period_s = period_s
        self._tasks = (*_TASKS[:-1], *more, _TASKS[-1])
        self._turn = anyio.Lock()

    @property
    def names(self) -> Sequence[str]:
        """Of all tasks."""
        return [task.name for task in self._tasks]

    async def run(self) -> None:
        """Until cancelled; not at once, for a daemon that starts has better to do."""
        await anyio.sleep(min(_CALM_S, self._period_s))
        while True:
            async for report in self.work():
                if report.error:
                    log.warning("maintenance failed", extra={"task": report.task, "why": report.error})
            await anyio.sleep(self._period_s)

    async def work(
        self, names: Collection[str] = (), *, limits: Limits | None = None, is_dry: bool = False
    ) -> AsyncGenerator[Report, None]:
        """Do these tasks, or all, and tell of each as it ends.

        Raises:
            UsageError: There is no such task.
        """
        if unknown := [name for name in names if name not in self.names]:
            raise UsageError(f"there is no task {unknown[0]}", hint=f"There are {', '.join(self.names)}.")
        order = Order(supervisor=self._supervisor, limits=limits or self._limits, is_dry=is_dry)
        for task in self._tasks:
            if not names or task.name in names:
                async with self._turn:
                    report = await self._do(task, order)
                yield report  # without the turn: who listens may never come back for the next

    async def _do(self, task: Task, order: Order) -> Report:
        try:
            done = await task.do(order)
        except EnvmgrError as error:
            return Report(task=task.name, says=task.says, error=error.message)
        except Exception as error:  # one task owns its boundary: the others must still run
            log.exception("maintenance failed", extra={"task": task.name})
            return Report(task=task.name, says=task.says, error=f"{type(error).__name__}: {error}")
        if not order.is_dry and (done.count or done.bytes):
            data = {"task": task.name, "count": done.count, "bytes": done.bytes}
            await self._supervisor.record(NewEvent(kind="maintenance.done", data=data))
            self._supervisor.reach(f"maintain-after-{task.name}")
        return Report(task=task.name, says=task.says, done=done)
