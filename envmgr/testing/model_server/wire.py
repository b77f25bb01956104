"""What the dialects share: the shape of a dialect, made-up usage, ids, and reading loosely typed JSON."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from envmgr.testing.model_server.plan import Call, Conversation
from envmgr.testing.model_server.scenarios import Refuse, Say

# JSON from a CLI: any of its shapes may change with the CLI's version.
Json: TypeAlias = dict[str, Any]
Reply: TypeAlias = Say | Call

# Fixed, so that meters can be checked against them.
INPUT, CACHE_READ, CACHE_WRITE, OUTPUT = 1200, 800, 300, 57


class Dialect(Protocol):
    """One provider's protocol."""

    def read(self, body: Json) -> Conversation: ...

    def whole(self, body: Json, reply: Reply) -> Json:
        """Answer in one piece."""

    def stream(self, body: Json, reply: Reply) -> Sequence[bytes]:
        """Answer as server-sent events, each ready to be written."""

    def refusal(self, refuse: Refuse) -> Json: ...


def event(data: Json, *, name: str = "") -> bytes:
    """Format one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def words(text: str) -> list[str]:
    """Split as models do: each piece keeps the space behind it."""
    return re.findall(r"\S+\s*", text)


def new_id(prefix: str) -> str:
    """Make an id in the provider's style."""
    return prefix + uuid.uuid4().hex[:20]


def as_text(content: object) -> str:
    """Pull the text out of any nesting of strings, lists and `text`/`content` fields."""
    match content:
        case str():
            return content
        case list():
            return "\n".join(as_text(part) for part in content)
        case Mapping():
            return as_text(content.get("text") or content.get("content") or "")
        case _:
            return ""
