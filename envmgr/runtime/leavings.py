"""The loop that writes handoffs of assistants that died, and before compactions.

Whoever brings an assistant back writes one first. This one is for those that nobody brings back at once, and for what happened while no
daemon ran: it looks at every agent now and then, and minds what is so, not what was seen to happen.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.model.agent import Condition
from envmgr.model.event import Event
from envmgr.model.handoff import HandoffKind
from envmgr.model.ids import AgentId
from envmgr.runtime import leaving
from envmgr.runtime.actor import Actor
from envmgr.runtime.steps.introduction import introduce
from envmgr.runtime.supervisor import Supervisor

_LOST = ("AssistantExited", "SessionLost")
_ENDS = frozenset({"assistant.exited", "session.lost"})
_COMPACTING = "assistant.compacting"


class Leavings:
    """One per daemon."""

    def __init__(self, supervisor: Supervisor, group: TaskGroup, *, every_s: float) -> None:
        self._supervisor = supervisor
        self._group = group
        self._every_s = every_s
        self._seen: dict[AgentId, float] = {}

    def start(self) -> None:
        """From now on; agents have been adopted."""
        tasks.keep(self._group, "handoffs of the dead", self._run)
        tasks.keep(self._group, "handoffs", self._hear)

    async def _run(self) -> None:
        while True:
            self._look()
            await anyio.sleep(self._every_s)

    async def _hear(self) -> None:
        with self._supervisor.bus.subscribe(_COMPACTING, *_ENDS) as subscription:
            while events := await subscription.next():
                self._heard(events)

    def _heard(self, events: Sequence[Event]) -> None:
        if any(event.kind in _ENDS for event in events):
            self._look()
        for event in events:
            actor = self._supervisor.actor(AgentId(event.agent))
            if event.kind == _COMPACTING and actor is not None:
                tasks.start(self._group, "a handoff", self._before_compaction, actor)

    def _look(self) -> None:
        """Once over all agents; one that is slow keeps no other waiting."""
        for actor in self._supervisor.actors():
            lost = next((one for one in actor.state.conditions if one.type in _LOST), None)
            if lost is not None and self._seen.get(actor.state.id) != lost.since:
                self._seen[actor.state.id] = lost.since
                tasks.start(self._group, "a handoff", self._of_dead, actor, lost)

    async def _of_dead(self, actor: Actor, lost: Condition) -> None:
        async with actor.busy:  # git in its worktree is not to be taken for the agent's own by a stop
            if actor.is_gone:
                return
            inc = await self._supervisor.incarnation(actor)
            if not await leaving.is_left(inc, HandoffKind.CRASH, since_at=lost.since):
                await leaving.leave(inc, HandoffKind.CRASH, lost.reason, publish=self._supervisor.bus.publish)

    async def _before_compaction(self, actor: Actor) -> None:
        async with actor.busy:
            if actor.is_gone:
                return
            inc = await self._supervisor.incarnation(actor)
            publish = self._supervisor.bus.publish
            await leaving.leave(inc, HandoffKind.COMPACTION, "its context is full", publish=publish)
            await introduce(inc)  # it is told after the compaction
