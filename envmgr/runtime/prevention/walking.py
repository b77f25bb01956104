"""Sizes of worktrees: walked one at a time, and only those of agents that have done something since."""

from __future__ import annotations

import logging
import time

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.ids import AgentId
from envmgr.protocols.gauges import Gauges
from envmgr.runtime.measures import AgentUse, Measures
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_TURN = 0.1
_WORKED_S = 0.5


class Walks:
    """The loop.

    Args:
        period_s: Least time between two walks through one worktree.
    """

    def __init__(
        self, supervisor: Supervisor, gauges: Gauges, measures: Measures, *, period_s: float
    ) -> None:
        self._supervisor = supervisor
        self._gauges = gauges
        self._measures = measures
        self._period_s = period_s
        self._walked: dict[AgentId, tuple[float, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(_TURN * self._period_s)
            try:
                await self.walk()
            except EnvmgrError as error:  # walked again later
                log.warning("worktree not measured", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("worktree not measured")

    async def walk(self) -> None:
        """Through the worktree that waits longest, if one is due."""
        self._walked = {agent: seen for agent, seen in self._walked.items() if agent in self._measures.agents}
        due = [agent for agent, use in self._measures.agents.items() if self._is_due(agent, use)]
        if not due:
            return
        agent = min(due, key=lambda one: self._walked.get(one, (0.0, 0.0))[0])
        use, actor = self._measures.agents[agent], self._supervisor.actor(agent)
        self._walked[agent] = (time.monotonic(), use.cpu_s)
        if actor is not None and actor.incarnation is not None and actor.incarnation.worktree is not None:
            use.size = await self._gauges.size(actor.incarnation.worktree.path)

    def _is_due(self, agent: AgentId, use: AgentUse) -> bool:
        if use.size is None:
            return True
        at, cpu_s = self._walked.get(agent, (float("-inf"), 0.0))
        return time.monotonic() - at >= self._period_s and abs(use.cpu_s - cpu_s) > _WORKED_S
