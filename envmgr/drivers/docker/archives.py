"""The content of volumes as tar files, through containers that are made for it and never started."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.drivers.docker import bodies, stream, trouble
from envmgr.drivers.docker.calls import Calls
from envmgr.drivers.docker.containers import Containers
from envmgr.drivers.docker.networks import Volumes
from envmgr.errors import Unobservable
from envmgr.model.ids import LABEL_INSTANCE, LABEL_PURPOSE
from envmgr.model.observe import Present, Unknown

LABEL_PROCESS = "envmgr.process"
"""Which process copies; those of others are left over."""

_PROCESS = uuid.uuid4().hex
_TARGET = "/envmgr-volume"
_PIECE_BYTES = 1024 * 1024
_WRITE_BYTES = 4 * 1024 * 1024
_HEAD_S = 120.0


class Archives(Containers, Volumes):
    """See `Engine`."""

    _calls: Calls
    _instance: str

    async def export_volume(self, volume: str, target: Path, *, image: str) -> int:
        """See `Engine.export_volume`. `target` appears when it is whole; until then there is `target` with `.part`."""
        what, part = f"exporting volume {volume}", target.with_name(f"{target.name}.part")
        try:
            async with self._carrier(volume, image) as container:
                path = f"/containers/{container}/archive?path={_TARGET}"
                async with (
                    stream.ask(self._calls, "GET", path, what=what, patience_s=_HEAD_S) as answer,
                    await anyio.open_file(part, "wb") as file,
                ):
                    async for piece in _in_large_pieces(answer.chunks()):
                        await file.write(piece)
            return await blocking.act("file", _finish, part, target)
        except stream.Refused as refused:
            raise trouble.refusal(refused.status, refused.words, what=what) from refused
        finally:
            with anyio.CancelScope(shield=True):
                await blocking.act("file", part.unlink, missing_ok=True)

    async def import_volume(self, volume: str, source: Path, *, image: str) -> None:
        """See `Engine.import_volume`. After a failure some of it may be there; make the volume anew then."""
        what = f"filling volume {volume}"
        size = (await blocking.look("file", self._calls.deadline_s, source.stat)).st_size
        # Unpacked above the volume, whose folder is the first entry: the engine passes over an entry for the folder it
        # unpacks into, and owner and mode of the volume's root would be lost. Databases refuse such a folder.
        path = "/containers/{}/archive?path=/"
        headers = {"Content-Type": "application/x-tar"}
        try:
            async with (
                self._carrier(volume, image) as container,
                stream.ask(
                    self._calls,
                    "PUT",
                    path.format(container),
                    what=what,
                    headers=headers,
                    body=_content(source),
                    length=size,
                    patience_s=_unpacking_s(size),
                ) as answer,
            ):
                await answer.text()
        except stream.Refused as refused:
            raise trouble.refusal(refused.status, refused.words, what=what) from refused

    async def clear_copies(self) -> None:
        """See `Engine.clear_copies`."""
        match await self.containers({LABEL_INSTANCE: self._instance, LABEL_PURPOSE: "copy"}):
            case Present(found):
                for each in found:
                    if each.labels.get(LABEL_PROCESS) != _PROCESS:
                        await self.remove(each.id)
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")

    @asynccontextmanager
    async def _carrier(self, volume: str, image: str) -> AsyncIterator[str]:
        """A container that mounts the volume and is removed in any case; labelled as the volume's owner's."""
        labels = {
            **await self._volume_labels(volume),
            LABEL_INSTANCE: self._instance,
            LABEL_PURPOSE: "copy",
            LABEL_PROCESS: _PROCESS,
        }
        name = f"envmgr-copy-{uuid.uuid4().hex[:12]}"
        body = bodies.copier(image, volume=volume, target=_TARGET, labels=labels)
        what = f"reaching into volume {volume}"
        try:
            await self._calls.act(lambda client: client.create_container_from_config(body, name), what=what)
            yield name
        finally:
            with anyio.CancelScope(shield=True):
                await self.remove(name)


async def _in_large_pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each write is a way to a thread and back: with the engine's pieces of 32 KiB that takes longer than the copying."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _finish(part: Path, target: Path) -> int:
    size = part.stat().st_size
    part.replace(target)
    return size


def _unpacking_s(size: int) -> float:
    """Seconds allowed for a tar of this size: two minutes, and a minute for each gigabyte."""
    return 120.0 + 60.0 * size / 1e9


async def _content(source: Path) -> AsyncGenerator[bytes, None]:
    async with await anyio.open_file(source, "rb") as file:
        while piece := await file.read(_PIECE_BYTES):
            yield piece
