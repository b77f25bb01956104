"""After a new start of the machine: bring back the agents that ran, few at a time, as the host has room for them.

Processes, sessions and keepers of before are history. The first daemon of a boot notes who ran (`reboot/<agent>` in the store, in one
transaction with the new boot id), so nobody is forgotten when it dies in the middle: the next one goes on with the notes that are
left. What a person asks for meanwhile wins: a note counts only while its agent is still wanted as it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

import anyio

from envmgr.aio import tasks
from envmgr.errors import EnvmgrError, Unavailable
from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung
from envmgr.model.observe import Present
from envmgr.model.stimulus import HostRestarted
from envmgr.protocols.store import Transaction
from envmgr.runtime import conversation, engine_use
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.saga import never
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

Over = Callable[[AgentId, str], Awaitable[None]]
"""(agent, why): what was open about it is history."""

_BOOT, _NOTES = "boot", "reboot/"
_ENGINE_S, _ENGINE_PAUSE_S = 600.0, 1.0
_MOST_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An agent that ran before the machine was restarted.

    Attributes:
        generation: The one that ran.
        tries: Starts that were begun since; a crash of the daemon takes one back without an answer.
    """

    generation: int
    tries: int = 0

    def waits(self, state: AgentState) -> bool:
        """Whether it is still to be brought back: nobody has asked for anything else, and it has not come to its end."""
        if state.desired is not Desired.RUNNING or self.tries >= _MOST_TRIES:
            return False
        if state.generation == self.generation:
            return state.is_alive or state.lifecycle in (Lifecycle.STOPPING, Lifecycle.STOPPED)
        began = self.generation < state.generation <= self.generation + self.tries
        return began and state.lifecycle is Lifecycle.ERROR and not state.holds


def _recognise(tx: Transaction, boot: str) -> bool:
    """Whether this is the first daemon since the machine was started; then who ran is noted."""
    known = tx.get(_BOOT)
    tx.put(_BOOT, boot)
    if known is None or known == boot:
        return False
    for state in (record.state for record in tx.agents()):
        if state.is_alive:
            _write(tx, state.id, Note(generation=state.generation))
        elif state.lifecycle is Lifecycle.SPAWNING and state.rung is Rung.RESPAWN:
            # Its first start was this one.
            _write(tx, state.id, Note(generation=state.generation - 1, tries=1))
    return True


