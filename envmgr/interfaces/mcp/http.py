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
        # One for each request, because nothing is to outlive it: neither tasks nor sessions.
        async with manager.run():
            await manager.handle_request(scope, receive, send)

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


async def _refuse(send: Send) -> None:
    problem = UsageError(
        "this is the MCP endpoint: it takes POST only",
        hint="There is no session to end and no stream to listen to: each request is answered by itself.",
    ).problem()
    headers = [(b"content-type", b"application/json"), (b"allow", b"POST")]
    await send({"type": "http.response.start", "status": 405, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})
