"""What containers write, and what happens to them, as it comes: one connection each, no thread."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote, urlencode

from envmgr.drivers.docker import reading, stream, trouble
from envmgr.drivers.docker.calls import Calls
from envmgr.model.ids import LABEL_INSTANCE

_HEADER_BYTES = 8
# A line that does not end is handed on in pieces of this size.
_LINE_BYTES = 64 * 1024
# Not `exec_*`: each probe inside of a container would be three of them.
_EVENTS = (
    "create", "start", "restart", "stop", "kill", "die", "oom", "destroy", "pause", "unpause", "rename",
    "update", "health_status",
)  # fmt: skip


class Output:
    """See `Engine`."""

    _calls: Calls
    _instance: str

    async def output(self, container: str, *, since: float = 0.0) -> AsyncIterator[tuple[float, bytes]]:
        """See `Engine.output`."""
        query = {"follow": 1, "stdout": 1, "stderr": 1, "timestamps": 1, "since": f"{since:.6f}"}
        path = f"/containers/{quote(container)}/logs?{urlencode(query)}"
        what = f"reading the output of {container}"
        frames, lines = Frames(), Lines()
        try:
            async with stream.ask(self._calls, "GET", path, what=what) as answer:
                async for chunk in answer.chunks():
                    for kind, payload in frames.feed(chunk):
                        for line in lines.feed(kind, payload):
                            yield line
        except stream.Refused as refused:
            raise trouble.refusal(refused.status, refused.words, what=what) from refused
        for line in lines.rest():
            yield line

    async def changes(self) -> AsyncIterator[str]:
        """See `Engine.changes`."""
        filters = {
            "type": ["container"],
            "label": [f"{LABEL_INSTANCE}={self._instance}"],
            "event": list(_EVENTS),
        }
        path = f"/events?{urlencode({'filters': json.dumps(filters)})}"
        what, rest = "listening to its events", b""
        try:
            async with stream.ask(self._calls, "GET", path, what=what) as answer:
                async for chunk in answer.chunks():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        if line.strip():
                            yield json.loads(line)["Actor"]["ID"]
        except stream.Refused as refused:
            raise trouble.refusal(refused.status, refused.words, what=what) from refused
        raise trouble.broken(what)


class Frames:
    """Takes the engine's multiplexed stream apart: a byte for the kind, three of nothing, four of length, payload."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind (1 output, 2 errors) and payload of each frame that is whole by now."""
        rest, start = self._rest, 0
        rest += chunk
        while len(rest) - start >= _HEADER_BYTES:
            end = start + _HEADER_BYTES + int.from_bytes(rest[start + 4 : start + _HEADER_BYTES], "big")
            if len(rest) < end:
                break
            yield rest[start], bytes(rest[start + _HEADER_BYTES : end])
            start = end
        del rest[:start]


class Lines:
    """Puts lines together: the engine splits one of more than 16 KiB, and stamps each piece."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[float, bytes]] = {}

    def feed(self, kind: int, payload: bytes) -> Iterator[tuple[float, bytes]]:
        """Moment of the first byte, and bytes, of each line that ended."""
        stamp, _, data = payload.partition(b" ")
        if kind in self._begun:
            at, before = self._begun.pop(kind)
            data = before + data
        else:
            at = reading.moment(stamp.decode("ascii"))
        if data.endswith(b"\n") or len(data) >= _LINE_BYTES:
            yield at, data
        else:
            self._begun[kind] = at, data

    def rest(self) -> list[tuple[float, bytes]]:
        """What never ended."""
        return list(self._begun.values())
