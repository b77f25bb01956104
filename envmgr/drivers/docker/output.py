"""What containers write, and what happens to them, as it comes: one connection each, no thread."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from envmgr.drivers.docker import reading, stream, trouble
from envmgr.drivers.docker.calls import Calls
from envmgr.errors import Unobservable
from envmgr.model.ids import LABEL_INSTANCE
from envmgr.model.observe import Absent, Present

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

    async def output(
        self, container: str, *, since: float = 0.0
    ) -> AsyncGenerator[tuple[float, bytes], None]:
        """See `Engine.output`."""
        heard = Heard(since)
        is_over = False
        while not is_over:
            # When a container ends the engine may end what follows it too early; so its end is asked for, and then a
            # last look takes what is missing.
            is_over, frames = await self._look(container)
            async with aclosing(self._entries(container, heard, frames, is_following=not is_over)) as entries:
                async for entry in entries:
                    yield entry

    async def _look(self, container: str) -> tuple[bool, Frames | Bare]:
        """Whether it has ended, and how its output comes."""
        match await self._calls.seen(
            lambda client: client.inspect_container(container), what="looking at it"
        ):
            case Present(found):
                frames = Bare() if found["Config"].get("Tty") else Frames()
                return not reading.container(found).is_alive, frames
            case Absent():
                return True, Frames()
            case unknown:
                raise Unobservable(unknown.reason, hint="Run `envmgr doctor`.")

    async def _entries(
        self, container: str, heard: Heard, frames: Frames | Bare, *, is_following: bool
    ) -> AsyncGenerator[tuple[float, bytes], None]:
        query = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(is_following),
            "since": heard.since(),
        }
        path = f"/containers/{quote(container)}/logs?{urlencode(query)}"
        what = f"reading the output of {container}"
        lines = Lines()
        try:
            async with stream.ask(self._calls, "GET", path, what=what) as answer:
                heard.is_known = True
                async for chunk in answer.chunks():
                    for kind, payload in frames.feed(chunk):
                        for line in lines.feed(kind, payload):
                            if heard.is_new(line, begun_at=lines.begun_at()):
                                yield line
        except stream.Refused as refused:
            if heard.is_known and (refused.status == 404 or "marked for removal" in refused.words):
                return
            raise trouble.refusal(refused.status, refused.words, what=what) from refused
        if not is_following:
            for line in lines.rest():
                yield line

    async def changes(self) -> AsyncGenerator[str, None]:
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
        raise trouble.broken(self._calls.address, what)


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


class Bare:
    """Output of a container with a terminal comes without frames: each line has its time stamp, and ends as terminals end it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind (always output) and payload of each line that is whole by now."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            yield 1, line.removesuffix(b"\r") + b"\n"


class Heard:
    """What was handed on already, as far as a second look would see it again."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._again: list[tuple[float, bytes]] = []
        self._repeated: list[tuple[float, bytes]] = []
        self.is_known = False

    def since(self) -> str:
        """The moment from which to look next; what was handed on from then on will come again."""
        self._repeated = list(self._again)
        return f"{self._since:.6f}"

    def is_new(self, line: tuple[float, bytes], *, begun_at: float | None) -> bool:
        """Whether to hand it on. `begun_at` is when a line began that has not ended: it must be seen again."""
        if line in self._repeated:
            self._repeated.remove(line)
            return False
        at = line[0] if begun_at is None else min(line[0], begun_at)
        if at > self._since:
            self._since = at
            self._again = [each for each in self._again if each[0] >= at]
        self._again.append(line)
        return True


@dataclass(slots=True)
class _Begun:
    stamp: bytes
    at: float
    data: bytes


class Lines:
    """Puts lines together: the engine splits one of more than 16 KiB, and gives all its pieces one time stamp.

    Its `local` log loses the newline of such a line, so that its end shows only when something else follows.
    """

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}

    def feed(self, kind: int, payload: bytes) -> Iterator[tuple[float, bytes]]:
        """Moment, and bytes, of each line that ended."""
        stamp, _, data = payload.partition(b" ")
        begun = self._begun.pop(kind, None)
        if begun is not None and begun.stamp != stamp:
            yield begun.at, begun.data + b"\n"
            begun = None
        at = begun.at if begun is not None else reading.moment(stamp.decode("ascii"))
        data = begun.data + data if begun is not None else data
        if data.endswith(b"\n"):
            yield at, data
            return
        if len(data) >= _LINE_BYTES:
            yield at, data
            data = b""
        self._begun[kind] = _Begun(stamp, at, data)

    def begun_at(self) -> float | None:
        """When the oldest line began that has not ended."""
        return min((line.at for line in self._begun.values()), default=None)

    def rest(self) -> list[tuple[float, bytes]]:
        """What never ended."""
        return [(line.at, line.data) for line in self._begun.values() if line.data]
