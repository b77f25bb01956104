"""An agent's named volumes in the container engine: made and filled before their first user starts, saved, put back, removed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from envmgr.errors import ConfigError, EnvmgrError, Unobservable
from envmgr.model.container import MountKind, PullPolicy, Scope, VolumeSpec
from envmgr.model.ids import LABEL_INSTANCE, LABEL_STATE, image_name, volume_name
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import engine_use, owning, seeding
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

T = TypeVar("T")


async def ensure_volumes(inc: Incarnation, service: ServiceSpec) -> None:
    """Make the agent's volumes that a service mounts; a new one is filled from its seed, or from the fork's snapshot.

    The service's image must be there. Services that start side by side may share a volume. A volume whose filling failed or was
    cut off does not stay: the next start fills it from the beginning.

    Raises:
        EnvmgrError: A volume could not be made or filled; it is gone again, and the message carries the reason.
    """
    assert service.container is not None, "only containers mount volumes"
    mounts = service.container.mounts
    names = dict.fromkeys(m.source for m in mounts if m.kind is MountKind.VOLUME and m.source)
    if names:
        await engine_use.note(inc, has_volumes=True)
    for name in names:
        async with inc.systems.turns.of(name_of(inc, name)):
            await _ensure(inc, service, _spec(inc, name))


async def _ensure(inc: Incarnation, service: ServiceSpec, spec: VolumeSpec) -> None:
    store, engine, volume = inc.systems.store, inc.systems.containers, name_of(inc, spec.name)
    note, mine = f"seeding/{volume}", labels(inc, spec.name)
    was_cut_off = await store.read(lambda tx: tx.get(note)) is not None
    if was_cut_off:
        await engine.remove_volume(volume)
    elif spec.seed is None and inc.spec.origin is None:
        await engine.ensure_volume(volume, mine)
        return
    elif any(found.name == volume for found in _answer(await engine.volumes(mine))):
        return
    source = await seeding.source(inc, spec)
    await store.write(lambda tx: tx.put(note, inc.id))
    try:
        await engine.ensure_volume(volume, mine)
        if source is not None:
            await seeding.fill(inc, service, spec.name, source, into=volume)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _take_back(inc, volume, note)
        raise
    await store.write(lambda tx: tx.drop(note))


async def _take_back(inc: Incarnation, volume: str, note: str) -> None:
    """If the engine does not remove it now, the note stays, and the next start does."""
    try:
        await inc.systems.containers.remove_volume(volume)
        await inc.systems.store.write(lambda tx: tx.drop(note))
    except EnvmgrError as error:
        log.error("half-filled volume not removed yet", extra={"volume": volume, "why": error.message})


def _spec(inc: Incarnation, name: str) -> VolumeSpec:
    return next((v for v in inc.spec.volumes if v.name == name), VolumeSpec(name=name))


def name_of(inc: Incarnation, name: str) -> str:
    """The engine's name of a volume of the template: the agent's own, or the one of all agents of the repository."""
    if _spec(inc, name).scope is Scope.SHARED:
        return f"envmgr-{inc.repo.key}-{name}"
    return volume_name(inc.id, name)


def labels(inc: Incarnation, name: str) -> dict[str, str]:
    """Of a volume; without a generation, which it outlives. One of the whole repository belongs to no agent."""
    if _spec(inc, name).scope is Scope.SHARED:
        return {LABEL_STATE: str(inc.layout.state_dir), LABEL_INSTANCE: inc.instance}
    return {LABEL_STATE: str(inc.layout.state_dir), **owning.of_agent(inc)}


async def present(inc: Incarnation) -> Sequence[str]:
    """The agent's own volumes that exist, by their names in the template, also of earlier specs. Who never had any asks no engine."""
    use = await engine_use.look(inc)
    if use is None or not use.has_volumes:
        return []
    prefix = volume_name(inc.id, "")
    found = _answer(await inc.systems.containers.volumes(owning.of_agent(inc)))
    return sorted(v.name.removeprefix(prefix) for v in found if v.name.startswith(prefix))


async def users(inc: Incarnation, names: Sequence[str]) -> Sequence[str]:
    """Containers that run and mount one of these volumes, whoever started them; those that are paused already left out."""
    found: dict[str, None] = {}
    for name in names:
        mounting = await inc.systems.containers.mounting(volume_name(inc.id, name))
        found |= {c.id: None for c in _answer(mounting) if c.state == "running"}
    return list(found)


async def holders(inc: Incarnation, name: str) -> Sequence[str]:
    """Containers that mount one of its volumes, running or not, whoever made them."""
    return sorted(c.name for c in _answer(await inc.systems.containers.mounting(volume_name(inc.id, name))))


async def total_bytes(inc: Incarnation, names: Sequence[str]) -> int:
    """What these volumes hold together."""
    return await inc.systems.containers.volume_bytes([volume_name(inc.id, name) for name in names])


async def save_to(inc: Incarnation, name: str, target: Path) -> str:
    """Write a volume's content into a tar file; returns the image that opened it, as the agent's spec may name none."""
    image = await _image(inc, name)
    await inc.systems.containers.export_volume(volume_name(inc.id, name), target, image=image)
    return image


async def put_back(inc: Incarnation, name: str, source: Path, *, image: str) -> None:
    """Replace a volume, which nobody may use, by one with the content of a tar file; `image` was used to save it."""
    engine, volume = inc.systems.containers, volume_name(inc.id, name)
    await engine_use.note(inc, image=image, has_volumes=True)
    image = await _image(inc, name)
    await engine.remove_volume(volume)
    await engine.ensure_volume(volume, labels(inc, name))
    await engine.import_volume(volume, source, image=image)


async def remove(inc: Incarnation) -> None:
    """Remove all that the agent has, with the notes about them; removing twice is harmless."""
    for volume in [volume_name(inc.id, name) for name in await present(inc)]:
        await inc.systems.containers.remove_volume(volume)
        await inc.systems.store.write(partial(_forget, volume=volume))


def _forget(tx: Transaction, volume: str) -> None:
    tx.drop(f"seeding/{volume}")


async def _image(inc: Incarnation, name: str) -> str:
    """An image that is there, of a service that mounts the volume if possible; fetched again if all were deleted."""
    use = await engine_use.look(inc)
    containers = [s for s in inc.services if s.container is not None]
    first = [s for s in containers if s.container and any(m.source == name for m in s.container.mounts)]
    earlier = [use.image] if use and use.image else []
    references = list(dict.fromkeys((*(image_of(inc, s) for s in (*first, *containers)), *earlier)))
    for reference in references:
        with contextlib.suppress(ConfigError):
            await inc.systems.containers.image(reference, pull=PullPolicy.NEVER)
            return reference
    for reference in references:
        await inc.systems.containers.image(reference, pull=PullPolicy.MISSING)
        return reference
    raise ConfigError(
        f"no service of {inc.name} runs in a container, so no image can open volume {name}",
        hint="Put the service back into the template, or remove the volume with `docker volume rm`.",
    )


def image_of(inc: Incarnation, service: ServiceSpec) -> str:
    """What a container service runs: its image, or the tag of the one built for it."""
    assert service.container is not None, "only containers have images"
    return service.container.image or image_name(inc.id, service.name)


def _answer(seen: Seen[Sequence[T]]) -> Sequence[T]:
    match seen:
        case Present(value):
            return value
        case Absent():
            return ()
        case Unknown(reason):
            raise Unobservable(f"the container engine gives no answer: {reason}", hint="Run `envmgr doctor`.")