class Rebooting:
    """The agents that wait to be brought back, and their way there."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        boot: str,
        restores: bool = True,
        at_once: int = 2,
        ask_again_s: float = 5.0,
        over: Over | None = None,
        reach: Callable[[str], None] = never,
    ) -> None:
        """Keep what is needed; nothing is asked yet.

        Args:
            boot: Id of the present start of the machine; empty where the system has none: then no restart is ever seen.
            restores: Else they are only stopped on paper, and a person is told.
            at_once: How many are on their way at the same time; who waits for room or the engine does not count.
            over: Told of each agent before it is brought back.
            reach: Called at each named crash point.
        """
        self._supervisor = supervisor
        self._boot = boot
        self._restores = restores
        self._limiter = anyio.CapacityLimiter(at_once)
        self._ask_again_s = ask_again_s
        self._over = over
        self._reach = reach

    async def mark(self) -> None:
        """Before anything of them is looked at: nothing of these agents runs, whatever their record says."""
        store = self._supervisor.systems.store
        if self._boot:
            is_first = await store.write(partial(_recognise, boot=self._boot))
            if is_first:
                await self._supervisor.record(NewEvent(kind="host.restarted"))
        for actor, note in await self._noted():
            if note.waits(actor.state) or actor.state.lifecycle is Lifecycle.SPAWNING:
                actor.restoring = "waits for its turn"

    async def run(self) -> None:
        """Bring back all that wait, who was active last first; returns when none waits any more."""
        noted = await self._noted()
        async with anyio.create_task_group() as group:
            for actor, note in sorted(noted, key=lambda one: _last_active(one[0].state), reverse=True):
                # Places are given in the order of asking.
                tasks.start(group, "bringing one back", self._bring_back, actor, note)

    async def _noted(self) -> Sequence[tuple[Actor, Note]]:
        notes = await self._supervisor.systems.store.read(_notes)
        found = ((self._supervisor.actor(agent), note) for agent, note in notes.items())
        return [(actor, note) for actor, note in found if actor is not None]

    async def _bring_back(self, actor: Actor, note: Note) -> None:
        try:
            async with self._limiter:
                await self._try(actor, note)
        except EnvmgrError as error:
            await self._tell(
                actor, f"{actor.state.name} was not brought back after the restart: {error.message}"
            )
        except Exception:  # one agent owns its boundary here
            log.exception("agent not brought back", extra={"agent": actor.state.id})
        finally:
            actor.restoring = ""
        await self._supervisor.systems.store.write(lambda tx: tx.drop(_key(actor.state.id)))

    async def _try(self, actor: Actor, note: Note) -> None:
        await actor.settled()  # a start that a crash cut off is taken back first
        if not note.waits(actor.state):
            return
        if self._over is not None:
            await self._over(actor.state.id, "the machine was restarted")
        inc = await self._supervisor.incarnation(actor)
        await conversation.cut(inc, f"{_NOTES}{note.generation}/{note.tries}")
        if actor.state.is_alive:
            await self._release(actor, note)
        if self._restores:
            await self._start(actor, note)
        else:
            name = actor.state.name
            await self._tell(
                actor, f"{name} ended with the restart of the machine: `envmgr start {name}` brings it back"
            )

    async def _release(self, actor: Actor, note: Note) -> None:
        """Give back what is left of the generation that ran."""
        inc = await self._supervisor.incarnation(actor)
        await self._until_engine(actor, inc)
        fact = HostRestarted(generation=note.generation, restores=self._restores)
        await self._supervisor.apply(actor, fact, cause="reboot")
        self._reach("reboot-released")
        await actor.settled()

    async def _until_engine(self, actor: Actor, inc: Incarnation) -> None:
        """An engine may be up later than we are; without it nothing of an agent's containers can be given back."""
        if inc.systems.engine is None or await engine_use.look(inc) is None:
            return
        if isinstance(await inc.systems.engine.knock(), Present):
            return
        actor.restoring = "waits for the container engine"
        async with self._aside():
            with anyio.move_on_after(_ENGINE_S):
                while not isinstance(await inc.systems.engine.knock(), Present):  # noqa: ASYNC110 - it wakes nobody
                    await anyio.sleep(_ENGINE_PAUSE_S)

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[None]:
        """Who can only wait lets others pass."""
        self._limiter.release()
        try:
            yield
        finally:
            # Whoever holds a place gives it back soon, or is being ended as well.
            with anyio.CancelScope(shield=True):
                await self._limiter.acquire()

    async def _start(self, actor: Actor, note: Note) -> None:
        while note.waits(actor.state):
            note = replace(note, tries=note.tries + 1)
            await self._supervisor.systems.store.write(partial(_write, agent=actor.state.id, note=note))
            try:
                actor.restoring = "is started again"
                await self._supervisor.start_again(actor, environment={}, cause="reboot")
            except Unavailable as error:  # the host has no room yet
                actor.restoring = f"waits for room: {error.message}"
                note = replace(note, tries=note.tries - 1)
                async with self._aside():
                    await anyio.sleep(self._ask_again_s)
                continue
            self._reach("reboot-starting")
            await actor.settled()
            self._reach("reboot-started")
            return

    async def _tell(self, actor: Actor, text: str) -> None:
        state = actor.state
        await self._supervisor.record(
            NewEvent(kind="notice", agent=state.id, generation=state.generation, data={"text": text})
        )


def _last_active(state: AgentState) -> float:
    return max(state.since, state.activity_since, state.evidence.at if state.evidence else 0.0)


def _notes(tx: Transaction) -> Mapping[AgentId, Note]:
    found = tx.under(_NOTES).items()
    return {AgentId(key.removeprefix(_NOTES)): Note(**json.loads(text)) for key, text in found}


def _write(tx: Transaction, agent: AgentId, note: Note) -> None:
    tx.put(_key(agent), json.dumps(asdict(note)))


def _key(agent: AgentId) -> str:
    return f"{_NOTES}{agent}"
