"""Stopped agents go by themselves when their template says so (`gc.after_stop`) and nothing would be lost."""

from __future__ import annotations

import logging

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.observe import Absent, Present
from envmgr.runtime import begun, removal, volumes
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_AGAIN_S = 3600.0
CAUSE = "gc.after_stop"


class Expiry:
    """The loop over stopped agents. One that holds something, or cannot be seen into, is looked at again after an hour."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._not_before: dict[AgentId, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for actor in [one for one in self._supervisor.actors() if self._is_due(one)]:
                try:
                    await self._end(actor)
                except EnvmgrError as error:  # started, removed, or out of sight meanwhile
                    log.info("not removed", extra={"agent": actor.state.id, "why": error.message})
                except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                    log.exception("not removed", extra={"agent": actor.state.id})
            await anyio.sleep(_EVERY_S)

    def _is_due(self, actor: Actor) -> bool:
        state, after_s = actor.state, actor.spec.retention.after_stop_s
        now = self._supervisor.systems.now()
        is_at_rest = state.lifecycle is Lifecycle.STOPPED and not state.holds and not actor.unfinished
        return (
            after_s is not None
            and is_at_rest
            and now >= max(state.since + after_s, self._not_before.get(state.id, 0.0))
        )

    async def _end(self, actor: Actor) -> None:
        state, systems = actor.state, self._supervisor.systems
        self._not_before[state.id] = systems.now() + _AGAIN_S
        if await _holds_something(await self._supervisor.incarnation(actor)):
            return
        if actor.state is not state:
            return  # somebody has begun something with it
        data = {"stopped_s": round(systems.now() - state.since)}
        event = NewEvent(kind="agent.expired", agent=state.id, generation=state.generation, data=data)
        await self._supervisor.record(event)
        await self._supervisor.remove(actor, cause=CAUSE)
        self._not_before.pop(state.id, None)


async def _holds_something(inc: Incarnation) -> bool:
    """Work in its worktree, or data in volumes. Raises EnvmgrError when that cannot be told."""
    work = await removal.at_risk(inc)
    if work is not None and not work.is_safe_to_drop:
        return True
    if await volumes.present(inc):
        return True
    if inc.systems.engine is None:
        return False
    match await begun.find(inc.systems.engine, begun.trace(inc)):
        case Present(found):
            return bool(found.volumes or found.kept)
        case Absent():
            return False
    return True
