"""What becomes of our containers: one stream of hints and one calm listing for all agents together.

Hints get lost, so the truth is a listing; a hint only makes somebody look sooner. Nothing runs while nobody follows.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus

from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.ids import LABEL_AGENT, LABEL_INSTANCE, AgentId, InstanceId
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.engine import Container, Engine
from envmgr.protocols.logs import OpenLog
from envmgr.runtime.container_log import ContainerLog

log = logging.getLogger(__name__)

_LIST_EVERY_S = 10.0
_LIST_AGAIN_S = 0.5  # what happened between the first listing and the first hint
_RETRY_S = 1.0
_REMOVED = "it was removed by somebody else"


class Follower:
    """Changes of one agent's containers, the present ones first."""

    def __init__(self) -> None:
        self._queue: deque[Container] = deque()
        self._trouble = ""
        self._is_live = False
        self._news = anyio.Event()

    def live(self) -> None:
        """Everything that is there now was told."""
        self._is_live = True
        self._news.set()

    def put(self, container: Container) -> None:
        """Queue a change."""
        self._queue.append(container)
        self._news.set()

    def fail(self, reason: str) -> None:
        """The engine is out of sight."""
        self._trouble = reason
        self._news.set()

    async def until_live(self) -> None:
        """Until everything that is there was told. Raises Unobservable as `next` does."""
        while not self._is_live:
            await self._wait()

    async def next(self) -> Container:
        """The next change. Raises Unobservable when the engine cannot be watched any more."""
        while not self._queue:
            await self._wait()
        return self._queue.popleft()

    async def _wait(self) -> None:
        if self._trouble:
            raise Unobservable(self._trouble, hint="Is Docker running? `envmgr doctor` tells.")
        self._news = anyio.Event()
        await self._news.wait()


