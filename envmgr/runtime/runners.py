"""Who runs services: an agent's keeper for processes, the container engine for containers; both tell in the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from envmgr.core.keys import typed
from envmgr.errors import PortTaken, Unobservable
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.engine import Progress
from envmgr.protocols.keepers import Held, Keeper, Launch, Listen
from envmgr.runtime import balancing, probes, rendering, shared_networks, sharing, tiers
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.outcomes import start_deadline
from envmgr.runtime.subjects import subject


class Runner(Protocol):
    """Runs units of one agent's generation. All calls raise Unobservable when whoever does it gives no answer."""

    async def launch(
        self, service: ServiceSpec, secrets: Mapping[str, str], say: Progress | None = None
    ) -> Held:
        """Start a unit; one that runs already in this generation is returned as it is.

        Args:
            say: Told about what takes long before the start, such as the fetching of an image.
        """

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """Signal, grace, KILL, verify; describes what survived. Stopping twice is harmless."""

    async def status(self) -> Mapping[str, Held]:
        """All units it was asked to run in this generation, ended ones too."""

    def changes(self) -> AsyncIterator[Held]:
        """Starts and ends as they happen, beginning with the present state of each unit; ends when the runner does."""

    async def discard(self, unit: str) -> None:
        """Forget what a stopped unit left for its next start, such as its container."""

    async def dismiss(self) -> None:
        """Give back what served all units together. Raises Conflict while one of them lives."""


