"""Bring the agent's services up under its keeper, and take them down again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

import anyio

from envmgr.aio import blocking
from envmgr.core import graph
from envmgr.errors import EnvmgrError, StopFailed, Unobservable
from envmgr.model.ids import LABEL_SERVICE
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.service import ServiceSpec, StopPolicy
from envmgr.protocols.processes import Marks
from envmgr.runtime import engine_use, keeperless, rendering, runners, sharing
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.runners import KeeperRunner, Runner
from envmgr.runtime.saga import Receipt, Step
from envmgr.runtime.services import ServiceRun, Tell
from envmgr.runtime.steps.environment import write_env
from envmgr.runtime.supplies import is_untouched

log = logging.getLogger(__name__)

_STOP_COMMAND_S = 10.0
_BRIEF_S = 3.0
_STRAY_S = 2.0
_NONE: Mapping[str, StopPolicy] = {}


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


async def stop_services(
    inc: Incarnation, *, brief: bool = False, gone: Mapping[str, StopPolicy] = _NONE
) -> None:
    """Stop all services, dependants first and independent ones side by side; then end the keeper and remove containers.

    What cannot be reached holds up nothing else.

    Args:
        brief: Allow at most 3 s of grace; used when a spawn is taken back.
        gone: How units are stopped that the spec no longer knows, if that is known.

    Raises:
        StopFailed: Some process survived KILL; named.
        Unobservable: The keeper or the engine does not answer; a later stop goes on.
    """
    stopping = _Stopping(inc, brief=brief)
    await stopping.find()
    await stopping.stop_strays(gone)
    await stopping.stop([s.name for s in runners.own_units(inc)])
    await stopping.dismiss()
    stopping.settle()


async def stop_units(inc: Incarnation, names: Collection[str], *, brief: bool = False) -> None:
    """Stop exactly these units, dependants first and independent ones side by side. Their containers stay for a restart.

    Raises:
        StopFailed: Some process survived KILL; named, by unit in `details["left"]`.
        Unobservable: The keeper or the engine does not answer.
    """
    stopping = _Stopping(inc, brief=brief)
    await stopping.find()
    await stopping.stop(names)
    stopping.settle()


async def discard_units(inc: Incarnation, names: Collection[str]) -> None:
    """Give up what stopped units have that will not come back, or not as they were: containers, sockets kept open."""
    for service in (inc.service(name) for name in names):
        if service.container is not None and not service.is_shared:
            await EngineRunner(inc).discard(service.name)
        elif any(port.listen for port in service.ports):
            match await runners.find_keeper(inc):
                case Present(keeper):
                    await keeper.discard(service.name)


class _End(Protocol):
    """Ends one thing; tells what survived."""

    async def __call__(self, *, signal: str, grace_s: float) -> tuple[str, ...]: ...


class _Stopping:
    """One stop of units. Failures are gathered, so that each part is tried."""

    def __init__(self, inc: Incarnation, *, brief: bool) -> None:
        self._inc = inc
        self._brief = brief
        self._keeper: Seen[KeeperRunner] = Absent()
        self._engine: EngineRunner | None = None
        self._there: dict[str, Runner] = {}
        self._strays: list[tuple[str, _End]] = []
        self._orphans: Mapping[str, Marks] = {}
        self._left: dict[str, list[str]] = {}
        self._unseen: list[str] = []

    async def find(self) -> None:
        """See who runs what."""
        inc = self._inc
        self._keeper = await self._find_keeper()
        match self._keeper:
            case Present(keeper):
                held = await keeper.status()
                self._there |= dict.fromkeys(held, keeper)
                alive = (name for name, one in held.items() if one.is_alive and name not in self._known)
                self._strays = [(name, partial(keeper.stop, name)) for name in alive]
            case Absent():
                self._orphans = await keeperless.marks(inc)
                ends = {name: partial(self._end, name) for name in self._orphans if name not in self._known}
                self._strays = list(ends.items())
            case Unknown(reason):
                self._unseen.append(f"the keeper of {inc.name} does not answer: {reason}")
        if await engine_use.look(inc) is not None and not await is_untouched(inc):
            await self._find_containers(EngineRunner(inc))
        for service in sharing.shared_services(inc):
            if (runner := await runners.find_shared(inc, service)) is not None:
                self._there[service.name] = runner

    async def _find_keeper(self) -> Seen[KeeperRunner]:
        found = await runners.find_keeper(self._inc)
        if not isinstance(found, Unknown):
            return found
        try:
            await keeperless.free(self._inc)
        except EnvmgrError as error:
            return Unknown(f"{found.reason}; {error.message}")
        return await runners.find_keeper(self._inc)

    @property
    def _known(self) -> frozenset[str]:
        """Units that are processes."""
        return frozenset(service.name for service in self._inc.services if service.container is None)

    async def _find_containers(self, engine: EngineRunner) -> None:
        try:
            self._there |= dict.fromkeys(await engine.status(), engine)
            self._engine = engine
            for container in await engine.strays():
                self._strays.append((container.labels[LABEL_SERVICE], partial(engine.end, container.id)))
        except EnvmgrError as error:
            self._unseen.append(f"containers of {self._inc.name}: {error.message}")

    async def stop(self, names: Collection[str]) -> None:
        """Level by level: whoever needs a unit ends before it."""
        needs = {s.name: [e.service for e in s.depends_on] for s in self._inc.services}
        for level in reversed(graph.levels(needs)):
            async with anyio.create_task_group() as group:
                for name in level:
                    if name in names:
                        group.start_soon(self._end_one, self._inc.service(name))

    async def _end_one(self, service: ServiceSpec) -> None:
        if service.name in self._there:
            await self._stop_one(service)
        if service.name in self._known and not isinstance(self._keeper, Unknown):
            await self._sweep(service)

    async def stop_strays(self, gone: Mapping[str, StopPolicy]) -> None:
        """What runs of units that are no longer there: a change was cut off by a stop or a crash."""
        async with anyio.create_task_group() as group:
            for name, end in self._strays:
                group.start_soon(self._stop_stray, name, gone, end)

    async def _stop_stray(self, name: str, gone: Mapping[str, StopPolicy], end: _End) -> None:
        policy = gone.get(name, StopPolicy())
        try:
            self._count(name, await end(signal=policy.signal, grace_s=self._grace_s(policy)))
        except EnvmgrError as error:
            self._unseen.append(f"{name}: {error.message}")

    def _grace_s(self, policy: StopPolicy) -> float:
        return min(_BRIEF_S, policy.grace_s) if self._brief else policy.grace_s

    async def _stop_one(self, service: ServiceSpec) -> None:
        grace_s = self._grace_s(service.stop)
        runner = self._there[service.name]
        try:
            if not service.is_shared:  # the others may go on with it
                await _pre_stop(self._inc, service, brief=self._brief)
            left = await runner.stop(service.name, signal=service.stop.signal, grace_s=grace_s)
            self._count(service.name, left)
        except EnvmgrError as error:
            self._unseen.append(f"{service.name}: {error.message}")

    async def _sweep(self, service: ServiceSpec) -> None:
        """Processes that left their session (`setsid`), or outlived a killed keeper; those are given their usual time."""
        if service.name in self._orphans:
            grace_s, signal = self._grace_s(service.stop), service.stop.signal
        else:
            grace_s, signal = _STRAY_S, "SIGTERM"
        try:
            self._count(service.name, await self._end(service.name, signal=signal, grace_s=grace_s))
        except EnvmgrError as error:
            self._unseen.append(f"{service.name}: {error.message}")

    async def _end(self, name: str, *, signal: str, grace_s: float) -> tuple[str, ...]:
        marks = self._orphans.get(name) or self._inc.marks(part=f"service:{name}")
        left = await self._inc.systems.processes.end(marks, signal=signal, grace_s=grace_s)
        return tuple(f"{name}: {m.command} (pid {m.identity.pid})" for m in left)

    def _count(self, unit: str, survivors: Sequence[str]) -> None:
        if survivors:
            self._left.setdefault(unit, []).extend(survivors)

    async def dismiss(self) -> None:
        """Whoever ran them has nothing more to do here."""
        try:
            match self._keeper:
                case Present(keeper) if not self._left:
                    await keeper.dismiss()
                case Absent():
                    await self._inc.systems.keepers.clear(self._inc.home)
            if self._engine is not None:
                await self._engine.dismiss()
        except EnvmgrError as error:
            self._unseen.append(error.message)

    def settle(self) -> None:
        """Raise what was gathered."""
        if self._left:
            survivors = [one for left in self._left.values() for one in left]
            text = f"services left processes: {', '.join(survivors)}"
            raise StopFailed(
                "; ".join([text, *self._unseen]), hint=_survivor_hint(), details={"left": self._left}
            )
        if self._unseen:
            raise Unobservable(
                "; ".join(self._unseen),
                hint=f"See `envmgr doctor`; then run `envmgr stop {self._inc.name}` again.",
            )


async def _pre_stop(inc: Incarnation, service: ServiceSpec, *, brief: bool) -> None:
    """The service's own stop command, if it has one; its failure does not hold up the stop."""
    if service.stop.command is None or brief:
        return
    try:
        secrets = await inc.secrets()
        known = rendering.values(inc, secrets, service.name, viewer=service)
        argv = rendering.command(service.stop.command, service.shell, known)
        if service.container is not None:
            await EngineRunner(inc).execute(service.name, argv, _STOP_COMMAND_S)
            return
        env = rendering.service_env(inc, service, secrets)
        await inc.systems.execute(argv, inc.path / service.cwd, env, _STOP_COMMAND_S)
    except (EnvmgrError, KeyError) as error:
        # Secrets whose owner is gone, a folder deleted by hand, ports given back: the signal that follows needs none.
        log.warning(
            "stop command not run", extra={"agent": inc.id, "service": service.name, "why": str(error)}
        )


def _survivor_hint() -> str:
    return "See why they cannot end (`cat /proc/PID/status`), then run `envmgr stop` again."
