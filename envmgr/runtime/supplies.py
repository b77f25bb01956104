"""What containers need before they start: images, networks, volumes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from envmgr.errors import EnvmgrError, Unobservable
from envmgr.model.container import Scope
from envmgr.model.ids import LABEL_GENERATION, image_name
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.engine import Progress
from envmgr.protocols.store import Transaction
from envmgr.runtime import engine_use, owning, volumes
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

_BY_ID = "sha256:"


class Supplies:
    """Those of one generation; each image and each network is looked after once."""

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc
        self._engine = inc.systems.containers
        self._made: dict[str, str] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def _once(self, what: str, make: Callable[[], Awaitable[str]]) -> str:
        """Units that start side by side share images and networks."""
        async with self._locks.setdefault(what, anyio.Lock()):
            if what not in self._made:
                self._made[what] = await make()
            return self._made[what]

    async def image(self, service: ServiceSpec, say: Progress | None) -> str:
        """Find, fetch or build what it runs; returns the id."""
        spec = service.container
        assert spec is not None, "only containers have images"
        recipe = spec.build
        if recipe is None:
            return await self._once(
                f"image {spec.image} {spec.platform} {spec.pull}",
                lambda: self._engine.image(spec.image, pull=spec.pull, platform=spec.platform, tell=say),
            )
        await engine_use.note(self._inc, has_images=True)
        tag = spec.image or image_name(self._inc.id, service.replica_of or service.name)
        labels = {name: value for name, value in owning.new(self._inc).items() if name != LABEL_GENERATION}
        return await self._once(
            f"build {tag}",
            lambda: self._engine.build(tag, recipe, root=self._inc.path, labels=labels, tell=say),
        )

    async def begin(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Make all networks ahead of the first container, which takes an engine longer than making a container.

        What fails here is tried again, and told, by who needs it.
        """
        async with self._inc.systems.turns.of(_beginning(self._inc)):
            task_status.started()
            try:
                for service in self._inc.services:
                    if service.container is not None and not service.is_shared:
                        await self.networks(service)
            except EnvmgrError:
                return
            except Exception:  # a task of the daemon owns its boundary
                log.exception("networks not made ahead", extra={"agent": self._inc.id})

    async def networks(self, service: ServiceSpec) -> None:
        """Those it takes part in."""
        assert service.container is not None, "only containers have networks"
        for network in service.container.networks:
            await self._once(f"network {network}", partial(self._network, network))

    async def _network(self, name: str) -> str:
        network = owning.network(self._inc, name)
        await engine_use.note(self._inc)
        async with self._inc.systems.turns.of(network):  # asked twice at once an engine makes two of one name
            with sure(self._inc, "network", network):
                await self._engine.ensure_network(network, owning.new(self._inc))
        return network

    async def volumes(self, service: ServiceSpec) -> None:
        """The agent's own with their seeds, those of the repository as they are."""
        spec = service.container
        assert spec is not None, "only containers mount volumes"
        if any(mount.source for mount in spec.mounts):
            await volumes.ensure_volumes(self._inc, service)
        shared = {v.name for v in self._inc.spec.volumes if v.scope is Scope.SHARED}
        for name in shared.intersection(mount.source for mount in spec.mounts):
            await self._engine.ensure_volume(
                owning.shared_volume(self._inc, name), owning.of_repository(self._inc)
            )


async def begun(inc: Incarnation) -> None:
    """Until nothing is being made ahead any more."""
    async with inc.systems.turns.of(_beginning(inc)):
        return


def _beginning(inc: Incarnation) -> str:
    return f"networks of {inc.tag}"


@contextmanager
def sure(inc: Incarnation, kind: str, name: str) -> Iterator[None]:
    """Without an answer it may still be made, after everything else has been taken back."""
    inc.unsure.add((kind, name))
    try:
        yield
    except Unobservable:
        _count(inc)
        raise
    except EnvmgrError:
        inc.unsure.discard((kind, name))
        raise
    except BaseException:
        _count(inc)
        raise
    _count(inc)
    inc.unsure.discard((kind, name))


def _count(inc: Incarnation) -> None:
    if inc.asked_engine is not None:
        inc.asked_engine += 1


async def is_untouched(inc: Incarnation) -> bool:
    """Whether nothing of this generation can be on the engine: it refused, or was down, whenever it was asked."""
    await begun(inc)
    return inc.asked_engine == 0


async def bury(inc: Incarnation) -> None:
    """Watch for what may still come."""
    names = sorted(inc.unsure)
    inc.unsure.clear()
    graves = [
        Tombstone(kind=kind, name=name, agent=inc.id, generation=inc.generation, since=inc.systems.now())
        for kind, name in names
    ]

    def bury(tx: Transaction) -> None:
        for grave in graves:
            tx.bury(grave)

    if graves:
        await inc.systems.store.write(bury)


async def remove_images(inc: Incarnation) -> None:
    """Remove the images that were built for an agent alone, also for earlier specs and by earlier builds.

    Those with a tag of the template's stay. Raises Unobservable when the engine gives no answer.
    """
    use = await engine_use.look(inc)
    if use is None or not use.has_images:
        return
    match await inc.systems.containers.images(owning.of_agent(inc)):
        case Present(found):
            for image in found:
                if image.name.startswith((_BY_ID, image_name(inc.id, ""))):
                    await inc.systems.containers.remove_image(image.name)
        case Unknown(reason):
            raise Unobservable(f"the engine does not tell its images: {reason}", hint="Run `envmgr doctor`.")
