"""Watch the worktrees of agents that run, and the main checkouts of their repositories (R-8).

In a worktree the agent writes. In a main checkout anybody may: it was the agent whose assistant said that it writes this file,
or ran a command that names the checkout; else all agents that were at work may have been it, and so may a person.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.model.agent import Activity
from envmgr.model.ids import AgentId
from envmgr.model.observed import Evidence, Write
from envmgr.protocols.watching import FolderWatcher
from envmgr.runtime.actor import Actor
from envmgr.runtime.observing.checkout import Checkout
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.changes import Changes, Writer

log = logging.getLogger(__name__)

_AGAIN_S = 10.0
_AT_ONCE = 4
_FRESH_S = 0.5
_PRUNE_S = 3600.0
_QUIET_ABOUT_S = 600.0
_MOST_QUIET = 10_000

Key = tuple[str, int]
"""An agent and its generation, or a repository."""


class Observer:
    """One task of the daemon for all checkouts. `since` is Unix time: what was written before counts for nothing."""

    def __init__(
        self,
        supervisor: Supervisor,
        watcher: FolderWatcher,
        changes: Changes,
        *,
        quiet_s: float,
        since: float,
    ) -> None:
        self._supervisor = supervisor
        self._watcher = watcher
        self._changes = changes
        self._quiet_s = quiet_s
        self._since = since
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self._running: dict[Key, anyio.CancelScope] = {}
        self._looked_at = 0.0
        self._trees: frozenset[str] = frozenset()
        self._unknown: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        with self._supervisor.bus.subscribe("agent.") as news:
            async with anyio.create_task_group() as group:
                self._running.clear()  # of an earlier run that failed
                self._sync(group)
                while events := await news.next():
                    self._sync(group)
                    for event in events:
                        if event.kind == "agent.removed":
                            await self._changes.forget(event.agent)
                group.cancel_scope.cancel()

    async def forget_old(self) -> None:
        """Until cancelled: what is too old goes now and then."""
        while True:
            await self._changes.prune()
            await anyio.sleep(_PRUNE_S)

    def _sync(self, group: TaskGroup) -> None:
        alive = [actor for actor in self._supervisor.actors() if actor.state.is_alive]
        agents: dict[Key, Actor] = {(actor.state.id, actor.state.generation): actor for actor in alive}
        wanted = [*agents, *{(actor.spec.repo, 0) for actor in alive}]
        for key in self._running.keys() - set(wanted):
            self._running.pop(key).cancel()
        for key in wanted:
            if key not in self._running:
                self._running[key] = scope = anyio.CancelScope()
                tasks.start(group, "watching a checkout", self._keep, key, agents.get(key), scope)

    async def _keep(self, key: Key, actor: Actor | None, scope: anyio.CancelScope) -> None:
        """Watch one checkout, again after a failure."""
        since = self._since
        with scope:
            while True:
                try:
                    if actor is None:
                        await self._watch_main(key[0], since=self._supervisor.systems.now())
                    else:
                        await self._watch(actor, since=max(since, actor.state.since))
                except Exception:  # a loop of the daemon owns its boundary: it goes on after a pause
                    log.exception("files not watched", extra={"what": key[0]})
                await anyio.sleep(_AGAIN_S)
                since = self._supervisor.systems.now()

    async def _watch(self, actor: Actor, *, since: float) -> None:
        inc = await self._supervisor.incarnation(actor)
        writer = Writer(agent=actor.state.id, name=actor.state.name, repo=actor.spec.repo)

        async def report(writes: Sequence[Write]) -> None:
            await self._changes.observed(writer, writes)

        await self._checkout(inc.path).run(report, since=since)

    async def _watch_main(self, repo: str, *, since: float) -> None:
        async def report(writes: Sequence[Write]) -> None:
            for writer, some in self._writers(repo, writes).items():
                await self._changes.observed(writer, some)

        await self._checkout(Path(repo)).run(report, since=since)

    def _checkout(self, top: Path) -> Checkout:
        return Checkout(
            top,
            self._supervisor.systems.workspaces,
            self._watcher,
            is_others=lambda folder: folder in self._worktrees(),
            quiet_s=self._quiet_s,
            at_once=self._at_once,
        )

    def _worktrees(self) -> frozenset[str]:
        """Asked for each folder, from threads: so it is looked up now and then."""
        now = time.monotonic()
        if now - self._looked_at > _FRESH_S:
            self._looked_at = now
            known = [actor.incarnation for actor in self._supervisor.actors()]
            self._trees = frozenset(str(inc.path) for inc in known if inc is not None)
        return self._trees

    def _writers(self, repo: str, writes: Sequence[Write]) -> dict[Writer, list[Write]]:
        """Who it was, as far as is known."""
        found: dict[Writer, list[Write]] = defaultdict(list)
        for write in writes:
            if writer := self._writer(repo, write):
                found[writer].append(write)
        return found

    def _writer(self, repo: str, write: Write) -> Writer | None:
        """None when nobody is at work, or was told of this file a short while ago."""
        if known := self._changes.mentions.who(repo, write):
            agent, evidence = known
            actor = self._supervisor.actor(AgentId(agent))
            name = actor.state.name if actor else agent
            return Writer(
                agent=agent, name=name, repo=repo, is_main=True, evidence=evidence, suspects=(name,)
            )
        suspects = tuple(
            actor.state.name
            for actor in self._supervisor.actors()
            if actor.spec.repo == repo and actor.state.is_alive and actor.state.activity is Activity.WORKING
        )
        if not suspects or not self._is_time(repo, write):
            return None
        return Writer(
            agent="", name="", repo=repo, is_main=True, evidence=Evidence.WORKING, suspects=suspects
        )

    def _is_time(self, repo: str, write: Write) -> bool:
        """A person who edits there while agents work shall not drown them in notes."""
        last = self._unknown.get((repo, write.path), 0.0)
        if write.at - last < _QUIET_ABOUT_S:
            return False
        if len(self._unknown) >= _MOST_QUIET:
            self._unknown.clear()
        self._unknown[repo, write.path] = write.at
        return True
