"""Locks end with those who hold them: an agent that stops, fails or dies keeps none of its locks for two seconds.

Events say so at once. Whatever an event was missed for, a look at all holders twice a second finds (R-40).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.aio.blocking import look
from envmgr.core.leasing import is_same_life
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.event import Event
from envmgr.model.ids import AgentId
from envmgr.runtime.actor import Actor
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.lock_events import is_agent
from envmgr.services.lock_keeping import LockKeeping

log = logging.getLogger(__name__)

_ENDS = frozenset(
    {"assistant.exited", "session.lost", "agent.stopping", "agent.stopped", "agent.error", "agent.removed"}
)
_LOST = frozenset({"AssistantExited", "SessionLost"})
_LIVING = frozenset({Lifecycle.SPAWNING, Lifecycle.RUNNING})
_LOOK_S = 1.0


def life_of(supervisor: Supervisor, agent: str) -> str:
    """The present run of an agent's assistant: `<generation>/<pid>`, with 0 for a pid that is not known; empty when none runs."""
    actor = supervisor.actor(AgentId(agent)) if agent else None
    return _life(actor) if actor is not None else ""


def why_dead(supervisor: Supervisor, agent: str, life: str) -> str:
    """Why the run that took a lock is over; empty while it goes on, as far as memory tells."""
    actor = supervisor.actor(AgentId(agent))
    if actor is None:
        return "the agent is gone"
    if why := _ended(actor.state):
        return why
    return "" if is_same_life(life, _life(actor)) else "its assistant was started again"


def _ended(state: AgentState) -> str:
    if state.lifecycle not in _LIVING:
        return f"the agent is {state.lifecycle.value}: {state.reason}"
    return next((remark.reason for remark in state.conditions if remark.type in _LOST), "")


def _life(actor: Actor) -> str:
    inc = actor.incarnation
    pid = inc.pane_pid if inc is not None and inc.generation == actor.state.generation else 0
    return f"{actor.state.generation}/{pid}"


class LockHolders:
    """Watches holders, and wakes who waits."""

    def __init__(self, supervisor: Supervisor, keeping: LockKeeping) -> None:
        self._supervisor = supervisor
        self._keeping = keeping
        self._every_s = keeping.locks.policy.look_every_s

    def start(self, group: TaskGroup) -> None:
        """From now on; agents that run have been adopted, and count as having given a sign of life."""
        for actor in self._supervisor.actors():
            if not _ended(actor.state):
                self._keeping.locks.seen(actor.state.id)
        tasks.keep(group, "hearing of locks", self._hear)
        tasks.keep(group, "looking after locks", self._run)

    async def _hear(self) -> None:
        with self._supervisor.bus.subscribe("lock.released", "agent.activity", *_ENDS) as subscription:
            while events := await subscription.next():
                await self._heard(events)

    async def _heard(self, events: Sequence[Event]) -> None:
        ended: set[str] = set()
        for event in events:
            if event.kind == "lock.released":
                self._keeping.locks.line.free(str(event.data["repo"]), str(event.data["target"]))
            elif event.kind == "agent.activity":
                self._keeping.locks.seen(event.agent)
            elif event.kind in _ENDS:
                ended.add(event.agent)
        if ended:
            await self._keeping.release_dead(self._why)

    async def _run(self) -> None:
        while True:
            await self._keeping.release_dead(self._why)
            await self._keeping.release_killed(self._is_gone)
            await self._keeping.expire()
            await self._keeping.write_down_signs()
            await self._keeping.wake_waiting()
            await anyio.sleep(self._every_s)

    def _why(self, holder: str, life: str) -> str:
        return why_dead(self._supervisor, holder, life) if is_agent(holder) else ""

    async def _is_gone(self, life: str) -> bool:
        """Whether the process of a run is gone, whatever has been noticed of that yet."""
        pid = int(life.partition("/")[2] or 0)
        if not pid:
            return False
        return await look("file", _LOOK_S, self._supervisor.systems.processes.identify, pid) is None
