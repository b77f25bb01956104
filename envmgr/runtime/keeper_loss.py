"""When a keeper died, or answers nobody: what it held is ended and started again under a new one, never twice at a time.

Its services may be well, but nobody would see their end, keep their logs or stop their descendants any more. So they are
ended first, all of them; only what is surely gone is started again, as the restart policies say, and what cannot be ended
is put in quarantine.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.restart import Again, End, StaysDown, after_end
from envmgr.errors import Conflict, EnvmgrError, StopFailed, Unobservable
from envmgr.model.event import NewEvent
from envmgr.model.incident import Part, Symptom
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held, Keeper
from envmgr.protocols.store import Transaction
from envmgr.runtime import keeperless, quarantine, restart_history, runners
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.reporting import Report, unheard
from envmgr.runtime.settling import Act
from envmgr.runtime.steps.services import stop_units
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_WORDS = "lost its keeper"
_AGAIN_S = 10.0
_JITTER = 0.1
_WAKE_AT, _END_AT = 2, 4
_DOWN = (ServiceState.FAILED, ServiceState.DONE, ServiceState.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """A unit that ran under the keeper when it died; `held` is what its record says, if there is one."""

    unit: ServiceSpec
    ready_s: float
    held: Held | None = None

    @property
    def launch(self) -> tuple[int, int]:
        return (self.held.generation, self.held.launch) if self.held else (0, 0)


class KeeperLoss:
    """Hears of keepers from `Health`."""

    def __init__(
        self,
        supervisor: Supervisor,
        control: Control,
        health: Health,
        group: TaskGroup,
        *,
        report: Report = unheard,
        restarted: Report = unheard,
        ask_every_s: float = 20.0,
        again_s: float = _AGAIN_S,
    ) -> None:
        """`restarted` hears of each unit started again, `report` of what stays down; `again_s` after a failure it is tried again."""
        self._supervisor = supervisor
        self._control = control
        self._health = health
        self._group = group
        self._report = report
        self._restarted = restarted
        self._ask_every_s = ask_every_s
        self._again_s = again_s
        self._following: dict[str, dict[str, _Lost]] = {}
        self._missed: set[str] = set()
        self._silences: dict[str, int] = {}

    def gone(self, actor: Actor, inc: Incarnation) -> None:
        """See `ends.KeeperEyes.gone`."""
        if inc.tag in self._following:
            self._missed.add(inc.tag)
        else:
            self._following[inc.tag] = {}
            tasks.start(self._group, "following a lost keeper", self._follow, actor, inc)

    async def attend(self, actor: Actor, inc: Incarnation, keeper: Keeper) -> None:
        """See `ends.KeeperEyes.attend`."""
        self._silences.pop(inc.tag, None)
        await quarantine.lift(self._supervisor, actor, inc, quarantine.KEEPER)
        with contextlib.suppress(EnvmgrError):
            while True:
                await anyio.sleep(self._ask_every_s * random.uniform(1 - _JITTER, 1 + _JITTER))
                await keeper.status()

    async def silent(self, actor: Actor, inc: Incarnation) -> None:
        """See `ends.KeeperEyes.silent`: woken, if somebody stopped it; at last ended. Not by a machine that is too busy itself."""
        if await self._supervisor.pulse.look():
            return
        times = self._silences[inc.tag] = self._silences.get(inc.tag, 0) + 1
        keepers, owner = inc.systems.keepers, await keeperless.owner(inc)
        if times == _WAKE_AT:
            await keepers.wake(inc.home, owner=owner)
        if times < _END_AT:
            return
        try:
            await keepers.end(inc.home, owner=owner)
        except EnvmgrError as error:  # nobody is signalled on suspicion
            await quarantine.put_part(
                self._supervisor, actor, inc, quarantine.KEEPER, error.message, report=self._report
            )

    async def _follow(self, actor: Actor, inc: Incarnation) -> None:
        """Until all is started again or somebody else's: a full disk fails most of this, and only for some time."""
        lost: Sequence[_Lost] | None = None
        try:
            while True:
                try:
                    if lost is None:
                        lost = await self._control.alone(actor, partial(self._clear, actor))
                    await self._start_again(actor, inc, lost)
                    break
                except Conflict:  # it is being stopped, which ends them as well
                    break
                except Exception as error:  # a task of the daemon owns its boundary
                    is_known, told = isinstance(error, EnvmgrError), {"agent": inc.id, "why": str(error)}
                    log.warning("a lost keeper waits", exc_info=not is_known, extra=told)
                await anyio.sleep(self._again_s)
        finally:
            del self._following[inc.tag]
        if inc.tag in self._missed:  # the new keeper was lost while its services were started
            self._missed.discard(inc.tag)
            self.gone(actor, inc)

    async def _clear(self, actor: Actor, inc: Incarnation) -> Sequence[_Lost]:
        """End what is left; returns what ran and is surely gone, earlier attempts included."""
        match await runners.find_keeper(inc):
            case Present():  # somebody has started a unit meanwhile, and swept it before
                self._health.watch(actor, inc)
                return ()
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")
            case Absent():
                pass
        record = await keeperless.record(inc)
        held = record.services if record is not None else {}
        units = [unit for unit in runners.own_units(inc) if unit.container is None]
        lost = self._following.get(inc.tag, {})
        lost |= {u.name: one for u in units if (one := _lost(actor, inc, u, held.get(u.name)))}
        if not lost:
            return ()
        await self._tell(inc, "keeper.lost", {"services": list(lost)})
        stuck = await self._end(actor, inc, lost)
        await inc.systems.keepers.clear(inc.home)
        return [one for one in lost.values() if one.unit.name not in stuck]

    async def _end(self, actor: Actor, inc: Incarnation, lost: Mapping[str, _Lost]) -> Collection[str]:
        """Returns what cannot be ended, and is in quarantine."""
        names, stuck = list(lost), tuple[str, ...]()
        actor.in_hand |= set(names)
        try:
            try:
                await stop_units(inc, names)
            except StopFailed as error:
                await self._health.quarantine(actor, inc, error)
                stuck = tuple(error.left)
            down = Outcome(state=ServiceState.FAILED, detail="its keeper died")
            for one in lost.values():
                await self._health.change(actor, inc, one.unit, down)
        finally:
            actor.in_hand -= set(names)
        return stuck

    async def _start_again(self, actor: Actor, inc: Incarnation, lost: Sequence[_Lost]) -> None:
        """All that may, in one move, so that each finds what it depends on."""
        if not lost:
            return
        verdicts = await inc.systems.store.write(partial(_judge, inc=inc, lost=lost))
        again: Sequence[_Lost] = [one for one in lost if isinstance(verdicts.get(one.unit.name), Again)]
        for one in lost:
            if isinstance(verdict := verdicts.get(one.unit.name), StaysDown) and verdict.gave_up:
                self._say(actor, [one], verdict.reason)
                data = {"service": one.unit.name, "reason": verdict.reason}
                await self._tell(inc, "service.gave_up", data)
        if not again:
            return
        for one in again:
            self._restarted(actor, self._symptom(one.unit.name, f"{one.unit.name} {_WORDS}"))
        delay_s = max(v.delay_s for v in verdicts.values() if isinstance(v, Again))
        while again := await self._waited(actor, again, delay_s):
            again = await self._revive(actor, inc, again)
            delay_s = self._again_s

    async def _waited(self, actor: Actor, again: Sequence[_Lost], delay_s: float) -> Sequence[_Lost]:
        """Those that nobody has taken in hand meanwhile."""
        waited: set[str] = set()
        async with anyio.create_task_group() as group:
            for one in again:
                group.start_soon(self._wait, actor, one.unit.name, delay_s, waited)
        return [one for one in again if one.unit.name in waited]

    async def _wait(self, actor: Actor, unit: str, delay_s: float, waited: set[str]) -> None:
        """Until it is time, and never in safe mode; not to its end when a stop or somebody's own change of the unit comes first."""
        with anyio.CancelScope() as scope:
            actor.pending[unit] = scope
            await anyio.sleep(delay_s)
            while self._supervisor.safe_mode:  # noqa: ASYNC110 - minutes or hours, and it wakes nobody
                await anyio.sleep(_AGAIN_S)
        if actor.pending.get(unit) is scope:
            del actor.pending[unit]
        if not scope.cancelled_caught:
            waited.add(unit)

    async def _revive(self, actor: Actor, inc: Incarnation, again: Sequence[_Lost]) -> Sequence[_Lost]:
        """Returns what was not even launched, as on a full disk: it stays down for all to see, and is tried again."""
        names = [one.unit.name for one in again]
        try:
            done = await self._control.revive(actor, *names)
        except Conflict as error:  # the agent is being stopped, or a change has taken the units away
            log.info("not restarted", extra={"agent": inc.id, "why": error.message})
            return ()
        except (EnvmgrError, OSError) as error:
            failed = dict.fromkeys(names, str(error))
        else:
            failed = {one.unit: one.detail for one in done if one.act in (Act.FAILED, Act.SKIPPED)}
        left = [one for one in again if one.unit.name in failed]
        for one in left:  # one that ended is told by its new keeper, too, and is one failure with this
            self._report(actor, self._symptom(one.unit.name, failed[one.unit.name]))
        launched = await _launched(inc) if left else ()
        left = [one for one in left if one.unit.name not in launched]
        for one in left:
            down = Outcome(state=ServiceState.FAILED, detail=failed[one.unit.name])
            await self._health.change(actor, inc, one.unit, down)
        return left

    def _say(self, actor: Actor, lost: Sequence[_Lost], why: str) -> None:
        for one in lost:
            words = f"{one.unit.name} {_WORDS} and was not started again: {why}"
            self._report(actor, replace(self._symptom(one.unit.name, words), is_exhausted=True))

    def _symptom(self, unit: str, words: str) -> Symptom:
        return Symptom(part=Part.SERVICE, subject=unit, words=words, at=self._supervisor.systems.steady())

    async def _tell(self, inc: Incarnation, kind: str, data: Mapping[str, object]) -> None:
        event = NewEvent(kind=kind, agent=inc.id, generation=inc.generation, data=data)
        await self._supervisor.record(event)