class KeeperRunner:
    """Processes under the agent's keeper."""

    def __init__(self, inc: Incarnation, keeper: Keeper) -> None:
        self._inc = inc
        self._keeper = keeper

    async def launch(
        self, service: ServiceSpec, secrets: Mapping[str, str], say: Progress | None = None
    ) -> Held:
        """See `Runner.launch`. Environment and command are rendered now, so they hold the ports of now."""
        if service.kind is ServiceKind.BALANCER:
            what = await balancing.launch(self._inc, service)
        else:
            what = self._what(service, secrets)
        with self._named():
            return await self._keeper.launch(what)

    def _what(self, service: ServiceSpec, secrets: Mapping[str, str]) -> Launch:
        known = rendering.values(self._inc, secrets, service.name)
        argv = rendering.command(service.command, service.shell, known)
        env = rendering.service_env(self._inc, service, secrets)
        return Launch(
            service=service.name,
            generation=self._inc.generation,
            argv=tiers.wrapped(argv, service.limits, self._inc.systems.scopes, env=env),
            cwd=self._inc.path / service.cwd,
            env=env,
            logs=service.logs,
            limits=service.limits,
            tty=service.tty,
            stdin=service.stdin,
            listen=tuple(self._listen(service)),
        )

    def _listen(self, service: ServiceSpec) -> Iterator[Listen]:
        for port in service.ports:
            if port.listen:
                host = port.bind or self._inc.spec.ports.bind
                yield Listen(name=port.name, host=host, port=self._inc.port(service.name, port.name))

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """See `Runner.stop`. Keys of the service's own come first."""
        keys = next((typed(one.stop.keys) for one in self._inc.services if one.name == unit), "")
        with self._named():
            left = await self._keeper.stop(unit, signal=signal, grace_s=grace_s, keys=keys)
        return tuple(f"{unit} (pid {pid})" for pid in left)

    async def status(self) -> Mapping[str, Held]:
        """See `Runner.status`."""
        with self._named():
            return await self._keeper.status()

    def changes(self) -> AsyncIterator[Held]:
        """See `Runner.changes`."""
        return self._keeper.changes()

    async def discard(self, unit: str) -> None:
        """See `Runner.discard`. A process leaves nothing but what its next launch would have found open."""
        with self._named():
            await self._keeper.forget(unit)

    async def dismiss(self) -> None:
        """See `Runner.dismiss`."""
        with self._named():
            await self._keeper.dismiss()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A keeper knows its folder only; people know agents."""
        try:
            yield
        except Unobservable as error:
            raise Unobservable(
                f"the keeper of {self._inc.name} does not answer ({error.details.get('error', 'no answer')})",
                hint=error.hint,
                details=error.details,
            ) from error


class SharedRunner:
    """One shared service, for one of the agents that hold it."""

    def __init__(self, inc: Incarnation, common: sharing.Common, inner: Runner) -> None:
        """`inner` runs the one instance, which is `common`."""
        self._inc = inc
        self._common = common
        self._inner = inner

    async def launch(
        self, service: ServiceSpec, secrets: Mapping[str, str], say: Progress | None = None
    ) -> Held:
        """See `Runner.launch`. Who comes second finds it running."""
        async with self._inc.systems.turns.of(self._common.id):
            await self._learn_ports()
            held = (await self._inner.status()).get(service.name)
            if held is None or not held.is_alive:
                held = await self._inner.launch(self._common.service(service.name), secrets, say)
            if held.container:
                await shared_networks.connect(self._inc, service)
            return held

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """See `Runner.stop`. While others use it, and can, it goes on."""
        async with self._inc.systems.turns.of(self._common.id):
            share = await self._inc.systems.store.read(lambda tx: sharing.read(tx, self._common.id))
            if share and set(share.holders) - {self._inc.id} and not await self._is_broken(unit):
                return ()
            return await self._inner.stop(unit, signal=signal, grace_s=grace_s)

    async def move(self, unit: str, *, taken: int) -> None:
        """Lease another port in place of one that somebody else took, unless another agent's start was first."""
        async with self._inc.systems.turns.of(self._common.id):
            await self._learn_ports()
            if taken in self._common.ports.values():
                await self._inner.stop(unit, grace_s=2.0)  # of no use to anybody
                await claim_ports(self._common, busy={taken})
                self._inc.ports.update(self._common.ports)

    async def _learn_ports(self) -> None:
        """It may have moved since."""
        known = await self._inc.systems.store.read(lambda tx: sharing.held(tx, self._common.id))
        self._common.ports.update(known)
        self._inc.ports.update(self._common.ports)

    async def _is_broken(self, unit: str) -> bool:
        """It has had its time to get ready, and is not, or hangs: of no use to anybody."""
        service = self._common.service(unit)
        held = (await self._inner.status()).get(unit)
        looks = [look for look in (service.ready, service.live) if look is not None]
        if held is None or not held.is_alive:
            return False
        if self._inc.systems.now() < held.started_at + start_deadline(service):
            return False
        secrets = await self._inc.secrets()
        looked_at = subject(self._common, service, held, secrets)
        for look in looks:
            probe = rendering.probe_of(self._common, service, look.probe, secrets)
            try:
                answer = await probes.look(probe, looked_at, timeout_s=look.timeout_s)
            except PortTaken:
                return True
            if not (answer.is_ready or answer.is_unknown):
                return True
        return False

    async def status(self) -> Mapping[str, Held]:
        """See `Runner.status`."""
        return await self._inner.status()

    def changes(self) -> AsyncIterator[Held]:
        """See `Runner.changes`."""
        return self._inner.changes()

    async def discard(self, unit: str) -> None:
        """See `Runner.discard`. The others may need it."""

    async def dismiss(self) -> None:
        """See `Runner.dismiss`. That is for the last one who leaves, see `runtime.shared`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """Those that an agent has at this moment."""

    keeper: KeeperRunner | None = None
    engine: EngineRunner | None = None
    shared: Mapping[str, SharedRunner] = field(default_factory=dict)

    def of(self, service: ServiceSpec) -> Runner:
        """Who runs a unit; only for units that `needs_runner`."""
        if service.name in self.shared:
            return self.shared[service.name]
        runner = self.engine if service.container is not None else self.keeper
        assert runner is not None, f"nobody was hired for {service.name}"
        return runner

    def all(self) -> tuple[Runner, ...]:
        """Each once."""
        own = tuple(runner for runner in (self.keeper, self.engine) if runner is not None)
        return (*own, *self.shared.values())


def needs_runner(service: ServiceSpec) -> bool:
    """Whether something of ours runs for it; external services and groups only stand for something."""
    return service.kind not in (ServiceKind.EXTERNAL, ServiceKind.GROUP)


def own_units(inc: Incarnation) -> tuple[ServiceSpec, ...]:
    """The units that run for this agent alone."""
    return tuple(service for service in inc.services if needs_runner(service) and not service.is_shared)


async def hire(inc: Incarnation) -> Runners:
    """All runners that the agent's units need, ready to launch."""
    own = own_units(inc)
    engine = keeper = None
    if contained := [service.name for service in own if service.container is not None]:
        engine = EngineRunner(inc)
        await engine.prepare(contained)
    if len(contained) < len(own):
        keeper = KeeperRunner(inc, await inc.systems.keepers.hire(inc.home, owner=inc.tag))
    shared = {s.name: await _share(inc, s) for s in sharing.shared_services(inc)}
    return Runners(keeper=keeper, engine=engine, shared=shared)


async def _share(inc: Incarnation, service: ServiceSpec) -> SharedRunner:
    common = sharing.common(inc, service)
    async with inc.systems.turns.of(common.id):
        inner = (await hire(common)).of(common.service(service.name))
    return SharedRunner(inc, common, inner)


async def find_shared(inc: Incarnation, service: ServiceSpec) -> SharedRunner | None:
    """Who runs a shared service, if anybody does."""
    common = sharing.common(inc, service)
    if service.container is not None:
        return SharedRunner(inc, common, EngineRunner(common))
    match await find_keeper(common):
        case Present(keeper):
            return SharedRunner(inc, common, keeper)
    return None


async def find_keeper(inc: Incarnation) -> Seen[KeeperRunner]:
    """The keeper of this generation, if there is one."""
    match await inc.systems.keepers.find(inc.home, owner=inc.tag):
        case Present(keeper):
            return Present(KeeperRunner(inc, keeper))
        case Absent():
            return Absent()
        case Unknown(reason):
            return Unknown(reason)
