"""Gemini: `POST /v1beta/models/<model>:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from envmgr.testing.model_server.plan import Call, Conversation, Result, converse, smallest
from envmgr.testing.model_server.scenarios import Refuse
from envmgr.testing.model_server.wire import (
    CACHE_READ,
    INPUT,
    OUTPUT,
    Json,
    Reply,
    event,
    new_id,
    words,
)

_USAGE = {
    "promptTokenCount": INPUT + CACHE_READ,
    "candidatesTokenCount": OUTPUT,
    "cachedContentTokenCount": CACHE_READ,
    "totalTokenCount": INPUT + CACHE_READ + OUTPUT,
}


class Gemini:
    """See `Dialect`. The model is read from the body, where the server puts what the path says."""

    def read(self, body: Json) -> Conversation:
        declared = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
        tools = {f["name"]: f.get("parametersJsonSchema") or f.get("parameters") or {} for f in declared}
        parts = (body.get("systemInstruction") or {}).get("parts", [])
        system = "\n".join(part.get("text", "") for part in parts)
        return converse(_items(body.get("contents", [])), tools=tools, system=system)

    def whole(self, body: Json, reply: Reply) -> Json:
        return _chunk(body, list(_parts(body, reply)), finish="STOP")

    def stream(self, body: Json, reply: Reply) -> Sequence[bytes]:
        *first, last = _parts(body, reply)
        chunks = [*[_chunk(body, [part]) for part in first], _chunk(body, [last], finish="STOP")]
        return [event(chunk) for chunk in chunks]

    def refusal(self, refuse: Refuse) -> Json:
        return {"error": {"code": refuse.status, "message": refuse.message, "status": refuse.kind.upper()}}


def _items(contents: list[Json]) -> Iterator[str | Result]:
    for content in contents:
        if content.get("role") != "user":
            continue
        for part in content.get("parts", []):
            if "text" in part:
                yield part["text"]
            elif "functionResponse" in part:
                yield Result(json.dumps(part["functionResponse"]))


def _parts(body: Json, reply: Reply) -> Iterator[Json]:
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if isinstance(reply, Call):
        yield {"functionCall": {"id": new_id("")[:8], "name": reply.tool, "args": dict(reply.arguments)}}
    elif schema:
        yield {"text": json.dumps(smallest(schema))}
    else:
        for word in words(reply.text):
            yield {"text": word}


def _chunk(body: Json, parts: list[Json], *, finish: str = "") -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _USAGE,
        "modelVersion": body.get("model"),
        "responseId": new_id(""),
    }
