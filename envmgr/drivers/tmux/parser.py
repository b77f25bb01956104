"""Cut the byte stream of a tmux control-mode connection into replies.

Every command is followed by `display-message -p MARKER`, where the marker is random. A program in a pane can print what
looks like the end of a reply and will often guess its time and number; it cannot guess the marker. So the true end of a
reply is the last line that could be it before the marker's own block.

Pure: bytes in, replies out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_LINE_LIMIT_BYTES = 4 * 1024 * 1024


class StreamError(Exception):
    """The stream does not follow the protocol; the connection is of no more use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one command answered, without the last line feed."""

    text: bytes
    is_error: bool


class ReplyParser:
    """Feed it what arrives, in pieces of any size; it holds what is not complete yet.

    Outside of replies everything is a notification, and ignored: envmgr asks, it does not listen.
    """

    def __init__(self, *, line_limit_bytes: int = _LINE_LIMIT_BYTES) -> None:
        self._limit = line_limit_bytes
        self._rest = b""
        self._markers: deque[bytes] = deque()
        self._begin: list[bytes] = []  # the fields of the open block, empty outside
        self._lines: list[bytes] = []  # of the open reply, up to the marker
        self._is_reply = False

    def expect(self, marker: bytes) -> None:
        """Announce a command that was sent, with the marker sent behind it."""
        self._markers.append(marker)

    def feed(self, data: bytes) -> list[Reply]:
        """Take what arrived; returns the replies it completed, in the order of their commands.

        Raises:
            StreamError: A line is too long, or a reply came that nobody asked for.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit:
            raise StreamError(f"a line is longer than {self._limit} bytes")
        return [reply for line in lines if (reply := self._line(line)) is not None]

    def _line(self, line: bytes) -> Reply | None:
        if self._is_reply:
            if line == self._markers[0]:
                return self._finish()
            self._lines.append(line)
        elif self._begin:
            # A block nobody waits for: of attaching, of a hook, or of the marker itself.
            if _is_end(line, self._begin):
                self._begin = []
        elif line.startswith(b"%begin "):
            self._open(line.split()[1:])
        return None

    def _open(self, fields: list[bytes]) -> None:
        self._begin = fields
        # The last field is 1 for commands that came through this connection.
        self._is_reply = fields[-1:] == [b"1"]
        if self._is_reply and not self._markers:
            raise StreamError("a reply came that nobody asked for")

    def _finish(self) -> Reply:
        self._markers.popleft()
        lines, begin = self._lines, self._begin
        if not lines or not lines[-1].startswith(b"%begin "):
            raise StreamError("the marker stands alone")
        self._lines, self._begin, self._is_reply = [], lines.pop().split()[1:], False
        for at in range(len(lines) - 1, -1, -1):
            if _is_end(lines[at], begin):
                return Reply(text=b"\n".join(lines[:at]), is_error=lines[at].startswith(b"%error"))
        raise StreamError("a reply has no end")


def _is_end(line: bytes, begin: list[bytes]) -> bool:
    return line.startswith((b"%end ", b"%error ")) and line.split()[1:] == begin
