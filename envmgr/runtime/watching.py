"""Services that follow files (`watch`): one watch per running agent, one reaction per burst of changes.

While git rewrites the worktree nothing is done; what has changed by then counts as one change. A service that would follow more
than ten times a minute most likely writes what it watches: it is let be until its files have been quiet for a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup

from envmgr.core import graph, relevance
from envmgr.core.replicas import members
from envmgr.errors import Conflict, EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.service import ChangeAction, ServiceSpec, WatchSpec
from envmgr.protocols.watching import FolderWatcher
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reacting import react
from envmgr.runtime.rewriting import Rewriting
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_NEWS = ("agent.", "change.")
_QUIET_S = 60.0
_TOLD_FILES = 5
_AGAIN_S = 10.0

Rule = tuple[str, WatchSpec]
"""(service, what it follows)"""
Key = tuple[AgentId, int, tuple[Rule, ...]]


class Watches:
    """One task of the daemon for all agents."""

    def __init__(self, supervisor: Supervisor, control: Control, watcher: FolderWatcher) -> None:
        self._supervisor = supervisor
        self._control = control
        self._watcher = watcher
        self._running: dict[Key, anyio.CancelScope] = {}

    async def run(self) -> None:
        """Until cancelled: keep a watch for each running agent with services that follow files."""
        with self._supervisor.bus.subscribe(*_NEWS) as news:
            async with anyio.create_task_group() as group:
                self._running.clear()  # of an earlier run that failed
                self._sync(group)
                while await news.next():
                    self._sync(group)
                group.cancel_scope.cancel()

    def _sync(self, group: TaskGroup) -> None:
        wanted = {_key(actor): actor for actor in self._supervisor.actors() if _rules(actor)}
        for key in self._running.keys() - wanted.keys():
            self._running.pop(key).cancel()
        for key in wanted.keys() - self._running.keys():
            self._running[key] = scope = anyio.CancelScope()
            group.start_soon(self._watch, wanted[key], key[2], scope)

    async def _watch(self, actor: Actor, rules: Sequence[Rule], scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    inc = await self._supervisor.incarnation(actor)
                    async with anyio.create_task_group() as group:
                        git = Rewriting(inc.path)
                        followers = [_Follower(self, actor, inc, git, rule) for rule in rules]
                        for follower in followers:
                            group.start_soon(follower.run)
                        await self._listen(inc, followers)
                except Exception:  # a loop of the daemon owns its boundary: it goes on after a pause
                    log.exception("files not watched", extra={"agent": actor.state.id})
                await anyio.sleep(_AGAIN_S)

    async def _listen(self, inc: Incarnation, followers: Sequence[_Follower]) -> None:
        roots = {inc.path / path for follower in followers for path in follower.watch.paths}
        quiet_s = min(follower.watch.debounce_s for follower in followers)
        changes = self._watcher.below(roots, ignored=relevance.is_passed_by, quiet_s=quiet_s)
        async with aclosing(changes) as bunches:
            async for touched in bunches:
                names = sorted(path.relative_to(inc.path).as_posix() for path in touched)
                for follower in followers:
                    follower.hear([n for n in names if relevance.concerns(follower.watch, n)], quiet_s)

    async def act(self, actor: Actor, inc: Incarnation, rule: Rule, files: Sequence[str]) -> None:
        """Carry out one reaction; who cannot follow now, because the agent is being stopped, need not."""
        name, watch = rule
        action = watch.reaction.action
        data = {"service": name, "action": action.value, "files": list(files[:_TOLD_FILES])}
        await self.tell(actor, "watch.changed", data)
        try:
            chosen = _with_dependants(inc, name) if watch.cascade else [name]
            match action:
                case ChangeAction.RESTART:
                    await self._control.restart(actor, chosen, cause="watch")
                case ChangeAction.RECREATE:
                    units = [unit.name for one in chosen for unit in members(inc.services, one)]
                    made = [unit.name for unit in members(inc.services, name)]
                    again = [unit for unit in units if unit not in made]
                    await self._control.settle(actor, recreate=made, restart=again, cause="watch")
                case ChangeAction.SIGNAL | ChangeAction.EXEC:
                    await self._notify(actor, inc, members(inc.services, name), watch)
        except Conflict as error:
            log.info("not followed", extra={"agent": inc.id, "service": name, "why": error.message})
        except EnvmgrError as error:
            await self.tell(actor, "notice", {"text": f"{name} did not follow a change: {error.message}"})

    async def _notify(
        self, actor: Actor, inc: Incarnation, units: Sequence[ServiceSpec], watch: WatchSpec
    ) -> None:
        secrets = await inc.secrets()
        for unit in units:
            if why := await react(inc, unit, watch.reaction, secrets=secrets):
                await self.tell(actor, "notice", {"text": f"{unit.name} did not follow a change: {why}"})

    async def tell(self, actor: Actor, kind: str, data: Mapping[str, object]) -> None:
        """Record an event of the agent."""
        state = actor.state
        event = NewEvent(kind=kind, agent=state.id, generation=state.generation, data=data)
        await self._supervisor.record(event)


class _Follower:
    """One service and what it follows."""

    def __init__(self, watches: Watches, actor: Actor, inc: Incarnation, git: Rewriting, rule: Rule) -> None:
        self._service, self.watch = rule
        self._watches = watches
        self._actor = actor
        self._inc = inc
        self._git = git
        self._pace = relevance.Pace()
        self._files: dict[str, None] = {}
        self._more_quiet_s = 0.0
        self._news = anyio.Event()

    def hear(self, files: Sequence[str], quiet_s: float) -> None:
        """These have changed and it has been quiet for some time since."""
        if files:
            self._files |= dict.fromkeys(files)
            self._more_quiet_s = max(0.0, self.watch.debounce_s - quiet_s)
            self._news.set()
            self._news = anyio.Event()

    async def run(self) -> None:
        """Until cancelled. What changes during a reaction is followed by one more."""
        while True:
            if not self._files:
                await self._news.wait()
            await self._quiet(self._more_quiet_s)
            await self._git.until_done()
            if not self._pace.allows(time.monotonic()):
                await self._suspend()
            files, self._files = list(self._files), {}
            await self._watches.act(self._actor, self._inc, (self._service, self.watch), files)

    async def _quiet(self, seconds: float) -> None:
        """Until nothing has been heard for so long."""
        while seconds:
            with anyio.move_on_after(seconds):
                await self._news.wait()
                continue
            return

    async def _suspend(self) -> None:
        data = {"service": self._service, "files": list(self._files)[:_TOLD_FILES]}
        await self.tell("watch.suspended", data)
        await self._quiet(_QUIET_S)
        self._pace.begin_anew()
        await self.tell("watch.resumed", {"service": self._service})

    async def tell(self, kind: str, data: Mapping[str, object]) -> None:
        """Record an event of the agent."""
        await self._watches.tell(self._actor, kind, data)


def _key(actor: Actor) -> Key:
    return actor.state.id, actor.state.generation, _rules(actor)


def _rules(actor: Actor) -> tuple[Rule, ...]:
    """What is followed in this agent now. Shared services work in the main checkout, which is the person's to rewrite."""
    if not actor.state.is_alive:
        return ()
    own = (service for service in actor.spec.services if not service.is_shared)
    return tuple((service.name, watch) for service in own for watch in service.watch)


def _with_dependants(inc: Incarnation, name: str) -> list[str]:
    """The service, and all that depend on it, directly or not; external and shared ones are not ours to restart."""
    services = inc.spec.services
    needs = graph.dependants({s.name: [edge.service for edge in s.depends_on] for s in services})
    found = graph.closure(needs, [name])
    return [s.name for s in services if s.name in found and not s.is_shared]
