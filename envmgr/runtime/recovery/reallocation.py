"""Rung 3: other ports, one step of limits, clean temporary folders. Worktree, branch, data volumes and conversation stay.

What was given up is noted before anything else is taken, so that a measure which a crash cut off does not move a second time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from envmgr.aio import blocking
from envmgr.core.replicas import FRONTS
from envmgr.core.waves import followers
from envmgr.errors import Conflict, EnvmgrError, Unavailable, Unobservable
from envmgr.model.event import NewEvent
from envmgr.model.incident import FailureClass
from envmgr.model.service import ChangeAction, PortSpec, ServiceKind, ServiceSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import given_up, ownership, reacting, rendering, subjects
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.moving import RECOVERY
from envmgr.runtime.recovery import raising
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Act, Done, Moves
from envmgr.runtime.supervisor import Supervisor
from envmgr.runtime.tiers import megabytes

Key = tuple[str, str]
_NOT_OF_PORTS = (FailureClass.MEMORY, FailureClass.DESCRIPTORS, FailureClass.DISK)
_TEMPORARY = ("tmp",)
_LOOK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What is given up: the numbers of ports as they were."""

    measure: str
    ports: Mapping[Key, int]


class ReallocationRung:
    """Gives units other resources than those that failed."""

    def __init__(
        self,
        supervisor: Supervisor,
        control: Control,
        *,
        keep_memory_bytes: int = 0,
        reach: Callable[[str], None] = never,
    ) -> None:
        """`keep_memory_bytes`: what a higher limit must leave free on this host. `reach` is called at each named crash point."""
        self._supervisor, self._control = supervisor, control
        self._keep_memory_bytes = keep_memory_bytes
        self._reach = reach

    async def act(self, actor: Actor, inc: Incarnation, measure: Measure) -> str:
        """Do it; returns what was done, for people. The caller keeps everybody else from changing the agent.

        Raises:
            Conflict: A port that the template fixes is somebody else's, who is named; or nothing can be given instead.
            Unavailable: A unit did not start with what it has now.
        """
        try:
            return await self._act(actor, inc, measure)
        except Unobservable:  # it is taken again, and must not move a second time
            raise
        except EnvmgrError:
            await inc.systems.store.write(lambda tx: given_up.forget(tx, inc.id))
            raise

    async def _act(self, actor: Actor, inc: Incarnation, measure: Measure) -> str:
        units = _concerned(inc, measure.unit)
        secrets = await inc.secrets()  # a missing one is told before anything is touched
        known = await inc.systems.store.read(lambda tx: tx.get(given_up.key(inc.id)))
        given = _read(known) if known is not None else None
        is_again = given is not None and given.measure == measure.key
        names = tuple(dict.fromkeys(unit.replica_of or unit.name for unit in units))
        spec, steps = raising.raise_limits(
            inc.spec,
            names,
            measure.failure,
            free_bytes=psutil.virtual_memory().available - self._keep_memory_bytes,
            is_again=is_again,
        )
        if given is None or not is_again:
            given = await self._give_up(inc, units, measure)
        self._reach("rung-realloc-noted")
        before = _as_it_was(inc, given)
        if given.ports:
            await claim_ports(inc, busy=set(given.ports.values()))
        self._reach("rung-realloc-claimed")
        moves, told = _moves(inc, before, units, secrets)
        freed = await blocking.act("file", _clean, inc.home)
        done = await self._control.carry_out(
            actor, inc, spec if spec != inc.spec else None, moves, cause=RECOVERY
        )
        self._reach("rung-realloc-moved")
        await self._tell_users(inc, told, secrets)
        said = [*_moved(inc, given), *steps, *([f"temporary files cleaned ({freed})"] if freed else [])]
        await self._end(inc, said)
        _refuse_failures(done)
        return "; ".join([*said, f"started again: {', '.join(one.unit for one in done)}"])

    # --- ports --------------------------------------------------------------------------------------------------

    async def _give_up(self, inc: Incarnation, units: Sequence[ServiceSpec], measure: Measure) -> _Given:
        """Note the ports that are to be left."""
        ports: dict[Key, int] = {}
        if measure.failure not in _NOT_OF_PORTS:
            ports = await blocking.look("proc", _LOOK_S, _to_leave, inc, units)
        if measure.failure is FailureClass.PORT_CONFLICT and not ports:
            raise Conflict(
                f"{measure.unit or inc.name} has no port that could be another one",
                hint="Drop `fixed` in the template, or free the port.",
            )
        given = _Given(measure=measure.key, ports=ports)
        await inc.systems.store.write(lambda tx: tx.put(given_up.key(inc.id), _written(given)))
        return given

    # --- the end ------------------------------------------------------------------------------------------------

    async def _tell_users(
        self, inc: Incarnation, told: Sequence[ServiceSpec], secrets: Mapping[str, str]
    ) -> None:
        for unit in told:
            if why := await reacting.react(inc, unit, unit.on_env_change, secrets=secrets):
                text = f"{unit.name} could not be told of its new environment: {why}"
                await self._record(inc, "notice", {"text": text})

    async def _end(self, inc: Incarnation, said: Sequence[str]) -> None:
        await self._record(inc, "agent.reallocated", {"what": "; ".join(said)})

        def end(tx: Transaction) -> None:
            given_up.forget(tx, inc.id)

        await inc.systems.store.write(end)

    async def _record(self, inc: Incarnation, kind: str, data: Mapping[str, object]) -> None:
        await self._supervisor.record(
            NewEvent(kind=kind, agent=inc.id, generation=inc.generation, cause=RECOVERY, data=data)
        )


