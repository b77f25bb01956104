"""One request as it came in."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from envmgr.errors import TooLarge, UsageError

# Any: messages of ASGI.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ID = re.compile(r"[!-~]{1,64}")
# Random once: asking the kernel for each request would be a tenth of the work of an idle one.
_OURS, _numbers = secrets.token_hex(4), itertools.count(1)


class Request:
    """Head of a request, and the way to its body.

    Attributes:
        id: What the asker calls it by `X-Request-Id`, or a name of ours.
        path: With its percent signs.
    """

    __slots__ = ("headers", "id", "method", "path", "query", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            # Said twice is said as a list (RFC 9110 5.3); a second `Host` thus fits no name.
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        said = self.headers.get("x-request-id", "")
        self.id = said if said and _ID.fullmatch(said) else f"{_OURS}{next(_numbers):08x}"
        self.method: str = scope["method"]
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        self.query: bytes = scope.get("query_string", b"")

    async def body(self, most: int) -> bytes:
        """All of it.

        Raises:
            TooLarge: It is longer than `most` bytes; nothing more of it is read.
            UsageError: The asker left before its end.
        """
        if int(self.headers.get("content-length") or 0) > most:
            raise _too_large(most)
        pieces, size, is_more = [], 0, True
        while is_more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise UsageError("the request ended before its body did", hint="Send it again.")
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _too_large(most)
            is_more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def gone(self) -> None:
        """Return when the asker has left. The body must have been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most} bytes", hint="Send less at once.")
