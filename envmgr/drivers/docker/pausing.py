"""Freeze containers and let them go on.

A command that is just being started in a container while that is frozen blocks the engine's runtime: the container can neither be
asked nor let go any more (runc 1.1, moby 20.10). So our own commands are held meanwhile, those of others are looked for, and when
it happens all the same the kernel's freezer is told directly.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.drivers.docker.calls import ENDING, Calls, Client
from envmgr.drivers.docker.trouble import unless
from envmgr.errors import NotFound, Unavailable, Unobservable

_OWN_S = 3.0
_STARTING_S = 10.0
_PAUSE_S = 20.0
_STUCK_S = 4.0
_POLL_S = 0.02
_THAWED_S = 0.5
_TRIES = 5

_FREEZERS = (
    ("/sys/fs/cgroup/freezer/{place}/freezer.state", "THAWED", "FROZEN"),
    ("/sys/fs/cgroup/{place}/cgroup.freeze", "0", "1"),
)
_PLACES = ("docker/{id}", "system.slice/docker-{id}.scope")


@dataclass(frozen=True, slots=True)
class _Freezer:
    """The file by which the kernel freezes a container, and the words for going on and for freezing."""

    file: Path
    thawed: str
    frozen: str

    async def is_closed(self) -> bool:
        """Whether it is frozen; False when that cannot be seen."""
        try:
            said = await blocking.look("file", 5.0, self.file.read_text, encoding="ascii")
        except OSError:
            return False
        return said.strip() not in (self.thawed, "")

    async def write(self, word: str) -> None:
        await blocking.act("file", self.file.write_text, word, encoding="ascii")


class Gate:
    """Holds commands of ours while their container is frozen. A container may be called by its name or its id."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._ended = anyio.Event()
        self._closed: dict[str, anyio.Event] = {}

    @asynccontextmanager
    async def passed(self, container: str) -> AsyncIterator[None]:
        """A command runs inside of the block."""
        while (closed := self._closed.get(container)) is not None:
            await closed.wait()
        self._running[container] += 1
        try:
            yield
        finally:
            self._running[container] -= 1
            self._ended.set()

    def close(self, names: Sequence[str]) -> None:
        """From now on commands wait."""
        event = anyio.Event()
        for name in names:
            self._closed.setdefault(name, event)

    async def emptied(self, names: Sequence[str], *, within_s: float) -> None:
        """Wait for commands under way; who runs on has been started for certain, and may be frozen."""
        with anyio.move_on_after(within_s):
            while any(self._running[name] for name in names):
                self._ended = anyio.Event()
                await self._ended.wait()

    def open(self, container: str) -> None:
        """Let them go on; harmless when it is open."""
        closed = self._closed.get(container)
        for name in [name for name, event in self._closed.items() if event is closed]:
            self._closed.pop(name).set()


class Pausing:
    """See `Engine`."""

    _calls: Calls
    _gate: Gate

    async def pause(self, container: str) -> None:
        """See `Engine.pause`."""
        what = f"pausing {container}"
        found = await self._calls.look(lambda client: client.inspect_container(container), what=what)
        names = list({container, found["Id"], found["Name"].removeprefix("/")})
        self._gate.close(names)
        try:
            await self._gate.emptied(names, within_s=_OWN_S)
            await self._all_started(container)
            freeze = partial(_pause, container=container)
            await self._calls.act(freeze, what=what, deadline_s=_PAUSE_S)
        except BaseException:
            self._gate.open(container)
            raise

    async def unpause(self, container: str) -> None:
        """See `Engine.unpause`."""
        try:
            await self._go_on(container)
        except Unobservable:
            await self._free(container)
        finally:
            self._gate.open(container)

    async def _go_on(self, container: str, *, within_s: float = _STUCK_S) -> None:
        with suppress(NotFound):
            go_on = partial(_unpause, container=container)
            await self._calls.act(go_on, what=f"unpausing {container}", deadline_s=within_s, lane=ENDING)

    async def _all_started(self, container: str) -> None:
        """Wait until no command of anybody, the image's health check too, is just being started."""
        is_starting = partial(_is_starting, container=container)
        with anyio.move_on_after(_STARTING_S):
            while True:
                if not await self._calls.look(is_starting, what=f"looking at {container}"):
                    return
                await anyio.sleep(_POLL_S)

    async def _free(self, container: str) -> None:
        """Let the command that blocks the runtime get started, then unpause again.

        Frozen in between: the runtime refuses to let go what is not.
        """
        identity = await self._calls.look(partial(_identity, container=container), what="listing containers")
        freezer = await blocking.act("file", _freezer, identity)
        if not await freezer.is_closed():  # it runs, and the engine is only slow
            return await self._go_on(container, within_s=self._calls.change_s)
        try:
            for _ in range(_TRIES):
                await freezer.write(freezer.thawed)
                await anyio.sleep(_THAWED_S)
                await freezer.write(freezer.frozen)
                with suppress(Unobservable):
                    await self._go_on(container)
                    return await freezer.write(freezer.thawed)  # whatever the engine took it for
            await freezer.write(freezer.thawed)
        except FileNotFoundError:
            return None  # it has ended
        except OSError as error:
            raise _stuck(container, freezer) from error
        except BaseException:
            with anyio.CancelScope(shield=True):
                await freezer.write(freezer.thawed)
            raise
        raise _stuck(container, freezer)


def _pause(client: Client, container: str) -> None:
    unless(client.pause, container, is_fine="already paused")


def _unpause(client: Client, container: str) -> None:
    """Blocking. A pause that has just been made may not have reached the runtime's own book: it is asked again."""
    import docker.errors

    for _ in range(20):
        try:
            return unless(client.unpause, container, is_fine="is not paused")
        except docker.errors.APIError as error:
            if "cannot resume a running process" not in (error.explanation or ""):
                raise
        time.sleep(0.1)
    return unless(client.unpause, container, is_fine="cannot resume a running process")


def _is_starting(client: Client, container: str) -> bool:
    import docker.errors

    for command in client.inspect_container(container).get("ExecIDs") or ():
        with suppress(docker.errors.NotFound):
            seen = client.exec_inspect(command)
            if seen["Running"] and not seen["Pid"]:
                return True
    return False


def _identity(client: Client, container: str) -> str:
    """From the list: an engine that is stuck with it answers nothing about it alone."""
    for each in client.containers(all=True):
        if each["Id"] == container or f"/{container}" in each["Names"]:
            return str(each["Id"])
    return container


def _freezer(identity: str) -> _Freezer:
    candidates = [
        _Freezer(Path(path.format(place=place.format(id=identity))), thawed, frozen)
        for path, thawed, frozen in _FREEZERS
        for place in _PLACES
    ]
    return next((each for each in candidates if each.file.exists()), candidates[0])


def _stuck(container: str, freezer: _Freezer) -> Unavailable:
    name, file = container[:12], freezer.file
    by_hand = (
        f"echo {freezer.thawed} > {file}; sleep 1; echo {freezer.frozen} > {file}; docker unpause {name}"
    )
    return Unavailable(
        f"the engine cannot let {name} go on: a command was being started in it when it was paused",
        hint=f"Run as root: `{by_hand}`.",
    )
