"""Several agents of one repository, on the systems of the first."""

from __future__ import annotations

import secrets
from dataclasses import replace

import anyio

from envmgr.model.agent import AgentState
from envmgr.model.ids import AgentId
from envmgr.model.service import ServiceSpec
from envmgr.protocols.store import AgentRecord
from envmgr.runtime.incarnation import Incarnation


class Crowd:
    """Agents of one repository."""

    def __init__(self, first: Incarnation) -> None:
        self._first = first
        self.agents: dict[str, Incarnation] = {first.name: first}

    async def agent(self, name: str, *services: ServiceSpec) -> Incarnation:
        """One more, with its own worktree; `otter` is there from the beginning."""
        if name in self.agents and not services:
            return self.agents[name]
        first = self._first
        agent = AgentId(secrets.token_hex(4))
        spec = replace(first.spec, name=name, services=services or first.spec.services)
        record = AgentRecord(state=AgentState(id=agent, name=name), spec=spec)
        await first.systems.store.write(lambda tx: tx.insert_agent(record))
        path = first.path.parent / f"work-{name}"
        await anyio.Path(path).mkdir()
        assert first.worktree is not None
        self.agents[name] = Incarnation(
            id=agent,
            name=name,
            generation=1,
            spec=spec,
            repo=first.repo,
            instance=first.instance,
            layout=first.layout,
            systems=first.systems,
            worktree=replace(first.worktree, path=path),
        )
        return self.agents[name]
