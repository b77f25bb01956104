"""What comes in over either transport: a message of JSON-RPC, or in plain words why it is none and what to send instead."""

from __future__ import annotations

import json
from typing import Any

from mcp import types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError

from envmgr.app.wording import wrong

# Any throughout: JSON.
_SUCH_AS = 'send one such as {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
_METHODS = (
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "prompts/list", "prompts/get",
)  # fmt: skip
_LONGEST_SAID = 300


class NoMessage(Exception):
    """It cannot be carried out, whatever it was meant to be.

    Attributes:
        request: Id of the request, where it has one.
        status: Of the answer over HTTP.
    """

    def __init__(self, code: int, words: str, *, request: str | int | None = None, status: int = 400) -> None:
        super().__init__(words)
        self.code, self.words, self.request, self.status = code, words[:_LONGEST_SAID], request, status

    def answer(self) -> types.JSONRPCError:
        """What says so to whoever sent it."""
        error = types.ErrorData(code=self.code, message=self.words)
        return types.JSONRPCError(jsonrpc="2.0", id=self.request, error=error)


def too_long(most_bytes: int) -> NoMessage:
    """It is not even looked at."""
    words = f"a message may have at most {most_bytes} bytes; send less at once"
    return NoMessage(types.INVALID_REQUEST, words, status=413)


def read(data: bytes) -> types.JSONRPCMessage:
    """The message in these bytes. Raises NoMessage."""
    try:
        found = types.jsonrpc_message_adapter.validate_json(data, by_name=False)
    except ValidationError:
        raise _why(data) from None
    # With an id that is none, or without one, it would pass for a notification, and whoever asked would wait for ever.
    if isinstance(found, types.JSONRPCNotification):
        if b'"id"' in data and "id" in json.loads(data):
            raise _why(data)
        if found.method in _METHODS:
            words = f"`id` is missing, and {found.method} is answered to who gives one; {_SUCH_AS}"
            raise NoMessage(types.INVALID_REQUEST, words)
    return found


def _why(data: bytes) -> NoMessage:
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        said = f"this is not JSON: {error}" if data.strip() else "there is nothing in it"
        return NoMessage(types.PARSE_ERROR, f"{said}; {_SUCH_AS}")
    if isinstance(document, list):
        return NoMessage(types.INVALID_REQUEST, "batches are not taken; send each message by itself")
    if not isinstance(document, dict):
        return NoMessage(types.INVALID_REQUEST, f"a message is a JSON object; {_SUCH_AS}")
    given = document.get("id")
    request = given if isinstance(given, str | int) and not isinstance(given, bool) else None
    code, words = _fault(document, is_named=request is not None)
    return NoMessage(code, words, request=request)


def _fault(document: dict[str, Any], *, is_named: bool) -> tuple[int, str]:
    if document.get("jsonrpc") != "2.0":
        return types.INVALID_REQUEST, f'`jsonrpc` must be "2.0"; {_SUCH_AS}'
    if "id" in document and not is_named:
        return types.INVALID_REQUEST, "`id` must be a text or a whole number; leave it out of notifications"
    if not isinstance(document.get("method"), str):
        return types.INVALID_REQUEST, f"`method` must be a text; {_SUCH_AS}"
    if not isinstance(document.get("params", {}), dict):
        return types.INVALID_PARAMS, "`params` must be an object, such as {} when there are none"
    return types.PARSE_ERROR, "this cannot be read: half a character in a text, or nested too deeply"


async def plainly(ctx: ServerRequestContext[Any], call_next: CallNext) -> HandlerResult:
    """What the SDK refuses, in words that say what to do (middleware of its server)."""
    try:
        return await call_next(ctx)
    except ValidationError as error:
        raise MCPError(types.INVALID_PARAMS, f"{ctx.method}: {wrong(error, BaseModel)}") from error
    except MCPError as error:
        if error.code == types.METHOD_NOT_FOUND:
            words = f"no method is called {ctx.method[:100]!r}; there are {', '.join(_METHODS)}"
            raise MCPError(types.METHOD_NOT_FOUND, words, ctx.method[:100]) from error
        if error.code == types.INVALID_PARAMS and error.data == "":  # its way to say that it waits
            words = "first send `initialize`, and `notifications/initialized` after its answer"
            raise MCPError(types.INVALID_REQUEST, words) from error
        raise
