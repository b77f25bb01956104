"""Sessions of agents, as the supervisor sees them, and the loop that ends what is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.model.agent import Activity, AgentState, Desired, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.session import Session, SessionStatus
from envmgr.runtime.actor import Actor
from envmgr.runtime.lock_holders import life_of, why_dead
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.sessions import Presence

log = logging.getLogger(__name__)

_ENDS = frozenset(
    {"assistant.exited", "session.lost", "agent.running", "agent.stopped", "agent.error", "agent.removed"}
)
_STATUSES = {
    Activity.READY: SessionStatus.IDLE,
    Activity.AWAITING_INPUT: SessionStatus.AWAITING_INPUT,
}


class SupervisedAgents:
    """`envmgr.services.sessions.Agents` of a supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def session(self, agent: str) -> Session | None:
        actor = self._supervisor.actor(AgentId(agent)) if agent else None
        return self._session(actor) if actor is not None else None

    def sessions(self) -> Sequence[Session]:
        return [self._session(actor) for actor in self._supervisor.actors()]

    def must_stop(self, agent: str) -> str:
        actor = self._supervisor.actor(AgentId(agent))
        if actor is None:
            return "the agent was removed"
        state = actor.state
        if state.desired is not Desired.RUNNING or state.lifecycle is Lifecycle.STOPPING:
            return f"the agent is to be {state.desired.value}"
        return ""

    def _session(self, actor: Actor) -> Session:
        state, spec, inc = actor.state, actor.spec, actor.incarnation
        life = life_of(self._supervisor, state.id)
        over = why_dead(self._supervisor, state.id, life)
        return Session(
            principal=state.id,
            name=state.name,
            repo=spec.repo,
            kind=spec.assistant.kind,
            capabilities=spec.assistant.capabilities,
            status=SessionStatus.DEAD if over else _status(state),
            worktree=str(inc.path) if inc is not None else "",
            branch=inc.worktree.branch
            if inc is not None and inc.worktree is not None
            else spec.workspace.branch,
            model=spec.assistant.model or "",
            life=life,
            at=state.since,
            last_at=state.evidence.at if state.evidence is not None else state.since,
            reason=over,
        )


def _status(state: AgentState) -> SessionStatus:
    return _STATUSES.get(state.activity, SessionStatus.ACTIVE) if state.activity else SessionStatus.ACTIVE


class SessionWatch:
    """Looks at all sessions now and then, and at once when an agent has ended."""

    def __init__(self, supervisor: Supervisor, presence: Presence, *, every_s: float) -> None:
        self._supervisor = supervisor
        self._presence = presence
        self._every_s = every_s
        self._turn = anyio.Lock()

    def start(self, group: TaskGroup) -> None:
        """From now on; agents have been adopted."""
        tasks.keep(group, "looking after sessions", self._run)
        tasks.keep(group, "hearing of ends", self._hear)

    async def look(self) -> None:
        """Once over everything."""
        async with self._turn:
            await self._presence.end_dead(lambda agent, life: why_dead(self._supervisor, agent, life))
            await self._presence.note_agents()
            await self._presence.end_silent()

    async def _run(self) -> None:
        while True:
            await self.look()
            await anyio.sleep(self._every_s)

    async def _hear(self) -> None:
        with self._supervisor.bus.subscribe(*_ENDS) as subscription:
            while await subscription.next():
                await self.look()
