"""Bring the agent's services up under its keeper, and take them down again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import anyio

from envmgr.aio import blocking
from envmgr.core import graph
from envmgr.errors import EnvmgrError, StopFailed, Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.runtime import rendering, runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.runners import KeeperRunner
from envmgr.runtime.saga import Receipt, Step
from envmgr.runtime.services import ServiceRun, Tell
from envmgr.runtime.steps.environment import write_env

log = logging.getLogger(__name__)


class StartServices(Step):
    """Step: all services, each when what it depends on is there."""

    name = "services"

    def __init__(self, inc: Incarnation, tell: Tell) -> None:
        self._inc = inc
        self._tell = tell
        self.outcomes: Mapping[str, Outcome] = {}

    async def do(self) -> Receipt:
        """Hire who runs them and start everything; returns how each service stands."""
        inc = self._inc
        run = ServiceRun(inc, await runners.hire(inc), await inc.secrets(), self._tell)
        self.outcomes = await run.start()
        await blocking.act("file", write_env, inc)  # a service may have moved to another port
        return {name: outcome.state.value for name, outcome in self.outcomes.items()}

    async def undo(self, receipt: Receipt | None) -> None:
        """Stop them in reverse order, verified, and dismiss the keeper."""
        await stop_services(self._inc, brief=True)


async def stop_services(inc: Incarnation, *, brief: bool = False) -> None:
    """Stop all services, dependants first and independent ones side by side, then end the keeper.

    Args:
        brief: Allow at most 3 s of grace; used when a spawn is taken back.

    Raises:
        StopFailed: Some process survived KILL; named.
        Unobservable: The keeper does not answer.
    """
    keeper = await stop_units(inc, [s.name for s in inc.services], brief=brief)
    if keeper is None:
        await inc.systems.keepers.clear(inc.home)
    else:
        await keeper.dismiss()


async def stop_units(inc: Incarnation, names: Collection[str], *, brief: bool = False) -> KeeperRunner | None:
    """Stop exactly these units, dependants first and independent ones side by side; returns the keeper, if there is one.

    Raises:
        StopFailed: Some process survived KILL; named.
        Unobservable: The keeper does not answer.
    """
    match await runners.find_keeper(inc):
        case Unknown(reason):
            raise Unobservable(
                f"the keeper of {inc.name} does not answer: {reason}", hint="Run `envmgr doctor`."
            )
        case Absent():
            await _sweep(inc, names)
            return None
        case Present(keeper):
            survivors = await _stop_all(inc, keeper, names, brief=brief)
            await _sweep(inc, names)
            if survivors:
                raise StopFailed(f"services left processes: {', '.join(survivors)}", hint=_survivor_hint())
            return keeper


async def _stop_all(
    inc: Incarnation, keeper: KeeperRunner, names: Collection[str], *, brief: bool
) -> Sequence[str]:
    survivors: list[str] = []

    async def stop(service: ServiceSpec) -> None:
        grace_s = min(3.0, service.stop.grace_s) if brief else service.stop.grace_s
        await _pre_stop(inc, service, brief=brief)
        survivors.extend(await keeper.stop(service.name, signal=service.stop.signal, grace_s=grace_s))

    held = await keeper.status()
    for level in reversed(graph.levels({s.name: [e.service for e in s.depends_on] for s in inc.services})):
        async with anyio.create_task_group() as group:
            for name in level:
                if name in held and name in names:
                    group.start_soon(stop, inc.service(name))
    return survivors


async def _pre_stop(inc: Incarnation, service: ServiceSpec, *, brief: bool) -> None:
    """The service's own stop command, if it has one; its failure does not hold up the stop."""
    if service.stop.command is None or brief:
        return
    try:
        secrets = await inc.secrets()
        known = rendering.values(inc, secrets, service.name)
        argv = rendering.command(service.stop.command, service.shell, known)
        env = rendering.service_env(inc, service, secrets)
        await inc.systems.execute(argv, inc.path / service.cwd, env, 10.0)
    except (EnvmgrError, KeyError) as error:
        # Secrets whose owner is gone, a folder deleted by hand, ports given back: the signal that follows needs none.
        log.warning(
            "stop command not run", extra={"agent": inc.id, "service": service.name, "why": str(error)}
        )


async def _sweep(inc: Incarnation, names: Collection[str]) -> None:
    """Processes that left their session (`setsid`), or outlived a killed keeper."""
    for name in names:
        left = await inc.systems.processes.end(inc.marks(part=f"service:{name}"), grace_s=2.0)
        if left:
            named = ", ".join(f"{m.command} (pid {m.identity.pid})" for m in left)
            raise StopFailed(f"{name} left processes: {named}", hint=_survivor_hint())


def _survivor_hint() -> str:
    return "See why they cannot end (`cat /proc/PID/status`), then run `envmgr stop` again."
