"""What goes back: results, and problem documents for everything that is none."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import BaseModel

from envmgr.app.operations import Operation
from envmgr.app.saying import said
from envmgr.app.text import Style
from envmgr.errors import EnvmgrError, Unauthenticated
from envmgr.interfaces.http.request import Request, Send

JSON = "application/json"
TEXT = "text/plain"
EXIT = "x-envmgr-exit"
"""Header with the exit status of the command that asked."""
SAID = "x-envmgr-said"
"""Header with the result in one line, percent-encoded, for who sends `X-Envmgr-Say`."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """One that is sent in one piece."""

    status: int = 200
    kind: str = JSON
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, request: Request, send: Send) -> None:
        """Give it to the asker, if it is still there."""
        size = {"content-length": str(len(self.body))} if self.status != 204 else {}
        await send(start(request, self.status, self.kind, self.headers | size))
        body = b"" if request.method == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


def start(request: Request, status: int, kind: str, headers: dict[str, str]) -> dict[str, object]:
    """The message with which every answer begins."""
    ours = {
        "content-type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "x-request-id": request.id,
    }
    pairs = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in (ours | headers).items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def style(request: Request) -> Style:
    """As `Style.of` takes it."""
    return Style.of(request.headers.get("x-envmgr-terminal", ""))


def wanted(request: Request) -> str:
    """The form that is asked for first."""
    return request.headers.get("accept", JSON).partition(",")[0].partition(";")[0].strip()


def answer(op: Operation, result: BaseModel, request: Request) -> Answer:
    """A result as JSON or as people see it."""
    headers = {EXIT: str(op.status(result))}
    if "x-envmgr-say" in request.headers:
        headers[SAID] = quote(said(op, result))
    if wanted(request) == TEXT:
        return Answer(kind=TEXT, body=op.text(result, style(request)).encode(), headers=headers)
    return Answer(body=result.model_dump_json(by_alias=True).encode(), headers=headers)


def problem(error: EnvmgrError, request: Request) -> Answer:
    """The problem document, with what its status wants to be said beside it."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(allow := error.details.get("allow"), list):
        headers["allow"] = ", ".join(allow)
    if isinstance(wait := error.details.get("retry_after_s"), int | float):
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    body = json.dumps(error.problem(request=request.id)).encode()
    return Answer(status=error.http, body=body, headers=headers)
