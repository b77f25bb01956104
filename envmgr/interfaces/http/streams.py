"""Answers that take their time: streams of items, and results that are waited for as long as the asker is there.

A stream is one JSON object per line, or text, or server-sent events, with `id` where items are numbered.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from pydantic import BaseModel

from envmgr.app.operations import Operation
from envmgr.app.text import Style
from envmgr.errors import EnvmgrError
from envmgr.interfaces.http.answers import TEXT, Answer, start, style, wanted
from envmgr.interfaces.http.request import Request, Send

# Any throughout: items and results differ per operation.
T = TypeVar("T")

_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"


class Gone(Exception):
    """The asker has left; nobody hears an answer."""


async def while_asked(work: Callable[[], Awaitable[T]], request: Request) -> T:
    """What `work` gives; it is cancelled when the asker leaves.

    Raises:
        Gone: The asker left.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def leave_too() -> None:
        await request.gone()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(leave_too)
        try:
            results.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise Gone
    return results[0]


class Streaming:
    """An answer in pieces. `first` was awaited before it, so that a refused request is answered with its status."""

    def __init__(self, op: Operation, items: Any, first: BaseModel) -> None:
        self._op, self._items, self._first = op, items, first
        self.headers = {"cache-control": "no-store"}

    async def send(self, request: Request, send: Send) -> None:
        """Give all items to the asker; ends when it leaves."""
        kind = wanted(request)
        kind = kind if kind in (TEXT, _EVENTS) else _LINES
        await send(start(request, 200, kind, self.headers))
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, request, group.cancel_scope)
            async for piece in self._pieces(kind, style(request)):
                await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
            group.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _pieces(self, kind: str, look: Style) -> AsyncIterator[str]:
        async with aclosing(self._items):
            try:
                yield _piece(self._op, self._first, kind, look)
                async for item in self._items:
                    yield _piece(self._op, item, kind, look)
            except EnvmgrError as error:
                yield _last_words(error, kind)


async def _cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    await request.gone()
    scope.cancel()


async def streaming(op: Operation, items: Any, request: Request) -> Streaming | Answer:
    """The answer of a streaming operation, begun. Raises as the operation, and Gone."""
    first: BaseModel | None = await while_asked(lambda: anext(items, None), request)
    return Streaming(op, items, first) if first is not None else Answer(kind=_LINES)


def _piece(op: Operation, item: BaseModel, kind: str, look: Style) -> str:
    if kind == TEXT:
        return op.text(item, look)
    data = item.model_dump_json(by_alias=True)
    if kind == _EVENTS:
        number = getattr(item, "seq", None)
        return f"id: {number}\ndata: {data}\n\n" if number is not None else f"data: {data}\n\n"
    return data + "\n"


def _last_words(error: EnvmgrError, kind: str) -> str:
    document = json.dumps({"problem": error.problem()})
    if kind == _EVENTS:
        return f"event: problem\ndata: {document}\n\n"
    return f"error: {error.message}\n" if kind == TEXT else document + "\n"