def _concerned(inc: Incarnation, name: str) -> Sequence[ServiceSpec]:
    """The unit, all instances of it; or all."""
    units = [unit for unit in inc.services if not unit.is_shared and unit.kind is not ServiceKind.EXTERNAL]
    if name:
        base = next((unit.replica_of or unit.name for unit in units if unit.name == name), None)
        units = [unit for unit in units if base in (unit.name, unit.replica_of)]
    if not units:
        raise Conflict(f"{name or inc.name} has nothing of its own to be given anew", hint="Look at it.")
    return units


def _to_leave(inc: Incarnation, units: Sequence[ServiceSpec]) -> dict[Key, int]:
    """Ports of others if there are such, else all that may be left. Blocking.

    Raises:
        Conflict: Somebody has a port that the template fixes.
    """
    found = {(unit.name, port.name): (unit, port) for unit in units for port in unit.ports}
    foreign: dict[Key, int] = {}
    for key, (unit, port) in found.items():
        number = inc.port(*key)
        owner = subjects.listener_of(inc, number, marks=inc.marks(part=f"service:{unit.name}"))
        if owner.owner is not ownership.Owner.FOREIGN or _publishes(unit):
            continue
        if not _may_move(port):
            raise Conflict(
                f"port {number} of {unit.name}.{port.name} is taken by {owner.who}, and the template fixes it",
                hint="Free the port, or drop `fixed` so that another one is chosen.",
                details={"port": number, "service": unit.name},
            )
        foreign[key] = number
    return foreign or {key: inc.port(*key) for key, (_, port) in found.items() if _may_move(port)}


def _publishes(unit: ServiceSpec) -> bool:
    """The engine itself listens for a container, and said so when it could not."""
    return unit.container is not None


def _may_move(port: PortSpec) -> bool:
    return not port.fixed and port.number is None


def _as_it_was(inc: Incarnation, given: _Given) -> Incarnation:
    return replace(inc, ports={**inc.ports, **given.ports})


def _moves(
    inc: Incarnation, before: Incarnation, units: Sequence[ServiceSpec], secrets: Mapping[str, str]
) -> tuple[Moves, Sequence[ServiceSpec]]:
    """Who starts anew: those concerned, those that follow them, those that use what has changed; and who is only told."""
    anew = {unit.name for unit in units if unit.kind is not ServiceKind.TASK}
    told: list[ServiceSpec] = []
    for unit in inc.services:
        if unit.name in anew or unit.kind in (ServiceKind.TASK, *FRONTS) or unit.is_shared:
            continue
        if _launch(inc, unit, secrets) == _launch(before, unit, secrets):
            continue
        match unit.on_env_change.action:
            case ChangeAction.SIGNAL | ChangeAction.EXEC:
                told.append(unit)
            case ChangeAction.RESTART | ChangeAction.RECREATE:
                anew.add(unit.name)
    anew |= followers(inc.services, anew)
    made = [unit.name for unit in inc.services if unit.name in anew and _is_made_anew(unit)]
    again = [unit.name for unit in inc.services if unit.name in anew and unit.name not in made]
    return Moves(restart=tuple(again), recreate=tuple(made)), told


def _is_made_anew(unit: ServiceSpec) -> bool:
    """What cannot change while it is there: a container, a socket that is kept open."""
    return unit.container is not None or any(port.listen for port in unit.ports)


def _launch(inc: Incarnation, unit: ServiceSpec, secrets: Mapping[str, str]) -> object:
    """What a unit is started with."""
    if unit.kind is ServiceKind.EXTERNAL:
        return None
    known = rendering.values(inc, secrets, unit.name, viewer=unit)
    return rendering.service_env(inc, unit, secrets), rendering.command(unit.command, unit.shell, known)


def _moved(inc: Incarnation, given: _Given) -> Iterator[str]:
    for (unit, name), old in given.ports.items():
        yield f"{unit}.{name} moved from port {old} to {inc.ports[unit, name]}"


def _clean(home: Path) -> str:
    """Empty the agent's temporary folders; returns how much that was. Blocking."""
    freed = 0
    for folder in (home / name for name in _TEMPORARY):
        for entry in folder.iterdir() if folder.is_dir() else ():
            freed += sum(file.lstat().st_size for file in (entry, *entry.rglob("*")) if not file.is_dir())
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return megabytes(freed) if freed else ""


def _refuse_failures(done: Collection[Done]) -> None:
    failed = [f"{one.unit}: {one.detail}" for one in done if one.act is Act.FAILED]
    if failed:
        raise Unavailable("; ".join(failed), hint="See `envmgr why`.")


def _written(given: _Given) -> str:
    ports = [[unit, name, number] for (unit, name), number in given.ports.items()]
    return json.dumps({"measure": given.measure, "ports": ports})


def _read(text: str) -> _Given:
    said = json.loads(text)
    ports = {(str(unit), str(name)): int(number) for unit, name, number in said["ports"]}
    return _Given(measure=str(said["measure"]), ports=ports)
