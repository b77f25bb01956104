"""Containers, networks, images and volumes: ours by label, or begun by agents and known by compose project or mount."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.ids import (
    LABEL_AGENT,
    LABEL_GENERATION,
    LABEL_INSTANCE,
    LABEL_KEEP,
    LABEL_PURPOSE,
    LABEL_STATE,
    AgentId,
    image_name,
    is_compose_project,
)
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.resource import Kind, Sighting
from envmgr.protocols.engine import Container, Engine, Found, Labels
from envmgr.runtime.begun import PROJECT
from envmgr.runtime.reaping.ground import Ground, unseen

T = TypeVar("T")

_STOP_S = 10.0
_COUNT_S = 10.0
_SHARED = "sh"
_LISTING = "the container engine"


class Containers:
    """See `Sort`."""

    kind = Kind.CONTAINER

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        async def find(engine: Engine) -> list[Sighting]:
            found = {c.id: c for c in _all(await engine.containers({LABEL_INSTANCE: ""}))}
            found |= {c.id: c for c in _all(await engine.containers({PROJECT: ""}))}
            found |= {c.id: c for c in _all(await engine.mounting(str(ground.layout.worktree_root)))}
            return [seen for c in found.values() if (seen := _container(c, ground)) is not None]

        return await _ask(self.kind, ground, find)

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        engine = ground.systems.containers
        match await engine.inspect(seen.key):
            case Present(container):
                if container.is_alive:
                    await engine.stop(seen.key, signal="SIGTERM", grace_s=_STOP_S)
                await engine.remove(seen.key)  # with its anonymous volumes


class Networks:
    """See `Sort`."""

    kind = Kind.NETWORK

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        async def find(engine: Engine) -> list[Sighting]:
            found = {n.name: n for n in _all(await engine.networks({LABEL_INSTANCE: ""}))}
            found |= {n.name: n for n in _all(await engine.networks({PROJECT: ""})) if _is_begun(n.labels)}
            return [_found(self.kind, network, ground) for network in found.values()]

        return await _ask(self.kind, ground, find)

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        await ground.systems.containers.remove_network(seen.name)


class Images:
    """See `Sort`. Those with a tag of the template's own, and those of shared services, are for whoever comes next."""

    kind = Kind.IMAGE

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        async def find(engine: Engine) -> list[Sighting]:
            return [_image(image, ground) for image in _all(await engine.images({LABEL_INSTANCE: ""}))]

        return await _ask(self.kind, ground, find)

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        await ground.systems.containers.remove_image(seen.name)


class Volumes:
    """See `Sort`. A named volume holds data, and is a person's to remove."""

    kind = Kind.VOLUME

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        async def find(engine: Engine) -> list[Sighting]:
            found = {v.name: v for v in _all(await engine.volumes({LABEL_INSTANCE: ""}))}
            found |= {v.name: v for v in _all(await engine.volumes({PROJECT: ""})) if _is_begun(v.labels)}
            return [_volume(volume, ground) for volume in found.values()]

        return await _ask(self.kind, ground, find)

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        """An engine may take its time to count, or be counting already."""
        with anyio.move_on_after(_COUNT_S), suppress(EnvmgrError):
            return replace(seen, size_bytes=await ground.systems.containers.volume_bytes([seen.name]))
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        raise EnvmgrError("named volumes are never removed by themselves", hint=seen.advice)


async def _ask(
    kind: Kind, ground: Ground, find: Callable[[Engine], Awaitable[list[Sighting]]]
) -> Sequence[Sighting]:
    """Nothing where there is no engine; what it does not tell is unknown, never nothing."""
    engine = ground.systems.engine
    if engine is None:
        return []
    match await engine.knock():
        case Absent():
            return []
        case Unknown(reason):
            return [unseen(kind, _LISTING, reason)]
    try:
        return await find(engine)
    except EnvmgrError as error:
        return [unseen(kind, _LISTING, error.message)]


def _all(seen: Seen[Sequence[T]]) -> Sequence[T]:
    match seen:
        case Present(found):
            return found
        case Unknown(reason):
            raise EnvmgrError(reason, hint="Run `envmgr doctor`.")
    return ()


