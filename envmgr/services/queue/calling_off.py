"""Whoever has a task that somebody else calls off hears of it at once, by whatever they ask or say next, and once."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.core import telling
from envmgr.model.principal import Principal
from envmgr.model.task import LEASED, Task, TaskStatus
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.queue.grounded import Grounded

CONVENTION = "Cancelled by orchestrator"


def leave_word(tx: Transaction, task: Task, *, by: Principal) -> None:
    """It is being called off: whoever has it is to hear of it, unless it was them."""
    if (task.status in LEASED or task.status is TaskStatus.PAUSED) and by.id != task.holder:
        tx.tasks.leave_untold(task.id)


class CallingOff(Grounded):
    """A part of `Queue`."""

    async def called_off(self, holder: str, *, session: str | None = None) -> Sequence[str]:
        """What they are to stop working on, one line each; no line is given twice.

        Args:
            session: Which of theirs asks; None for whoever hears all of it.
        """

        def untold(tx: Transaction) -> list[Task]:
            return [task for task in tx.tasks.untold(holder) if session in (None, task.session)]

        def take(tx: Transaction, tell: Tell) -> list[Task]:
            found = untold(tx)
            tx.tasks.tell([task.id for task in found])
            return found

        if not await self._ground.read(untold):
            return ()
        return [_words(task) for task in await self._ground.write(take)]

    async def warn(self, who: Principal, repo: str) -> Sequence[str]:
        """As sessions ask for it with each heartbeat."""
        return await self.called_off(who.id, session=who.session)


def _words(task: Task) -> str:
    return telling.called_off(task.name, why=task.error_message.removeprefix(f"{CONVENTION}: "))
