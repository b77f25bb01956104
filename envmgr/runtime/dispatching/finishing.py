"""The end of a turn: the checks of the template decide whether the task is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from envmgr.errors import EnvmgrError, Unavailable
from envmgr.model.agent import Activity, Source
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.stimulus import ActivityReported
from envmgr.runtime import commands, delivery
from envmgr.runtime.actor import Actor
from envmgr.runtime.dispatching import words
from envmgr.runtime.dispatching.errand import Errand, Stage
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps.assistant import last_screen
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.queue.queue import Queue, Report

CHECKS_FAILED = "checks_failed"


class Finishing:
    """Stateless but for what it was made with."""

    def __init__(
        self,
        supervisor: Supervisor,
        queue: Queue,
        *,
        told: Callable[[AgentId, Errand | None], Awaitable[None]],
        report: Callable[[Actor, Errand], Report],
    ) -> None:
        """`told` notes how far an errand is; None when it is over."""
        self._supervisor = supervisor
        self._queue = queue
        self._told = told
        self._report = report

    async def finish(self, actor: Actor, errand: Errand) -> None:
        """Check, then complete the task; have the assistant mend what a check found; or give the attempt up."""
        inc = actor.incarnation
        assert inc is not None, "its turn has ended"
        report = self._report(actor, errand)
        answer = await self._queue.heartbeat(report, is_verifying=True)
        if answer.refusal is not None or answer.over:
            return  # the next look sees what it is
        finding = await self._check(actor, inc)
        if not finding:
            passed = len(actor.spec.queue.checks)
            await self._queue.complete(report, result={"ended_by": "end of turn", "checks_passed": passed})
            await self._told(inc.id, None)
        elif errand.rounds < actor.spec.queue.rounds:
            await self._have_mended(actor, inc, errand, finding)
        else:
            await self._queue.fail(report, error_code=CHECKS_FAILED, error_message=finding[-1000:])
            await self._told(inc.id, None)

    async def _check(self, actor: Actor, inc: Incarnation) -> str:
        """What the first check that failed says; empty when all have passed."""
        if not actor.spec.queue.checks:
            return ""
        await self._show(actor, inc, Activity.VALIDATING, "checks of the task")
        finding = ""
        for check in actor.spec.queue.checks:
            try:
                await commands.run_task(inc, check, what="check")
            except Unavailable as error:
                finding = error.message
                break
        data = {"ok": not finding, "finding": finding[:400]}
        await self._supervisor.record(
            NewEvent(kind="task.checked", agent=inc.id, generation=inc.generation, data=data)
        )
        await self._show(actor, inc, Activity.READY, "checks of the task are over")
        return finding

    async def _show(self, actor: Actor, inc: Incarnation, activity: Activity, detail: str) -> None:
        await self._supervisor.apply(
            actor,
            ActivityReported(
                generation=inc.generation, activity=activity, source=Source.ENVMGR, detail=detail
            ),
        )

    async def _have_mended(self, actor: Actor, inc: Incarnation, errand: Errand, finding: str) -> None:
        await self._told(inc.id, replace(errand, stage=Stage.TOLD, rounds=errand.rounds + 1))
        try:
            await delivery.deliver(inc, words.mend(errand.task, errand.lease, finding), actor.reports)
        except EnvmgrError as error:
            await self._queue.fail(
                self._report(actor, errand),
                error_code=CHECKS_FAILED,
                error_message=f"{finding}; {error.message}",
            )
            await self._told(inc.id, None)


async def shown_failure(actor: Actor) -> str:
    """Why its last turn came to nothing, as its screen says: some assistants report every end of a turn alike, or none."""
    inc = actor.incarnation
    if inc is None or not inc.assistant.reports:
        return ""
    return inc.assistant.read_screen(await last_screen(inc)).fails