def _is_begun(labels: Labels) -> bool:
    return LABEL_STATE not in labels and is_compose_project(labels.get(PROJECT, ""))


def _container(c: Container, ground: Ground) -> Sighting | None:
    """None for one that has nothing to do with any envmgr.

    A person may work by a container in a worktree, also in one that has outlived its agent. So one that only mounts it is never removed here:
    a mount alone says whose the files are, not whose the container is.
    """
    seen = _tagged(Kind.CONTAINER, c.id, c.name, c.labels)
    if seen is None:
        instance, agent = next((owner for s in c.sources if (owner := ground.agent_at(s))[0]), ("", ""))
        if instance:
            seen = Sighting(
                kind=Kind.CONTAINER,
                key=c.id,
                name=c.name,
                instance=instance,
                agent=agent,
                outlives=True,
                holds="the work of whoever began it: only a mount ties it to the agent",
                advice=f"docker rm -f -v {c.name}",
            )
        elif any(_is_below(source, ground.layout.worktree_root) for source in c.sources):
            seen = Sighting(
                kind=Kind.CONTAINER,
                key=c.id,
                name=c.name,
                unsure="it mounts a worktree that is gone: whose, nobody can tell",
            )
        else:
            return None
    age_s = max(0.0, ground.systems.now() - c.created_at) if c.created_at else None
    return replace(seen, age_s=age_s, belongs=_belongs(c.labels))


def _is_below(source: str, root: Path) -> bool:
    return source != str(root) and Path(source).is_relative_to(root)


def _tagged(kind: Kind, key: str, name: str, labels: Labels) -> Sighting | None:
    """By our labels, else by the compose project that agents have."""
    if LABEL_INSTANCE in labels:
        generation = labels.get(LABEL_GENERATION, "")
        return Sighting(
            kind=kind,
            key=key,
            name=name,
            instance=labels[LABEL_INSTANCE],
            agent=labels.get(LABEL_AGENT, ""),
            generation=int(generation) if generation.isdigit() else None,
        )
    if _is_begun(labels):
        return Sighting(kind=kind, key=key, name=name, agent=labels[PROJECT].removeprefix("envmgr-"))
    return None


def _belongs(labels: Mapping[str, str]) -> str:
    if labels.get(LABEL_KEEP) == "true":
        return f"{LABEL_KEEP}=true: its maker keeps it"
    return "it copies a volume just now" if labels.get(LABEL_PURPOSE) == "copy" else ""


def _found(kind: Kind, one: Found, ground: Ground) -> Sighting:
    key = f"{one.name}@{one.created_at}"
    seen = _tagged(kind, key, one.name, one.labels) or Sighting(kind=kind, key=key, name=one.name)
    return replace(seen, age_s=_age_s(one.created_at, ground), belongs=_belongs(one.labels))


def _image(image: Found, ground: Ground) -> Sighting:
    """A build of an old layer has an old date: how old the image is here, nobody tells, so only the two looks count."""
    owner = image.labels.get(LABEL_AGENT, "")
    is_own = image.name.startswith(("sha256:", image_name(AgentId(owner), "")))
    belongs = "" if is_own and not owner.startswith(_SHARED) else "others may use it"
    return replace(_found(Kind.IMAGE, image, ground), belongs=belongs, age_s=None, outlives=True)


def _volume(volume: Found, ground: Ground) -> Sighting:
    seen = _found(Kind.VOLUME, volume, ground)
    if LABEL_INSTANCE in volume.labels and LABEL_AGENT not in volume.labels:
        return replace(seen, belongs="of all agents of a repository")
    return replace(seen, outlives=True, holds="data", advice=f"docker volume rm {volume.name}")


def _age_s(created_at: str, ground: Ground) -> float | None:
    """The engine writes nine digits of a second or none; Python reads six."""
    head, dot, rest = created_at.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        head = f"{head}.{rest[: min(digits, 6)]:0<6}{rest[digits:]}"
    try:
        return max(0.0, ground.systems.now() - datetime.fromisoformat(head).timestamp())
    except ValueError:
        return None
