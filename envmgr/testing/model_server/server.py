"""The HTTP server: routes, pacing, faults, and a log of every request."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from envmgr.testing.model_server.anthropic import Anthropic
from envmgr.testing.model_server.chat import Chat
from envmgr.testing.model_server.gemini import Gemini
from envmgr.testing.model_server.plan import Action, Call, plan
from envmgr.testing.model_server.responses import Responses
from envmgr.testing.model_server.scenarios import Cut, Drip, Hold, Refuse, Say
from envmgr.testing.model_server.wire import Dialect, Json

_MODELS = ("scripted-1", "claude-sonnet-4-5", "gpt-5")
_DRIP_S = 0.5
_SECRET = re.compile("auth|key|cookie", re.IGNORECASE)


class ModelServer:
    """The scripted model API as an aiohttp application.

    Each path also exists below `/s/<session>`, as a gateway hands it out.

    Args:
        log: Gets one JSON line per request: at, method, path, headers (secrets cut), body and the chosen action.
        delay_s: Pause after each streamed event.
    """

    def __init__(self, log: Path, *, delay_s: float = 0.01) -> None:
        self._log, self._delay_s = log, delay_s

    def app(self) -> web.Application:
        """Build the application."""
        app = web.Application(client_max_size=64 * 2**20)
        anthropic, chat, responses = Anthropic(), Chat(), Responses()
        for prefix in ("", "/s/{session}"):
            app.router.add_post(prefix + "/v1/messages", lambda r: self._spoken(r, anthropic))
            app.router.add_post(prefix + "/v1/messages/count_tokens", self._count_tokens)
            for version in ("/v1", ""):
                app.router.add_post(f"{prefix}{version}/chat/completions", lambda r: self._spoken(r, chat))
                app.router.add_post(f"{prefix}{version}/responses", lambda r: self._spoken(r, responses))
            app.router.add_get(prefix + "/v1/models", self._models)
            path = "/{version:v1beta|v1|v1alpha}/models/{model:[^:/]+}:{verb}"
            app.router.add_post(prefix + path, self._gemini)
        app.router.add_route("*", "/{tail:.*}", self._unknown)
        return app

    async def _spoken(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        body = await request.json()
        return await self._answer(request, dialect, body=body, streams=bool(body.get("stream")))

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        verb = request.match_info["verb"]
        body = {**await request.json(), "model": request.match_info["model"]}
        if verb == "countTokens":
            self._note(request, body, action=None)
            return web.json_response({"totalTokens": 123})
        return await self._answer(request, Gemini(), body=body, streams=verb == "streamGenerateContent")

    async def _answer(
        self, request: web.Request, dialect: Dialect, *, body: Json, streams: bool
    ) -> web.StreamResponse:
        action = plan(dialect.read(body))
        self._note(request, body, action=action)
        match action:
            case Refuse():
                return web.json_response(
                    dialect.refusal(action), status=action.status, headers=dict(action.headers)
                )
            case Hold(seconds, text):
                await asyncio.sleep(seconds)
                reply, pause_s = Say(text), self._delay_s
            case Drip(seconds):
                reply, pause_s = Say(" ".join(f"tick{i}" for i in range(int(seconds / _DRIP_S)))), _DRIP_S
            case Cut():
                half = dialect.stream(body, Say("half an answer that never gets its second half"))
                return await _send(request, half[: len(half) // 2], pause_s=self._delay_s, cuts=True)
            case Say() | Call():
                if not streams:
                    return web.json_response(dialect.whole(body, action))
                return await _send(request, dialect.stream(body, action), pause_s=self._delay_s)
        return await _send(request, dialect.stream(body, reply), pause_s=pause_s)

    async def _count_tokens(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note(request, body, action=None)
        return web.json_response({"input_tokens": max(1, len(json.dumps(body)) // 4)})

    async def _models(self, request: web.Request) -> web.Response:
        self._note(request, None, action=None)
        made = {"object": "model", "type": "model", "created_at": "2026-01-01T00:00:00Z"}
        data = [{"id": name, "display_name": name, **made} for name in _MODELS]
        ends = {"first_id": _MODELS[0], "last_id": _MODELS[-1], "has_more": False}
        return web.json_response({"object": "list", "data": data, **ends})

    async def _unknown(self, request: web.Request) -> web.Response:
        body = (await request.read())[:2000].decode("utf-8", "replace")
        self._note(request, body, action=None)
        error = {"type": "not_found_error", "message": f"the scripted model has no {request.path}"}
        # CLIs ask for the root to see whether somebody answers.
        return web.json_response({"error": error}, status=200 if request.path == "/" else 404)

    def _note(self, request: web.Request, body: object, *, action: Action | None) -> None:
        headers = {k: v[:6] + "..." if _SECRET.search(k) else v for k, v in request.headers.items()}
        record = {
            "at": time.time(),
            "method": request.method,
            "path": request.path_qs,
            "headers": headers,
            "body": body,
            "action": None if action is None else {"type": type(action).__name__, **asdict(action)},
        }
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")


async def _send(
    request: web.Request, events: Sequence[bytes], *, pause_s: float, cuts: bool = False
) -> web.StreamResponse:
    headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for chunk in events:
        await response.write(chunk)
        await asyncio.sleep(pause_s)
    if cuts and request.transport is not None:
        request.transport.abort()
    else:
        with suppress(ConnectionResetError):  # some hang up once they have what they need
            await response.write_eof()
    return response
