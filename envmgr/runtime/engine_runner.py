"""Run units in the container engine. The engine is its own keeper: containers are found again by their labels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio

from envmgr.aio import blocking
from envmgr.errors import ConfigError, Conflict, EnvmgrError, NotFound, PortTaken, Unavailable, Unobservable
from envmgr.model.container import MountKind, PullPolicy
from envmgr.model.ids import LABEL_AGENT, LABEL_GENERATION, LABEL_INSTANCE, LABEL_SERVICE
from envmgr.model.observe import Absent, Present, ProcessIdentity, Seen, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.engine import Container, ContainerLaunch, Found, Progress
from envmgr.protocols.keepers import Held
from envmgr.runtime import container_launch, engine_use, owning, shared_networks, volumes
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supplies import Supplies, bury, is_untouched, sure

T = TypeVar("T")
_GONE = Container(id="", name="", image="", labels={}, state="dead")


class EngineRunner:
    """Containers of one generation of an agent. Images and networks are looked after once per runner."""

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc
        self._engine = inc.systems.containers
        self._watch = inc.systems.container_watch
        self._supplies = Supplies(inc)
        self._standing: dict[str, Container] = {}

    async def prepare(self, units: Sequence[str]) -> None:
        """See that the engine answers and what it has of this generation, and remove what an older one left there.

        Raises:
            Unavailable: There is none, or it does not answer; names the units that need it.
        """
        needed = f"{', '.join(units)} of {self._inc.name} {'needs' if len(units) == 1 else 'need'} it"
        match await self._engine.containers(owning.of_agent(self._inc)):
            case Unknown(reason):
                raise Unavailable(
                    f"{reason}; {needed}",
                    hint="Start Docker (such as `systemctl start docker`), then start the agent again.",
                )
            case Present(found):
                self._standing = {owning.unit_of(self._inc, c): c for c in found if not c.is_sketch}
                await self._side_by_side(self._engine.remove, [c.id for c in found if self._is_old(c)])

    def _is_old(self, container: Container) -> bool:
        """What carries a volume somewhere has no generation, and is no business of ours."""
        return container.labels.get(LABEL_GENERATION) not in (None, str(self._inc.generation))

    # --- starting ------------------------------------------------------------------------------------------------

    async def launch(
        self, service: ServiceSpec, secrets: Mapping[str, str], say: Progress | None = None
    ) -> Held:
        """See `Runner.launch`. Image, networks and volumes come first; what takes long there is told by `say`.

        A unit that has its container still keeps that image: only what is made anew fetches or builds one.

        Raises:
            PortTaken: A published port is somebody else's.
        """
        assert service.container is not None, "only containers run in the engine"
        await engine_use.note(self._inc, image=volumes.image_of(self._inc, service))
        try:
            image = await self._image(service, say)
            await self._supplies.volumes(service)
            if any(mount.kind is MountKind.BIND for mount in service.container.mounts):
                await blocking.act("file", container_launch.make_folders, self._inc, service)
            what = container_launch.build(self._inc, service, secrets, image=image)
            # An engine makes a network no faster than a container: the one goes on while the other is made.
            container = await self._run(what, partial(self._supplies.networks, service))
        except PortTaken:
            raise
        except EnvmgrError as error:
            raise type(error)(
                f"{service.name}: {error.message}", hint=error.hint, details=error.details
            ) from error
        self._watch.note(container)
        return await self._held(service, container)

    async def _image(self, service: ServiceSpec, say: Progress | None) -> str:
        if service.name in self._standing:
            with suppress(ConfigError):  # deleted by hand
                return await self._engine.image(self._standing[service.name].image, pull=PullPolicy.NEVER)
        return await self._supplies.image(service, say)

    async def _run(self, what: ContainerLaunch, before_start: Callable[[], Awaitable[None]]) -> Container:
        """Run it, in place of a container of another configuration that this unit had before."""
        try:
            with sure(self._inc, "container", what.name):
                return await self._engine.run(what, before_start=before_start)
        except PortTaken:
            raise
        except Conflict:
            match await self._engine.inspect(what.name):
                case Present(old) if self._is_mine(old):
                    await self._remove(old.id)
                    return await self._engine.run(what, before_start=before_start)
            raise

    def _is_mine(self, container: Container) -> bool:
        mine = owning.of_agent(self._inc)
        return all(container.labels.get(name) == mine[name] for name in (LABEL_INSTANCE, LABEL_AGENT))

    # --- watching ------------------------------------------------------------------------------------------------

    async def status(self) -> Mapping[str, Held]:
        """See `Runner.status`."""
        found = _answer(await self._engine.containers(owning.of_generation(self._inc)))
        held: dict[str, Held] = {}
        for container in map(self._watch.note, found):
            service = self._service(container)
            if service is not None:
                held[service.name] = await self._held(service, container)
        return held

    async def changes(self, *, also_missing: bool = False) -> AsyncIterator[Held]:
        """See `Runner.changes`. Raises Unobservable when the engine goes out of sight.

        Args:
            also_missing: Tell, as ended, of units that should run and have no container.
        """
        with self._watch.follow(self._inc.id) as follower:
            if also_missing:
                await follower.until_live()
                for service in self._missing():
                    yield self._told(service, _GONE, error="its container is gone")
            while True:
                container = await follower.next()
                found = self._service(container)
                if found is not None:
                    yield await self._held(found, container)

    def _missing(self) -> list[ServiceSpec]:
        there = {owning.unit_of(self._inc, c) for c in self._watch.of(self._inc.id)}
        mine = (s for s in self._inc.services if s.kind is ServiceKind.CONTAINER and not s.is_shared)
        return [service for service in mine if service.name not in there]

    def _service(self, container: Container) -> ServiceSpec | None:
        unit = owning.unit_of(self._inc, container)
        return next((s for s in self._inc.services if s.name == unit and s.container is not None), None)

    async def strays(self) -> Sequence[Container]:
        """Containers of the agent that run for units its spec does not know, or knows as something else."""
        found = _answer(await self._engine.containers(owning.of_agent(self._inc)))
        return [c for c in found if c.is_alive and LABEL_SERVICE in c.labels and self._service(c) is None]

    async def _held(self, service: ServiceSpec, container: Container) -> Held:
        """In the words of a keeper. Of one that has ended the last words are in the log before this returns."""
        output = self._watch.output(self._inc.home, service.name)
        if container.is_alive or container.ended_at is not None:
            await output.attend(self._watch.group, container.id, _launch(container), policy=service.logs)
        if not container.is_alive:
            await output.drained()
        identity = await self._inc.identify(container.pid) if container.pid else None
        return self._told(service, container, error=container.error, identity=identity)

    def _told(
        self,
        service: ServiceSpec,
        container: Container,
        *,
        error: str,
        identity: ProcessIdentity | None = None,
    ) -> Held:
        output = self._watch.output(self._inc.home, service.name)
        ended_at = container.ended_at or self._inc.systems.now()
        return Held(
            service=service.name,
            generation=self._inc.generation,
            launch=_launch(container),
            identity=identity,
            started_at=container.started_at,
            ended_at=None if container.is_alive else ended_at,
            exit_code=None if container.is_alive else container.exit_code,
            exit_signal=None,
            error=error,
            log=output.path,
            log_offset=output.log_offset,
            log_base=output.base,
            container=container.id,
            out_of_memory=container.out_of_memory,
        )

    async def execute(
        self, unit: str, argv: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command in a unit's container; exit status and the end of its output."""
        return await self._engine.execute(
            owning.container(self._inc, unit), argv, deadline_s=timeout_s, env=env
        )

    # --- ending --------------------------------------------------------------------------------------------------

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """See `Runner.stop`. The container stays as it is, for the next start of this generation."""
        container = await self._find(unit)
        return await self.end(container, signal=signal, grace_s=grace_s) if container else ()

    async def end(self, container: str, *, signal: str, grace_s: float) -> tuple[str, ...]:
        """The same for a container by its id or name."""
        try:
            await self._engine.stop(container, signal=signal, grace_s=grace_s)
        except NotFound:
            return ()
        return ()

    async def discard(self, unit: str) -> None:
        """Remove a unit's container."""
        if container := await self._find(unit):
            await self._remove(container)

    async def _find(self, unit: str) -> str:
        """Id of a unit's container; empty when there is none, or one of its name is somebody else's."""
        match await self._engine.inspect(owning.container(self._inc, unit)):
            case Present(found) if self._is_mine(found):
                return found.id
            case Unknown(reason):
                raise Unobservable(reason, hint="Is Docker running? `envmgr doctor` tells.")
        return ""

    async def dismiss(self) -> None:
        """See `Runner.dismiss`. Containers of all generations first, then networks, then volumes that nobody wants to keep."""
        mine = owning.of_agent(self._inc)
        if await is_untouched(self._inc):
            await engine_use.never_mind(self._inc)
            return
        containers = _answer(await self._engine.containers(mine))
        await self._side_by_side(self._remove, [c.id for c in containers])
        networks: Sequence[Found] = _answer(await self._engine.networks(mine))
        await shared_networks.disconnect(self._inc, [n.name for n in networks])
        await self._side_by_side(partial(shared_networks.remove, self._inc), [n.name for n in networks])
        if self._inc.spec.retention.volumes == "remove":
            await volumes.remove(self._inc)
        self._watch.drop_outputs(self._inc.home)
        await bury(self._inc)

    async def _remove(self, container: str) -> None:
        await self._engine.remove(container)
        self._watch.forget(container)

    async def _side_by_side(self, act: Callable[[str], Awaitable[None]], names: Sequence[str]) -> None:
        """All of them, also when one fails; the first failure is raised."""
        failures: list[EnvmgrError] = []

        async def one(name: str) -> None:
            try:
                await act(name)
            except EnvmgrError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(one, name)
        if failures:
            raise failures[0]


def _launch(container: Container) -> int:
    """Grows with each start."""
    return round(container.started_at * 1000)


async def left(inc: Incarnation) -> Sequence[str]:
    """What of this agent is still on the engine, save volumes and images: for people. Asks nobody when nothing can be there."""
    if await engine_use.look(inc) is None:
        return ()
    mine, engine = owning.of_agent(inc), inc.systems.containers
    try:
        containers = _answer(await engine.containers(mine))
        networks: Sequence[Found] = _answer(await engine.networks(mine))
    except Unobservable as error:
        return (f"containers unknown: {error.message}",)
    return (*(f"container {c.name}" for c in containers), *(f"network {n.name}" for n in networks))


def _answer(seen: Seen[Sequence[T]]) -> Sequence[T]:
    match seen:
        case Present(value):
            return value
        case Absent():
            return ()
        case Unknown(reason):
            raise Unobservable(reason, hint="Is Docker running? `envmgr doctor` tells.")
