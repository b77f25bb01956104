"""A running agent on real systems, and the measures of the ladder at hand; nobody decides by itself here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import psutil

from envmgr.aio import blocking
from envmgr.model.incident import FailureClass, Rung
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AssistantSpec
from envmgr.runtime import runners
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.rungs import Rungs
from envmgr.runtime.saga import never
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps import assistant, session
from envmgr.runtime.steps.environment import write_env
from envmgr.runtime.steps.ports import LeasePorts
from envmgr.runtime.steps.services import stop_services
from envmgr.runtime.supervisor import Supervisor
from tests.support.git import make_repository
from tests.support.incarnations import incarnation
from tests.support.supervised import take_over


@dataclass(kw_only=True)
class Lab:
    """The agent `otter`, running."""

    inc: Incarnation
    supervisor: Supervisor
    actor: Actor
    control: Control
    rungs: Rungs

    async def climb(
        self, rung: Rung, *, key: str = "1", unit: str = "", failure: FailureClass | None = None
    ) -> str:
        return await self.rungs.act(
            self.actor, Measure(rung=rung, incident=1, key=key, unit=unit, failure=failure)
        )

    async def assistant_pid(self) -> int:
        pane = await assistant.alive_pane(self.inc)
        return pane.pid

    def service_pids(self, name: str) -> list[int]:
        """Processes of a service, by their marker."""
        return self._pids(f"service:{name}")

    def assistant_pids(self) -> list[int]:
        return self._pids("assistant")

    def _pids(self, part: str) -> list[int]:
        # The worktree too: tests side by side have agents of the same id.
        wanted = {**self.inc.marker(part), "ENVMGR_WORKTREE": str(self.inc.path)}
        return sorted(p.pid for p in psutil.process_iter() if _carries(p, wanted))


def _carries(process: psutil.Process, wanted: dict[str, str]) -> bool:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return all(environment.get(name) == value for name, value in wanted.items())


@asynccontextmanager
async def running(
    folder: Path,
    *services: ServiceSpec,
    assistant_spec: AssistantSpec,
    reach: Callable[[str], None] = never,
) -> AsyncIterator[Lab]:
    """Ports, services, session and assistant, made as a spawn makes them; all of it ended on leaving."""
    async with incarnation(folder, *services, assistant=assistant_spec) as inc:
        await _give_worktree(inc, folder)
        supervisor, actor = await take_over(inc)
        actor.incarnation = inc
        try:
            await _start(inc)
            async with anyio.create_task_group() as group:
                supervisor.start(group)
                health = Health(supervisor, group)
                control = Control(supervisor, health, group, reach=reach)
                rungs = Rungs(supervisor, control, reach=reach)
                yield Lab(inc=inc, supervisor=supervisor, actor=actor, control=control, rungs=rungs)
                health.forget(actor)
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await assistant.end_assistant(inc, grace_s=2.0, is_polite=False)
                await stop_services(inc, brief=True)
                inc.terminal = None
                await session.close_session(inc)
                await inc.systems.terminals.retire()


async def _give_worktree(inc: Incarnation, folder: Path) -> None:
    """Of a repository of its own; the branch is `otter`."""
    main = await blocking.act("file", make_repository, folder / "project", {"a": "1\n"})
    inc.spec = replace(inc.spec, repo=str(main), workspace=replace(inc.spec.workspace, branch="otter"))
    git = inc.systems.workspaces
    inc.repo = await git.find(main)
    inc.worktree = await git.register(
        inc.repo, path=folder / "trees" / "otter", branch="otter", base="HEAD", owner=inc.owner
    )
    await git.checkout(inc.worktree)
    await inc.systems.store.write(lambda tx: tx.save_spec(inc.id, inc.spec))


async def _start(inc: Incarnation) -> None:
    await LeasePorts(inc).do()
    await blocking.act("file", write_env, inc)
    await session.open_session(inc)
    if inc.services:
        await ServiceRun(inc, await runners.hire(inc), {}, lambda *told: None).start()
    await assistant.write_start(inc)
    await assistant.let_in(inc)
    await session.furnish_panes(inc)
    await session.show_services(inc)