async def _launched(inc: Incarnation) -> Collection[str]:
    """What the new keeper has begun: ends of those are its restart policies' business."""
    match await runners.find_keeper(inc):
        case Present(keeper):
            with contextlib.suppress(EnvmgrError):
                return tuple(await keeper.status())
    return ()


def _lost(actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held | None) -> _Lost | None:
    """Whether it ran, as far as anybody knows."""
    outcome = actor.services.get(unit.name)
    is_down = not held.is_alive if held is not None else outcome is not None and outcome.state in _DOWN
    if is_down or unit.kind is ServiceKind.TASK:
        return None
    since = actor.ready_since.get(unit.name)
    ready_s = max(0.0, inc.systems.steady() - since) if since is not None else 0.0
    return _Lost(unit=unit, held=held, ready_s=ready_s)


def _judge(tx: Transaction, inc: Incarnation, lost: Sequence[_Lost]) -> dict[str, Again | StaysDown]:
    """By unit; none for one that has no policy, or after whose loss an earlier daemon gave it up."""
    found = {one.unit.name: _verdict(tx, inc, one) for one in lost}
    return {name: verdict for name, verdict in found.items() if verdict is not None}


def _verdict(tx: Transaction, inc: Incarnation, one: _Lost) -> Again | StaysDown | None:
    name, policy = one.unit.name, one.unit.restart
    if policy is None or restart_history.has_given_up(tx, inc.id, name, one.launch):
        return None
    history, now = restart_history.read(tx, inc.id, name), inc.systems.steady()
    if restart_history.due_at(tx, inc.id, name, one.launch) is not None:  # an earlier daemon has counted it
        return Again(delay_s=0.0, history=history)
    end = End(is_success=False, is_fatal=False, ready_s=one.ready_s, words=_WORDS)
    verdict = after_end(policy, history, end, now=now, draw=random.random())
    if isinstance(verdict, Again):
        restart_history.write(tx, inc.id, name, verdict.history)
        restart_history.promise(tx, inc.id, name, one.launch, now + verdict.delay_s)
    else:
        restart_history.give_up(tx, inc.id, name, one.launch)
    return verdict
