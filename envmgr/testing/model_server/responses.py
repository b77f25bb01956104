"""OpenAI responses: `POST /v1/responses`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from envmgr.testing.model_server.plan import Call, Conversation, Result, Schema, converse
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

_USAGE = {
    "input_tokens": INPUT + CACHE_READ,
    "input_tokens_details": {"cached_tokens": CACHE_READ},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": INPUT + CACHE_READ + OUTPUT,
}
_SPOKEN = {"user", "developer", "system"}


class Responses:
    """See `Dialect`."""

    def read(self, body: Json) -> Conversation:
        items = (
            body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
        )
        told = [as_text(item.get("content")) for item in items if item.get("role") in _SPOKEN - {"user"}]
        system = "\n".join([as_text(body.get("instructions")), *told])
        tools = {namespace + name: schema for namespace, name, schema in _tools(body)}
        return converse(_items(items), tools=tools, system=system)

    def whole(self, body: Json, reply: Reply) -> Json:
        return {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "model": body.get("model"),
            "status": "completed",
            "output": [_item(body, reply)],
            "usage": _USAGE,
            "error": None,
            "incomplete_details": None,
        }

    def stream(self, body: Json, reply: Reply) -> Sequence[bytes]:
        numbered = enumerate(_events(self.whole(body, reply), reply))
        return [event({**data, "sequence_number": n}, name=data["type"]) for n, data in numbered]

    def refusal(self, refuse: Refuse) -> Json:
        return {"error": {"message": refuse.message, "type": refuse.kind, "code": refuse.kind}}


def _tools(body: Json) -> Iterator[tuple[str, str, Schema]]:
    """Namespace, name and schema; MCP tools come grouped in namespaces."""
    for tool in body.get("tools", []):
        if tool.get("type") == "function":
            yield "", tool["name"], tool.get("parameters", {})
        elif tool.get("type") == "namespace":
            for inner in tool.get("tools", []):
                yield tool["name"], inner["name"], inner.get("parameters", {})


def _items(items: list[Json]) -> Iterator[str | Result]:
    for item in items:
        if item.get("role") == "user":
            yield as_text(item.get("content"))
        elif str(item.get("type", "")).endswith("_output"):
            yield Result(as_text(item.get("output")))


def _item(body: Json, reply: Reply) -> Json:
    if not isinstance(reply, Call):
        content = {"type": "output_text", "text": reply.text, "annotations": []}
        message = {"type": "message", "id": new_id("msg_"), "role": "assistant"}
        return {**message, "status": "completed", "content": [content]}
    item = {
        "type": "function_call",
        "id": new_id("fc_"),
        "call_id": new_id("call_"),
        "name": reply.tool,
        "arguments": json.dumps(dict(reply.arguments)),
        "status": "completed",
    }
    for namespace, name, _ in _tools(body):
        if namespace and namespace + name == reply.tool:
            item |= {"namespace": namespace, "name": name}
    return item


def _events(response: Json, reply: Reply) -> Iterator[Json]:
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": started}
    item = response["output"][0]
    place = {"item_id": item["id"], "output_index": 0}
    if isinstance(reply, Call):
        empty = {**item, "arguments": "", "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", **place, "delta": item["arguments"]}
        yield {"type": f"{kind}.done", **place, "arguments": item["arguments"]}
    else:
        empty = {**item, "content": [], "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
        for word in words(reply.text):
            yield {"type": "response.output_text.delta", **place, "content_index": 0, "delta": word}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": response}
