"""OpenAI chat completions: `POST /v1/chat/completions`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from envmgr.testing.model_server.plan import Call, Conversation, Result, converse
from envmgr.testing.model_server.scenarios import Refuse
from envmgr.testing.model_server.wire import (
    CACHE_READ,
    INPUT,
    OUTPUT,
    Json,
    Reply,
    as_text,
    event,
    new_id,
    words,
)

# Cached tokens are part of the prompt's here, unlike Anthropic's.
_USAGE = {
    "prompt_tokens": INPUT + CACHE_READ,
    "completion_tokens": OUTPUT,
    "total_tokens": INPUT + CACHE_READ + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHE_READ},
}


class Chat:
    """See `Dialect`."""

    def read(self, body: Json) -> Conversation:
        functions = [tool["function"] for tool in body.get("tools", []) if tool.get("function")]
        tools = {function["name"]: function.get("parameters", {}) for function in functions}
        messages = body["messages"]
        system = "\n".join(
            as_text(m.get("content")) for m in messages if m["role"] in {"system", "developer"}
        )
        return converse(_items(messages), tools=tools, system=system)

    def whole(self, body: Json, reply: Reply) -> Json:
        message: Json = {"role": "assistant"}
        if isinstance(reply, Call):
            message |= {"content": None, "tool_calls": [_tool_call(reply)]}
        else:
            message |= {"content": reply.text}
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
        return {**_base(body, "chat.completion"), "usage": _USAGE, "choices": [choice]}

    def stream(self, body: Json, reply: Reply) -> Sequence[bytes]:
        base = _base(body, "chat.completion.chunk")
        chunks = [{**base, "choices": [choice]} for choice in _choices(reply)]
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**base, "choices": [], "usage": _USAGE})
        return [*[event(chunk) for chunk in chunks], b"data: [DONE]\n\n"]

    def refusal(self, refuse: Refuse) -> Json:
        return {"error": {"message": refuse.message, "type": refuse.kind, "code": refuse.kind}}


def _items(messages: list[Json]) -> Iterator[str | Result]:
    for message in messages:
        if message["role"] == "user":
            yield as_text(message.get("content"))
        elif message["role"] == "tool":
            yield Result(as_text(message.get("content")))


def _base(body: Json, kind: str) -> Json:
    return {
        "id": new_id("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model"),
    }


def _tool_call(call: Call) -> Json:
    function = {"name": call.tool, "arguments": json.dumps(dict(call.arguments))}
    return {"id": new_id("call_"), "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return "tool_calls" if isinstance(reply, Call) else "stop"


def _choices(reply: Reply) -> Iterator[Json]:
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if isinstance(reply, Call):
        deltas.append({"tool_calls": [{"index": 0, **_tool_call(reply)}]})
    else:
        deltas += [{"content": word} for word in words(reply.text)]
    for delta in deltas:
        yield {"index": 0, "delta": delta, "finish_reason": None}
    yield {"index": 0, "delta": {}, "finish_reason": _finish(reply)}
