"""Long answers of the engine without a thread each: HTTP/1.1 over its socket, read as it comes.

Used for logs, events, pulls, builds, archives and commands in containers. What is short goes through the SDK.
"""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from envmgr.aio import blocking
from envmgr.drivers.docker import trouble
from envmgr.drivers.docker.address import Address
from envmgr.drivers.docker.calls import Calls

if TYPE_CHECKING:
    import httptools

_CHUNK_BYTES = 256 * 1024
_ERROR_BYTES = 64 * 1024
_CONNECT_S = 10.0


class Broken(Exception):
    """The connection ended before the answer did."""


class Refused(Exception):
    """The engine answered with an error.

    Attributes:
        words: What it said.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Answer:
    """One answer: its status, and its body as it arrives."""

    def __init__(self, connection: anyio.abc.ByteStream) -> None:
        import httptools

        self.status = 0
        self._connection = connection
        self._parser: httptools.HttpResponseParser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._has_head = self._is_whole = self._is_closed = False
        self._is_sized = False

    # --- called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self._is_sized |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        # Continue (100) is no answer yet; the parser begins anew after it.
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._is_whole = self._has_head

    # --- called by us

    async def head(self) -> None:
        """Read up to the end of the headers."""
        while not self._has_head:
            await self._more()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces. Raises Broken when the connection ends before the body is whole."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self._is_whole or (self._is_closed and not self._is_sized):
                return
            await self._more()

    async def text(self) -> str:
        """The whole body, cut at 64 KiB."""
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in self.chunks():
                parts.append(chunk)
                size += len(chunk)
                if size > _ERROR_BYTES:
                    break
        except Broken:
            pass
        return b"".join(parts)[:_ERROR_BYTES].decode("utf-8", "replace")

    async def _more(self) -> None:
        if self._is_closed:
            raise Broken
        try:
            data = await self._connection.receive(_CHUNK_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            self._is_closed = True
            if not self._has_head or self._is_sized:
                raise Broken from None
            return
        self._parser.feed_data(data)


@asynccontextmanager
async def ask(
    calls: Calls,
    method: str,
    path: str,
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
    body: AsyncGenerator[bytes, None] | bytes = b"",
    length: int | None = None,
    patience_s: float | None = None,
) -> AsyncIterator[Answer]:
    """Send a request and yield its answer once its headers are there; the connection is closed on leaving, in any case.

    Args:
        path: Below the API version, quoted, with its query.
        body: Sent as it comes; the engine may answer before all of it is sent.
        length: Of a body that comes in pieces.
        patience_s: Seconds until the headers; the look's deadline unless told. The body has none.

    Raises:
        Unobservable: No headers in time, or a connection that broke (also inside of the block).
        Unavailable: Nobody serves the address.
        Refused: A status of 400 or more.
    """
    limit_s = patience_s or calls.deadline_s
    address, version = await calls.reach()
    connection = await _connect(address, within_s=min(_CONNECT_S, calls.deadline_s))
    try:
        answer = Answer(connection)
        with anyio.move_on_after(limit_s) as in_time:
            size = len(body) if isinstance(body, bytes) else length
            await _send(connection, _head(method, f"/v{version}{path}", headers or {}, size))
            await _send(connection, body)
            await answer.head()
        if in_time.cancelled_caught:
            raise trouble.silent(address, what, limit_s)
        if answer.status >= 400:
            raise Refused(answer.status, _words(await answer.text()))
        yield answer
    except Broken as error:
        raise trouble.broken(address, what) from error
    finally:
        await anyio.aclose_forcefully(connection)


async def _connect(address: Address, *, within_s: float) -> anyio.abc.ByteStream:
    try:
        with anyio.fail_after(within_s):
            if address.socket:
                return await anyio.connect_unix(address.socket)
            tls: ssl.SSLContext | None = await blocking.act("docker", address.tls)
            if tls is None:
                return await anyio.connect_tcp(address.host, address.port)
            return await anyio.connect_tcp(
                address.host, address.port, ssl_context=tls, tls_standard_compatible=False
            )
    except TimeoutError as error:
        raise trouble.silent(address, "connecting", within_s) from error
    except OSError as error:
        raise trouble.down(address, error) from error


def _head(method: str, target: str, headers: Mapping[str, str], size: int | None) -> bytes:
    lines = {"Host": "docker", "User-Agent": "envmgr", "Connection": "close", **headers}
    if size is not None and method != "GET":
        lines["Content-Length"] = str(size)
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode()


async def _send(connection: anyio.abc.ByteStream, body: AsyncGenerator[bytes, None] | bytes) -> None:
    try:
        if isinstance(body, bytes):
            if body:
                await connection.send(body)
            return
        async with aclosing(body):
            async for piece in body:
                await connection.send(piece)
    except (anyio.BrokenResourceError, OSError):
        return  # it stopped listening because it has already answered; the answer says why


def _words(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason given"
