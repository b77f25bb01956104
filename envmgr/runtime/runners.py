"""Who runs services: an agent's keeper for processes, the container engine for containers; both tell in the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from envmgr.errors import Unobservable
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Held, Keeper, Launch
from envmgr.runtime import balancing, rendering
from envmgr.runtime.incarnation import Incarnation


class Runner(Protocol):
    """Runs units of one agent's generation. All calls raise Unobservable when whoever does it gives no answer."""

    async def launch(self, service: ServiceSpec, secrets: Mapping[str, str]) -> Held:
        """Start a unit; one that runs already in this generation is returned as it is."""

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """Signal, grace, KILL, verify; describes what survived. Stopping twice is harmless."""

    async def status(self) -> Mapping[str, Held]:
        """All units it was asked to run in this generation, ended ones too."""

    def changes(self) -> AsyncIterator[Held]:
        """Starts and ends as they happen, beginning with the present state of each unit; ends when the runner does."""

    async def dismiss(self) -> None:
        """Give back what served all units together. Raises Conflict while one of them lives."""


class KeeperRunner:
    """Processes under the agent's keeper."""

    def __init__(self, inc: Incarnation, keeper: Keeper) -> None:
        self._inc = inc
        self._keeper = keeper

    async def launch(self, service: ServiceSpec, secrets: Mapping[str, str]) -> Held:
        """See `Runner.launch`. Environment and command are rendered now, so they hold the ports of now."""
        if service.kind is ServiceKind.BALANCER:
            what = await balancing.launch(self._inc, service)
        else:
            what = self._what(service, secrets)
        with self._named():
            return await self._keeper.launch(what)

    def _what(self, service: ServiceSpec, secrets: Mapping[str, str]) -> Launch:
        known = rendering.values(self._inc, secrets, service.name)
        return Launch(
            service=service.name,
            generation=self._inc.generation,
            argv=rendering.command(service.command, service.shell, known),
            cwd=self._inc.path / service.cwd,
            env=rendering.service_env(self._inc, service, secrets),
            logs=service.logs,
            limits=service.limits,
        )

    async def stop(self, unit: str, *, signal: str = "SIGTERM", grace_s: float = 10.0) -> tuple[str, ...]:
        """See `Runner.stop`."""
        with self._named():
            left = await self._keeper.stop(unit, signal=signal, grace_s=grace_s)
        return tuple(f"{unit} (pid {pid})" for pid in left)

    async def status(self) -> Mapping[str, Held]:
        """See `Runner.status`."""
        with self._named():
            return await self._keeper.status()

    def changes(self) -> AsyncIterator[Held]:
        """See `Runner.changes`."""
        return self._keeper.changes()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """Those that an agent has at this moment."""

    keeper: KeeperRunner | None = None

    def of(self, service: ServiceSpec) -> Runner:
        """Who runs a unit; only for units that `needs_runner`."""
        assert self.keeper is not None, f"nobody was hired for {service.name}"
        return self.keeper

    def all(self) -> tuple[Runner, ...]:
        """Each once."""
        return tuple(runner for runner in (self.keeper,) if runner is not None)


def needs_runner(service: ServiceSpec) -> bool:
    """Whether something of ours runs for it; external services and groups only stand for something."""
    return service.kind not in (ServiceKind.EXTERNAL, ServiceKind.GROUP)


async def hire(inc: Incarnation) -> Runners:
    """All runners that the agent's units need."""
    if not any(needs_runner(service) for service in inc.services):
        return Runners()
    return Runners(keeper=KeeperRunner(inc, await inc.systems.keepers.hire(inc.home, owner=inc.tag)))


async def find_keeper(inc: Incarnation) -> Seen[KeeperRunner]:
    """The keeper of this generation, if there is one."""
    match await inc.systems.keepers.find(inc.home, owner=inc.tag):
        case Present(keeper):
            return Present(KeeperRunner(inc, keeper))
        case Absent():
            return Absent()
        case Unknown(reason):
            return Unknown(reason)