class ContainerWatch:
    """All containers of this installation, as last seen. `run` belongs to the daemon."""

    def __init__(self, engine: Engine, instance: InstanceId, open_log: OpenLog) -> None:
        self._engine = engine
        self._instance = instance
        self._open_log = open_log
        self._known: dict[str, Container] = {}
        self._followers: dict[AgentId, list[Follower]] = {}
        self._logs: dict[tuple[Path, str], ContainerLog] = {}
        self._hints: dict[str, None] = {}
        self._looking: set[str] = set()
        self._told = 0
        self._told_of: dict[str, int] = {}
        self._wake = anyio.Event()
        self._group: TaskGroup | None = None
        self._is_live = False

    @property
    def group(self) -> TaskGroup:
        """Where copying of output runs."""
        if self._group is None:
            raise Unobservable("containers are not watched", hint="Run `envmgr daemon start`.")
        return self._group

    def known(self, container: str) -> Container | None:
        """A container by id, as last seen."""
        return self._known.get(container)

    def of(self, agent: AgentId) -> Sequence[Container]:
        """All containers of an agent, as last seen."""
        return [c for c in self._known.values() if c.labels.get(LABEL_AGENT) == agent]

    def note(self, container: Container) -> Container:
        """Somebody else has just looked at it; returns what is known of it now."""
        self._mark(container.id)
        self._tell(container)
        return self._known[container.id]

    def forget(self, container: str) -> None:
        """We have removed it ourselves: that is no news."""
        self._mark(container)
        self._known.pop(container, None)

    def output(self, home: Path, unit: str) -> ContainerLog:
        """The log of one unit."""
        if (home, unit) not in self._logs:
            path, mark = home / "logs" / f"{unit}.log", home / "containers" / f"{unit}.json"
            self._logs[home, unit] = ContainerLog(path, mark, self._engine, self._open_log)
        return self._logs[home, unit]

    def drop_outputs(self, home: Path) -> None:
        """The agent's containers are gone."""
        for key in [key for key in self._logs if key[0] == home]:
            del self._logs[key]

    @contextmanager
    def follow(self, agent: AgentId) -> Iterator[Follower]:
        """Follow an agent's containers for the time of the block."""
        follower = Follower()
        self._followers.setdefault(agent, []).append(follower)
        self._wake.set()
        if self._is_live:
            for container in self.of(agent):
                follower.put(container)
            follower.live()
        try:
            yield follower
        finally:
            self._followers[agent].remove(follower)
            if not self._followers[agent]:
                del self._followers[agent]

    # --- the loop ------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            while True:
                while not self._followers:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                try:
                    await self._watch()
                except* EnvmgrError as errors:
                    self._lose(str(_first(errors)))
                except* Exception as errors:  # a loop of the daemon owns its boundary
                    log.exception("watching containers failed")
                    self._lose(f"watching failed: {_first(errors)!r}")
                self._is_live = False
                await anyio.sleep(_RETRY_S)

    def _lose(self, reason: str) -> None:
        for follower in self._all():
            follower.fail(reason)

    def _all(self) -> list[Follower]:
        return [follower for group in self._followers.values() for follower in group]

    async def _watch(self) -> None:
        """Until nobody follows, or the engine goes away."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear)
            group.start_soon(self._heed)
            pause_s = _LIST_AGAIN_S
            while self._followers:
                await self._list()
                await anyio.sleep(pause_s)
                pause_s = _LIST_EVERY_S
            group.cancel_scope.cancel()

    async def _hear(self) -> None:
        async for container in self._engine.changes():
            self._hints[container] = None
            self._wake.set()
        raise Unobservable("the engine's events ended", hint="Is Docker running? `envmgr doctor` tells.")

    async def _heed(self) -> None:
        """Side by side: an engine may hang on one container. At each it looks once at a time."""
        async with anyio.create_task_group() as group:
            while True:
                for container in [hint for hint in self._hints if hint not in self._looking]:
                    del self._hints[container]
                    self._looking.add(container)
                    group.start_soon(self._heed_one, container)
                self._wake = anyio.Event()
                await self._wake.wait()

    async def _heed_one(self, container: str) -> None:
        try:
            await self._look(container)
        finally:
            self._looking.discard(container)
            self._wake.set()

    async def _look(self, container: str) -> None:
        began = self._told
        seen = await self._engine.inspect(container)
        if self._is_newer(container, began):  # which of the two is older, nobody knows
            self._hints[container] = None
            self._wake.set()
            return
        match seen:
            case Present(found):
                if found.labels.get(LABEL_INSTANCE) == self._instance:
                    self._mark(container)
                    self._tell(found)
            case Absent():
                self._mark(container)
                self._gone(container)
            case Unknown():  # the next listing tells whether it is the container or the engine
                pass

    async def _list(self) -> None:
        began, before = self._told, list(self._known)
        match await self._engine.containers({LABEL_INSTANCE: self._instance}):
            case Present(found):
                there: Mapping[str, Container] = {container.id: container for container in found}
            case Absent():
                there = {}
            case Unknown(reason):
                raise Unobservable(reason)
        for container in there.values():
            # What was told meanwhile is newer than the list, and may be that it has been removed.
            newest = self._known.get(container.id) if self._is_newer(container.id, began) else container
            if newest is not None:
                self._tell(newest, is_first=not self._is_live)
        for missing in before:
            if missing not in there and not self._is_newer(missing, began):
                await self._look(missing)
        self._told_of = {known: told for known, told in self._told_of.items() if told > began}
        self._is_live = True
        for follower in self._all():
            follower.live()

    def _mark(self, container: str) -> None:
        """Something is told of it now: what was asked before is older."""
        self._told += 1
        self._told_of[container] = self._told

    def _is_newer(self, container: str, began: int) -> bool:
        return self._told_of.get(container, 0) > began

    def _tell(self, container: Container, *, is_first: bool = False) -> None:
        before = self._known.get(container.id)
        if container.is_sketch and before is not None:
            container = replace(before, state=container.state, exit_code=container.exit_code)
        self._known[container.id] = container
        if is_first or before is None or _facts(before) != _facts(container):
            self._publish(container)

    def _gone(self, container: str) -> None:
        before = self._known.pop(container, None)
        if before is not None and before.is_alive:
            self._publish(replace(before, state="dead", pid=0, error=_REMOVED))

    def _publish(self, container: Container) -> None:
        for follower in self._followers.get(AgentId(container.labels.get(LABEL_AGENT, "")), ()):
            follower.put(container)


def _facts(container: Container) -> tuple[object, ...]:
    return (
        container.state,
        container.pid,
        container.exit_code,
        container.started_at,
        container.health,
        container.out_of_memory,
    )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
