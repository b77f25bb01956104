"""Anthropic Messages: `POST /v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from envmgr.testing.model_server.plan import Call, Conversation, Result, converse
from envmgr.testing.model_server.scenarios import Refuse, Say
from envmgr.testing.model_server.wire import (
    CACHE_READ,
    CACHE_WRITE,
    INPUT,
    OUTPUT,
    Json,
    Reply,
    as_text,
    event,
    new_id,
    words,
)

_USAGE = {
    "input_tokens": INPUT,
    "cache_read_input_tokens": CACHE_READ,
    "cache_creation_input_tokens": CACHE_WRITE,
}


class Anthropic:
    """See `Dialect`."""

    def read(self, body: Json) -> Conversation:
        tools = {
            tool["name"]: tool["input_schema"] for tool in body.get("tools", []) if "input_schema" in tool
        }
        return converse(_items(body["messages"]), tools=tools, system=as_text(body.get("system")))

    def whole(self, body: Json, reply: Reply) -> Json:
        match reply:
            case Call(tool, arguments):
                content = {"type": "tool_use", "id": new_id("toolu_"), "name": tool, "input": dict(arguments)}
            case Say(text):
                content = {"type": "text", "text": text}
        usage = {**_USAGE, "output_tokens": OUTPUT}
        return {**_message(body, usage), "content": [content], "stop_reason": _stop_reason(reply)}

    def stream(self, body: Json, reply: Reply) -> Sequence[bytes]:
        return [event(data, name=data["type"]) for data in _events(body, reply)]

    def refusal(self, refuse: Refuse) -> Json:
        error = {"type": refuse.kind, "message": refuse.message}
        return {"type": "error", "error": error, "request_id": new_id("req_")}


def _items(messages: list[Json]) -> Iterator[str | Result]:
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if part.get("type") == "text":
                yield part["text"]
            elif part.get("type") == "tool_result":
                yield Result(as_text(part.get("content")))


def _message(body: Json, usage: Json) -> Json:
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stop_reason(reply: Reply) -> str:
    return "tool_use" if isinstance(reply, Call) else "end_turn"


def _events(body: Json, reply: Reply) -> Iterator[Json]:
    yield {"type": "message_start", "message": _message(body, {**_USAGE, "output_tokens": 1})}
    yield {"type": "ping"}
    yield from _text_block("Working on it." if isinstance(reply, Call) else reply.text)
    if isinstance(reply, Call):
        yield from _tool_block(reply)
    delta = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT}}
    yield {"type": "message_stop"}


def _text_block(text: str) -> Iterator[Json]:
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in words(text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}


def _tool_block(call: Call) -> Iterator[Json]:
    block: Json = {"type": "tool_use", "id": new_id("toolu_"), "name": call.tool, "input": {}}
    yield {"type": "content_block_start", "index": 1, "content_block": block}
    raw = json.dumps(dict(call.arguments))
    for start in range(0, len(raw), 24):
        delta = {"type": "input_json_delta", "partial_json": raw[start : start + 24]}
        yield {"type": "content_block_delta", "index": 1, "delta": delta}
    yield {"type": "content_block_stop", "index": 1}
