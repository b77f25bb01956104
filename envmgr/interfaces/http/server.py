"""Routes from the registry: JSON for programs, text for people, server-sent events for streams.

`Accept` chooses the form: `application/json` (default; one object per line for streams),
`text/plain` (what the command line shows), `text/event-stream` (streams, with `id` where items are numbered).
"""

from __future__ import annotations

import getpass
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, get_origin

import anyio
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from envmgr.app.calling import perform, stream
from envmgr.app.context import App
from envmgr.app.manifest import served
from envmgr.app.operations import parse
from envmgr.app.registry import Operation
from envmgr.app.shapes import Ask
from envmgr.app.text import Style
from envmgr.errors import EnvmgrError, UsageError
from envmgr.model.principal import Principal, PrincipalKind

log = logging.getLogger(__name__)

_JSON = "application/json"
_TEXT = "text/plain"
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
EXIT = "x-envmgr-exit"
"""Header with the exit status of the command that asked."""


def application(app: App) -> Starlette:
    """The ASGI application that offers every operation."""
    # literal paths first, so that `/api/v1/agents/stop` is not taken for an agent named `stop`
    operations = sorted(served(), key=lambda op: "{" in op.route[1])
    return Starlette(
        routes=[Route(op.route[1], _endpoint(op, app), methods=[op.route[0]]) for op in operations]
    )


def _endpoint(op: Operation, app: App) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            ask = await _ask(op, request)
            if op.stream:
                return await _stream(op, ask, app, request)
            result = await perform(op, ask, app, principal=_principal(request))
            return _answer(op, result, request)
        except EnvmgrError as error:
            return _problem(error)
        except Exception as error:  # the boundary of a request: answered as internal, logged in full
            log.exception("operation failed", extra={"operation": op.name})
            return _problem(
                EnvmgrError(f"internal error: {type(error).__name__}", hint="See `envmgr daemon logs`.")
            )

    return endpoint


def _principal(request: Request) -> Principal:
    """The socket is its owner's alone, so who comes through it without a key is that person."""
    return Principal(kind=PrincipalKind.PERSON, name=getpass.getuser())


async def _ask(op: Operation, request: Request) -> Ask:
    """Path, query and body as the operation's model. Raises UsageError naming the field."""
    given: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        field = op.takes.model_fields.get(key)
        is_list = field is not None and get_origin(field.annotation) is list
        given[key] = [*given.get(key, []), value] if is_list else value
    if body := await request.body():
        try:
            parsed = json.loads(body)
        except ValueError as error:
            raise UsageError("the body is not JSON", hint="Send a JSON object.") from error
        if not isinstance(parsed, dict):
            raise UsageError("the body is not a JSON object", hint="Send a JSON object.")
        given |= parsed
    if op.name == "events" and (last := request.headers.get("last-event-id")):
        given["after"] = last
    given |= request.path_params
    return parse(op, given)


def _style(request: Request) -> Style:
    """As `Style.of` takes it."""
    return Style.of(request.headers.get("x-envmgr-terminal", ""))


def _answer(op: Operation, result: BaseModel, request: Request) -> Response:
    headers = {EXIT: str(op.status(result))}
    if request.headers.get("accept") == _TEXT:
        return Response(op.text(result, _style(request)), media_type=_TEXT, headers=headers)
    return Response(result.model_dump_json(by_alias=True), media_type=_JSON, headers=headers)


def _problem(error: EnvmgrError) -> Response:
    return Response(json.dumps(error.problem()), status_code=error.http, media_type=_JSON)


async def _stream(op: Operation, ask: Ask, app: App, request: Request) -> Response:
    """The first item is awaited here, so that a refused request is answered with its status."""
    items = stream(op, ask, app, principal=_principal(request))
    first = await _first(items, request)
    if first is None:
        return Response(b"", media_type=_LINES)
    accept = request.headers.get("accept", _JSON)
    kind = accept if accept in (_TEXT, _EVENTS) else _LINES
    return StreamingResponse(_pieces(op, items, first, kind=kind, style=_style(request)), media_type=kind)


async def _first(
    items: Any, request: Request
) -> BaseModel | None:  # Any: an async generator of the operation's items
    """None when there is none, or the asker left before it came: a quiet log may have nothing to say for hours."""
    first: BaseModel | None = None
    failure: Exception | None = None

    async def leave_too() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(leave_too)
        try:
            first = await anext(items, None)
        except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return first


async def _pieces(
    op: Operation, items: Any, first: BaseModel, *, kind: str, style: Style
) -> AsyncIterator[str]:  # Any: an async generator of the operation's items
    async with aclosing(items):
        try:
            yield _piece(op, first, kind, style)
            async for item in items:
                yield _piece(op, item, kind, style)
        except EnvmgrError as error:
            yield _last_words(error, kind)


def _piece(op: Operation, item: BaseModel, kind: str, style: Style) -> str:
    if kind == _TEXT:
        return op.text(item, style)
    data = item.model_dump_json(by_alias=True)
    if kind == _EVENTS:
        number = getattr(item, "seq", None)
        return f"id: {number}\ndata: {data}\n\n" if number is not None else f"data: {data}\n\n"
    return data + "\n"


def _last_words(error: EnvmgrError, kind: str) -> str:
    problem = json.dumps({"problem": error.problem()})
    if kind == _EVENTS:
        return f"event: problem\ndata: {problem}\n\n"
    return f"error: {error.message}\n" if kind == _TEXT else problem + "\n"
