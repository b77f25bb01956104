"""A unit's container as its probes see it."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.errors import Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.engine import Container
from envmgr.runtime import owning, viewpoint
from envmgr.runtime.incarnation import Incarnation


class ContainerView:
    """See `answers.Inside`. A connection to a published port proves nothing: the engine itself accepts it."""

    def __init__(self, inc: Incarnation, service: ServiceSpec) -> None:
        self._inc = inc
        self._service = service

    def address(self, port: str) -> tuple[str, int]:
        """See `answers.Inside.address`."""
        number = next(
            (viewpoint.inside(self._inc, self._service, p) for p in self._service.ports if p.name == port),
            None,
        )
        container = self._container()
        place = next((a for a in container.addresses.values() if a), "") if container else ""
        if not place:
            raise Unobservable("its container has no address")
        return place, int(port) if number is None else number

    async def execute(self, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """See `answers.Inside.execute`."""
        name = owning.container(self._inc, self._service.name)
        return await self._inc.systems.containers.execute(name, argv, deadline_s=timeout_s)

    async def health(self) -> str:
        """See `answers.Inside.health`."""
        match await self._inc.systems.containers.inspect(owning.container(self._inc, self._service.name)):
            case Present(container):
                return container.health
            case Absent():
                raise Unobservable("its container is gone")
            case Unknown(reason):
                raise Unobservable(reason)

    def _container(self) -> Container | None:
        """As last seen: its address stays the same as long as it runs."""
        watch = self._inc.systems.container_watch
        ours = (c for c in watch.of(self._inc.id) if owning.unit_of(self._inc, c) == self._service.name)
        return next(ours, None)
