"""HTTP to the daemon's socket without blocking: connections are kept, so that a call costs no new one."""

from __future__ import annotations

import json
import select
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from envmgr.app import client, paths
from envmgr.errors import EnvmgrError, Unavailable, from_problem

# Any throughout: JSON documents.
_HEAD_BYTES = 64 * 1024
_IDLE_S = 2.0
"""An idle connection is used again for so long; the daemon closes it after five seconds."""
_SILENT_S, _START_S = 3.0, 15.0
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


class Gone(Unavailable):
    """The daemon ended before its answer did."""

    def __init__(self) -> None:
        super().__init__(
            "the daemon ended in the middle of its answer",
            hint="Look whether it was done, then call again: that starts the daemon if it does not run.",
        )


@dataclass(slots=True)
class _Line:
    """A connection and what was read from it ahead."""

    stream: ByteStream
    reader: BufferedByteReceiveStream = field(init=False)
    used_at: float = 0.0

    def __post_init__(self) -> None:
        self.reader = BufferedByteReceiveStream(self.stream)

    def is_alive(self) -> bool:
        """Whether it can be used again: what can be read from an idle connection is its end."""
        socket = self.stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio, not Django
        is_fresh = time.monotonic() - self.used_at < _IDLE_S
        return is_fresh and not select.select([socket], [], [], 0)[0]


@dataclass(slots=True, kw_only=True)
class Answer:
    """Its head; the body is read by `lines` or `body`.

    Attributes:
        is_read: To its end; then the connection can be used again.
    """

    status: int
    headers: Mapping[str, str]
    line: _Line
    is_read: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Unavailable when the daemon dies before its end."""
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                while size := int(await self.line.reader.receive_until(b"\r\n", 32), 16):
                    yield await self.line.reader.receive_exactly(size)
                    await self.line.reader.receive_exactly(2)
                await self.line.reader.receive_exactly(2)
            elif size := int(self.headers.get("content-length", "0")):
                yield await self.line.reader.receive_exactly(size)
            self.is_read = True
        except _BROKEN as error:
            raise Gone from error

    async def body(self) -> bytes:
        """All of it."""
        return b"".join([piece async for piece in self.pieces()])

    async def lines(self) -> AsyncIterator[bytes]:
        """Whole lines as they arrive."""
        rest = b""
        async for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest


class Wire:
    """Asks the daemon, and starts it when nobody answers."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        self._idle: list[_Line] = []

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Answer]:
        """One request. Leaving early closes the connection, which tells the daemon that nobody waits any more.

        Raises:
            Unavailable: It cannot be started, or ended meanwhile.
            EnvmgrError: As it answered.
        """
        answer: Answer | None = None
        try:
            answer = await self._answer(_request(method, path, body, self._headers))
            if answer.status >= 400:
                raise _problem(await answer.body(), answer.status)
            yield answer
        finally:
            if answer is not None:
                await self._put_back(answer.line, is_read=answer.is_read)

    async def _answer(self, request: bytes) -> Answer:
        """Its head; asked again of the next daemon when one ended before it had read the question."""
        deadline = time.monotonic() + _START_S
        while True:
            line = await self._line()
            answer: Answer | None = None
            try:
                answer = await _exchange(line, request)
                return answer
            except anyio.BrokenResourceError as error:
                if time.monotonic() > deadline:
                    raise Gone from error
            finally:
                if answer is None:
                    await self._put_back(line, is_read=False)
            await anyio.sleep(0.01)

    async def aclose(self) -> None:
        """Drop the connections."""
        while self._idle:
            await self._idle.pop().stream.aclose()

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.is_alive():
                return line
            await line.stream.aclose()
        try:
            return await _connect()
        except OSError:
            await anyio.to_thread.run_sync(client.ensure)
        try:
            return await _connect()
        except OSError as error:
            raise Unavailable("the daemon does not run", hint="See `envmgr daemon logs`.") from error

    async def _put_back(self, line: _Line, *, is_read: bool) -> None:
        if is_read:
            line.used_at = time.monotonic()
            self._idle.append(line)
        else:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(line.stream)


async def _connect() -> _Line:
    return _Line(await anyio.connect_unix(str(Path(paths.state_dir(), paths.SOCKET))))


def _request(method: str, path: str, body: Mapping[str, Any] | None, headers: str) -> bytes:
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: envmgr\r\nAccept: application/json\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode("latin-1") + payload


async def _exchange(line: _Line, request: bytes) -> Answer:
    """Raises BrokenResourceError when nothing was done: Linux resets a Unix connection whose other end leaves bytes unread."""
    try:
        await line.stream.send(request)
        head = await _head(line)
    except anyio.BrokenResourceError:
        raise
    except _BROKEN as error:
        raise Gone from error
    status, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in fields)}
    return Answer(status=int(status.split()[1]), headers=headers, line=line)


async def _head(line: _Line) -> bytes:
    """As long as the daemon answers others; what was asked may take its time."""
    while True:
        with anyio.move_on_after(_SILENT_S):
            return await line.reader.receive_until(b"\r\n\r\n", _HEAD_BYTES)
        await anyio.to_thread.run_sync(client.await_others, abandon_on_cancel=True)


def _problem(body: bytes, status: int) -> EnvmgrError:
    try:
        return from_problem(json.loads(body))
    except (ValueError, AttributeError):
        return Unavailable(
            f"the daemon answered {status}: it may be of other code than this program",
            hint="End it with `envmgr daemon stop`: agents go on, and the next call starts this one.",
        )
