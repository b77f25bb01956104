"""Who has tasks, as the supervisor sees them."""

from __future__ import annotations

from envmgr.aio.blocking import look
from envmgr.model.agent import Desired
from envmgr.model.ids import AgentId
from envmgr.runtime.lock_holders import life_of, why_dead
from envmgr.runtime.supervisor import Supervisor

_LOOK_S = 1.0


class TaskHolders:
    """Answers of the moment; nothing is remembered."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def life(self, agent: str) -> str:
        """The present run of an agent; empty for whoever is none."""
        return life_of(self._supervisor, agent)

    def was_stopped(self, holder: str) -> bool:
        """Whether it is an agent that somebody stopped or removed."""
        actor = self._supervisor.actor(AgentId(holder))
        return ":" not in holder and (actor is None or actor.state.desired is not Desired.RUNNING)

    async def gone(self, holder: str, life: str) -> str:
        """Why the run that claimed something is over, also when only its process knows yet; empty while it goes on."""
        if why := why_dead(self._supervisor, holder, life):
            return why
        pid = int(life.partition("/")[2] or 0)
        if pid and await look("file", _LOOK_S, self._supervisor.systems.processes.identify, pid) is None:
            return "its process is gone"
        return ""
