"""The ASGI application: from a request to the operation it means, and back.

`Accept` chooses the form: `application/json` (default; one object per line for streams),
`text/plain` (what the command line shows), `text/event-stream` (streams).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import anyio

from envmgr.app.aliases import aliases
from envmgr.app.calling import perform, stream, turned_away
from envmgr.app.context import App
from envmgr.app.manifest import served
from envmgr.app.openapi import openapi
from envmgr.app.operations import Operation
from envmgr.app.shapes import Ask
from envmgr.errors import EnvmgrError
from envmgr.interfaces.http.access import Door, Rates
from envmgr.interfaces.http.answers import Answer, answer, problem
from envmgr.interfaces.http.asking import ask
from envmgr.interfaces.http.request import Receive, Request, Scope, Send
from envmgr.interfaces.http.routes import Routes
from envmgr.interfaces.http.streams import Gone, Streaming, streaming, while_asked
from envmgr.model.principal import STRANGER, Principal

log = logging.getLogger(__name__)

DOCUMENT = "/api/v1/openapi.json"
Mounted = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Another face's ASGI application; it finds who asks as `scope["principal"]`."""


def application(
    app: App, *, is_tcp: bool = False, rates: Rates | None = None, mounts: Mapping[str, Mounted] | None = None
) -> Application:
    """What offers every operation at one door: the Unix socket, or TCP, where a key is needed.

    Args:
        rates: Shared between the doors, because a key is one wherever it is used.
        mounts: Other faces by their paths.
    """
    return Application(app, Door(app, is_tcp=is_tcp), rates=rates or Rates(app.door), mounts=mounts or {})


class Application:
    """One door's."""

    def __init__(self, app: App, door: Door, *, rates: Rates, mounts: Mapping[str, Mounted]) -> None:
        self._app, self._door, self._rates, self._mounts = app, door, rates, mounts
        self._document = b""
        others = ((*alias.route, alias.op) for alias in aliases())
        self.routes = Routes([*((*op.route, op) for op in served()), *others])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        with ExitStack() as until_sent:
            reply: Answer | Streaming | _Elsewhere
            try:
                reply = await self._reply(request, until_sent)
            except Gone:
                return
            except EnvmgrError as error:
                reply = problem(error, request)
            except Exception as error:  # the boundary of a request: answered as internal, logged in full
                log.exception("request failed", extra={"path": request.path, "request": request.id})
                failure = EnvmgrError(
                    f"internal error: {type(error).__name__}", hint="See `envmgr daemon logs`."
                )
                reply = problem(failure, request)
            reply.headers |= self._door.sharing(request)
            await reply.send(request, send)

    async def _reply(self, request: Request, until_sent: ExitStack) -> Answer | Streaming | _Elsewhere:
        self._door.check_source(request)
        if self._door.is_preflight(request):
            return Answer(status=204)
        if (mounted := self._mounts.get(request.path)) is not None:
            principal = self._admitted(request, until_sent)
            return _Elsewhere(mounted, principal)
        if request.path == DOCUMENT:
            self._admitted(request, until_sent)
            return Answer(body=await self._described())
        found = self.routes.find("GET" if request.method == "HEAD" else request.method, request.path)
        principal = STRANGER
        try:
            is_report = found.op.name == "agent.report"
            principal = self._admitted(request, until_sent, is_open=found.op.is_open, is_report=is_report)
            asked = await ask(found, request, most=self._app.door.body_bytes)
        except EnvmgrError as error:
            turned_away(found.op, self._app, error, principal=principal, request=request.id)
            raise
        return await self._performed(found.op, asked, request, principal)

    def _admitted(
        self, request: Request, until_sent: ExitStack, *, is_open: bool = False, is_report: bool = False
    ) -> Principal:
        principal = self._door.principal(request, is_open=is_open, is_report=is_report)
        until_sent.enter_context(self._rates.counted(principal))
        return principal

    async def _performed(
        self, op: Operation, asked: Ask, request: Request, principal: Principal
    ) -> Answer | Streaming:
        if op.stream:
            items = stream(op, asked, self._app, principal=principal, request=request.id)
            return await streaming(op, items, request)
        if op.waits and getattr(asked, op.waits):
            # A waiter that nobody waits for any more would take what others wait for.
            result = await while_asked(
                lambda: perform(op, asked, self._app, principal=principal, request=request.id), request
            )
        else:
            result = await perform(op, asked, self._app, principal=principal, request=request.id)
        return answer(op, result, request)

    async def _described(self) -> bytes:
        """The OpenAPI document; made when it is first asked for, beside the loop, because it takes a while."""
        if not self._document:
            made = await anyio.to_thread.run_sync(openapi, "1")
            self._document = json.dumps(made).encode()
        return self._document


@dataclass(slots=True)
class _Elsewhere:
    """What another face answers."""

    mounted: Mounted
    principal: Principal
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, request: Request, send: Send) -> None:
        """Let it."""
        await self.mounted({**request.scope, "principal": self.principal}, request.receive, send)
