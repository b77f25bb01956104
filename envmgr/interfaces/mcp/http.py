"""MCP over HTTP on the daemon: the same tools, without a session; every request says who asks."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from envmgr.app.context import App
from envmgr.errors import UsageError
from envmgr.interfaces.mcp.catalogue import Choice, choice_of
from envmgr.interfaces.mcp.inside import Inside

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from envmgr.interfaces.mcp.serving import Context

# Any: messages of ASGI.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_JSON, _EVENTS = "application/json", "text/event-stream"
_INVALID = -32600
"""INVALID_REQUEST of the SDK, which is loaded only when it is needed."""


class _Gone(Exception):
    """Nobody waits for an answer."""


class Endpoint:
    """The ASGI application behind `/mcp`. It expects to find the asker as `scope["principal"]`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._server: Server[Any] | None = None
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["method"] != "POST":
            await _refuse(send)
            return
        manager = await self._manager()
        from envmgr.interfaces.mcp import messages  # as heavy as the rest; loaded by now

        try:
            receive = await self._read(scope, receive)
        except _Gone:
            return
        except messages.NoMessage as no:
            text = no.answer().model_dump_json(by_alias=True, exclude_unset=True)
            await _answer(send, no.status, text.encode())
            return
        # One for each request, because nothing is to outlive it: neither tasks nor sessions.
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """The same again for the SDK, once it is known to be a message. Raises NoMessage."""
        from envmgr.interfaces.mcp import messages

        most = self._app.door.body_bytes
        _check_head(scope, most=most)
        body = await _body(receive, most=most)
        messages.read(body)
        first = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> MutableMapping[str, Any]:
            return first.pop() if first else await receive()

        return again

    async def _manager(self) -> StreamableHTTPSessionManager:
        async with self._turn:
            if self._server is None:
                # Most of a second, and most daemons are never asked: not at the start, and beside the loop.
                self._server = await anyio.to_thread.run_sync(self._load)
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # loaded by now

        return StreamableHTTPSessionManager(
            self._server, stateless=True, max_request_body_size=self._app.door.body_bytes
        )

    def _load(self) -> Server[Any]:
        import mcp.server.streamable_http_manager  # noqa: F401 - so that it is loaded here

        from envmgr.interfaces.mcp.serving import server

        logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of each request
        return server(Inside(self._app), version=self._app.version, choice=_choice)


def _choice(ctx: Context) -> Choice:
    """`/mcp?tools=all`; agents are shown what they coordinate with unless they ask for more."""
    try:
        request: Any = ctx.request
        return choice_of(request.query_params.get("tools") or Choice.COMPACT)
    except UsageError:
        return Choice.COMPACT


def _check_head(scope: Scope, *, most: int) -> None:
    """Raises NoMessage for a form, or a length, that is not taken here."""
    from envmgr.interfaces.mcp.messages import NoMessage, too_long

    head = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if _kinds(head.get("content-type", "")) != {_JSON}:
        raise NoMessage(_INVALID, f"send JSON, and say so: `Content-Type: {_JSON}`", status=415)
    accepted = _kinds(head.get("accept", ""))
    if "*/*" not in accepted and not (accepted & {_JSON, "application/*"} and accepted & {_EVENTS, "text/*"}):
        words = f"answers have one form or the other, so accept both: `Accept: {_JSON}, {_EVENTS}`"
        raise NoMessage(_INVALID, words, status=406)
    if int(head.get("content-length") or 0) > most:
        raise too_long(most)


def _kinds(said: str) -> set[str]:
    return {one.partition(";")[0].strip().lower() for one in said.split(",")}


async def _body(receive: Receive, *, most: int) -> bytes:
    """Raises NoMessage when it is too long, and _Gone when its sender leaves before its end."""
    from envmgr.interfaces.mcp.messages import too_long

    pieces, size, is_more = [], 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > most:
            raise too_long(most)
        is_more = message.get("more_body", False)
    return b"".join(pieces)


async def _refuse(send: Send) -> None:
    problem = UsageError(
        "this is the MCP endpoint: it takes POST only",
        hint="There is no session to end and no stream to listen to: each request is answered by itself.",
    ).problem()
    await _answer(send, 405, json.dumps(problem).encode(), (b"allow", b"POST"))


async def _answer(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", _JSON.encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
