"""Carry out one change of what runs of an agent: units that go, units that come, units that start anew. The others run on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

import anyio

from envmgr.aio import blocking
from envmgr.core.waves import waves
from envmgr.errors import EnvmgrError, StopFailed
from envmgr.model.container import ContainerSpec
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState, StopPolicy
from envmgr.model.spec import AgentSpec
from envmgr.runtime import balancing, runners
from envmgr.runtime.actor import Actor
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.saga import never
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.environment import write_env
from envmgr.runtime.steps.services import discard_units, stop_units

_SETTLED = (ServiceState.READY, ServiceState.DONE, ServiceState.FAILED)
_DRAIN_S = 2.0
_DRAIN_LOOK_S = 0.02
_UNKNOWN = Outcome(state=ServiceState.UNKNOWN)


def change_key(agent: AgentId) -> str:
    """Where the store keeps a change that was begun."""
    return f"change/{agent}"


class Act(StrEnum):
    """What was done to a unit."""

    STARTED = "started"
    STOPPED = "stopped"
    RESTARTED = "restarted"
    RECREATED = "recreated"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One unit of a change and how that ended; `detail` says why when it did not end well."""

    unit: str
    act: Act
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is needed to stop a unit that its spec no longer knows, when a crash cut the change off."""

    name: str
    signal: str
    grace_s: float
    is_container: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """A change in terms of units; `recreate` is a restart that also makes a container anew."""

    gone: tuple[Ending, ...] = ()
    come: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    recreate: tuple[str, ...] = ()

    @property
    def again(self) -> tuple[str, ...]:
        """What is stopped and started."""
        return (*self.restart, *self.recreate)

    @property
    def touched(self) -> frozenset[str]:
        """Every unit something happens to."""
        return frozenset({*(one.name for one in self.gone), *self.come, *self.again})

    def to_json(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Moves:
        """What `to_json` made."""
        said = json.loads(text)
        return cls(
            gone=tuple(Ending(**one) for one in said["gone"]),
            come=tuple(said["come"]),
            restart=tuple(said["restart"]),
            recreate=tuple(said["recreate"]),
        )


def endings(units: Sequence[ServiceSpec], names: Collection[str]) -> tuple[Ending, ...]:
    """Of units that are going, in the order of `names`."""
    known = {unit.name: unit for unit in units}
    return tuple(
        Ending(
            name=name,
            signal=known[name].stop.signal,
            grace_s=known[name].stop.grace_s,
            is_container=known[name].container is not None,
        )
        for name in names
    )


def as_before(inc: Incarnation, moves: Moves, before: AgentSpec | None) -> Incarnation:
    """The generation as it was, to stop what goes; after a crash, when nobody knows, with stand-ins for that."""
    if before is None:
        gone = {one.name for one in moves.gone}
        kept = tuple(s for s in inc.spec.services if s.name not in gone)
        before = replace(inc.spec, services=(*kept, *(_stand_in(one) for one in moves.gone)))
    return replace(inc, spec=before)


def _stand_in(one: Ending) -> ServiceSpec:
    return ServiceSpec(
        name=one.name,
        kind=ServiceKind.CONTAINER if one.is_container else ServiceKind.PROCESS,
        stop=StopPolicy(signal=one.signal, grace_s=one.grace_s),
        container=ContainerSpec() if one.is_container else None,
    )


class Settling:
    """One change of one agent. Its spec and its ports are already those of the change."""

    def __init__(
        self,
        actor: Actor,
        inc: Incarnation,
        moves: Moves,
        health: Health,
        *,
        secrets: Mapping[str, str],
        reach: Callable[[str], None] = never,
    ) -> None:
        """`reach` is called at each named crash point."""
        self._actor, self._inc, self._moves, self._health = actor, inc, moves, health
        self._secrets = secrets
        self._reach = reach
        self._done: dict[str, Done] = {}

    async def run(self, old: Incarnation) -> tuple[Done, ...]:
        """Do it; returns what happened to each unit. A start that fails ends the change there: the rest stays as it is.

        Args:
            old: The generation as it was, see `as_before`.
        """
        moves = self._moves
        await self._end_gone(old)
        self._reach("change-after-gone")
        for wave in waves(self._inc.services, moves.again, moves.come):
            if not await self._wave(wave):
                break
        self._skip_rest()
        await blocking.act("file", write_env, self._inc)
        return tuple(self._done.values())

    async def _end_gone(self, old: Incarnation) -> None:
        names = [one.name for one in self._moves.gone]
        if not names:
            return
        await self._take_out(old, names)
        try:
            await stop_units(old, names)
            await discard_units(old, names)
        except (
            EnvmgrError
        ) as error:  # the rest is done all the same; what is left keeps its port and is named
            for name in names:
                self._note(name, Act.FAILED, error.message)
            return
        for name in names:
            self._note(name, Act.STOPPED)
            if name not in self._moves.come:
                await self._forget(old.service(name))

    async def _forget(self, unit: ServiceSpec) -> None:
        """A unit that is gone is no trouble any more."""
        actor = self._actor
        if any(c.subject == unit.name for c in actor.state.conditions):
            await self._health.change(actor, self._inc, unit, Outcome(state=ServiceState.DONE))
        actor.services.pop(unit.name, None)
        actor.ready_since.pop(unit.name, None)
        self._tell(unit.name, ServiceState.STOPPED, "")

    async def _wave(self, names: Collection[str]) -> bool:
        """Stop those that run, start all; whether it went well."""
        again = [name for name in names if name in self._moves.again]
        if again:
            await self._take_out(self._inc, again)
            try:
                await stop_units(self._inc, again)
                await discard_units(self._inc, [n for n in again if n in self._moves.recreate])
            except EnvmgrError as error:
                for name in again:
                    self._note(name, Act.FAILED, error.message)
                if isinstance(error, StopFailed):
                    await self._health.quarantine(self._actor, self._inc, error)
                return False
            self._reach("change-between")
        for name in again:
            self._actor.begins(name, Outcome(state=ServiceState.WAITING))
        return await self._start(names) if names else True

    async def _take_out(self, inc: Incarnation, names: Collection[str]) -> None:
        """Balancers stop giving connections to these instances; those that exist get a moment to end."""
        units = [inc.service(name) for name in names]
        was_serving = [unit for unit in units if unit.name in inc.serving]
        for unit in units:
            await balancing.note(inc, unit, is_ready=False)
        ports = [inc.port(unit.name, port.name) for unit in was_serving for port in unit.ports]
        with anyio.move_on_after(_DRAIN_S):
            while ports:
                await anyio.sleep(_DRAIN_LOOK_S)
                sockets = inc.systems.sockets
                if not await blocking.look("proc", 5.0, sockets.connections, ports):
                    return

    async def _start(self, names: Collection[str]) -> bool:
        told: dict[str, Outcome] = {}
        failed = ""
        async with anyio.create_task_group() as facts:

            def tell(unit: str, state: ServiceState, detail: str) -> None:
                told[unit] = Outcome(state=state, detail=detail)
                if state in _SETTLED:
                    facts.start_soon(self._say, unit, told[unit])
                else:
                    self._actor.begins(unit, told[unit])
                    self._tell(unit, state, detail)

            standing = {
                unit.name: self._actor.services.get(unit.name, _UNKNOWN)
                for unit in self._inc.services
                if unit.name not in names
            }
            try:
                hired = await runners.hire(self._inc)
                await ServiceRun(self._inc, hired, self._secrets, tell, standing=standing).start(only=names)
            except EnvmgrError as error:
                failed = error.message
        for name in sorted(names):
            await self._conclude(name, told.get(name), failed)
        return not failed

    async def _conclude(self, name: str, outcome: Outcome | None, failed: str) -> None:
        if outcome is not None and outcome.state in (ServiceState.READY, ServiceState.DONE):
            self._note(name, self._act(name))
        elif outcome is not None and outcome.state is ServiceState.FAILED:
            self._note(name, Act.FAILED, outcome.detail)
        else:
            left = Outcome(state=ServiceState.STOPPED, detail=f"not started: {failed}")
            self._note(name, Act.FAILED, left.detail)
            await self._health.change(self._actor, self._inc, self._inc.service(name), left)

    def _act(self, name: str) -> Act:
        if name in self._moves.recreate:
            return Act.RECREATED
        return Act.RESTARTED if name in self._moves.restart else Act.STARTED

    def _skip_rest(self) -> None:
        for name in (*self._moves.again, *self._moves.come):
            if name not in self._done:
                self._note(name, Act.SKIPPED, "the change ended before its turn")

    async def _say(self, unit: str, outcome: Outcome) -> None:
        if not await self._health.change(self._actor, self._inc, self._inc.service(unit), outcome):
            self._tell(unit, outcome.state, outcome.detail)

    def _note(self, unit: str, act: Act, detail: str = "") -> None:
        self._done[unit] = Done(unit=unit, act=act, detail=detail)

    def _tell(self, unit: str, state: ServiceState, detail: str) -> None:
        inc = self._inc
        data = {"service": unit, "detail": detail}
        self._health.note(
            NewEvent(kind=f"service.{state.value}", agent=inc.id, generation=inc.generation, data=data)
        )
