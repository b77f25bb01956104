"""`envmgr mcp`: one process per assistant, on its standard input and output.

The transport is our own: messages have a greatest size, what is no message is answered instead of dropped, and no thread stands
between the pipe and the loop.
"""

from __future__ import annotations

import os
import select
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.shared.message import SessionMessage

from envmgr.interfaces.mcp.bridge import Bridge
from envmgr.interfaces.mcp.catalogue import Choice
from envmgr.interfaces.mcp.messages import NoMessage, read, too_long
from envmgr.interfaces.mcp.serving import server

LISTED = "ENVMGR_MCP_LISTED"
"""Variable that names the file to be made once the tools have been listed."""

MOST_BYTES = 4 * 1024 * 1024
"""The same as the SDK allows over HTTP."""
_LAST_S, _LOOK_S = 3.0, 0.01
"""Once our input has ended, so long for what was asked before."""
_PIECE_BYTES = 64 * 1024
_PIPE_BYTES = 4096
"""A pipe that can be written to takes so much without blocking (pipe(7), PIPE_BUF)."""


def main(choice: Choice) -> int:
    """Serve until standard input ends."""
    # Whatever else writes to standard output, such as a library's warning, must not end up between messages.
    wire_in, wire_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    anyio.run(_serve, wire_in, wire_out, choice)
    return 0


async def _serve(wire_in: int, wire_out: int, choice: Choice) -> None:
    bridge = Bridge()
    made = server(bridge, version=metadata.version("envmgr"), choice=lambda _: choice, tell=_tell)
    incoming, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    spoken, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    asked = _Asked(wire_out)
    async with anyio.create_task_group() as group:
        group.start_soon(_write, wire_out, outgoing, asked)
        group.start_soon(_read, wire_in, incoming, spoken.clone(), asked)
        await made.run(heard, spoken, made.create_initialization_options())
        group.cancel_scope.cancel()
    await bridge.aclose()


def _tell() -> None:
    """Whoever started the assistant may wait for its tools: a file says that they were asked for. Blocking, and very short."""
    with suppress(OSError):
        if file := os.environ.get(LISTED):
            Path(file).touch(mode=0o600)


class _Asked:
    """What was asked and is not answered yet.

    Who ends our input may still read: `echo '{...}' | envmgr mcp` is answered. Who has died does not, and nothing is kept waiting.
    """

    def __init__(self, wire_out: int) -> None:
        self._wire_out = wire_out
        self._open: set[object] = set()

    def begin(self, message: types.JSONRPCMessage) -> None:
        """It has come in."""
        match message:
            case types.JSONRPCRequest():
                self._open.add(message.id)
            case types.JSONRPCNotification(method="notifications/cancelled"):
                self._open.discard((message.params or {}).get("requestId"))

    def refuse(self, message: types.JSONRPCError) -> None:
        """It is to be written, for what came in was no message."""
        self._open.add(id(message))

    def end(self, message: types.JSONRPCMessage) -> None:
        """It was written."""
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._open -= {message.id, id(message)}

    async def answered(self) -> None:
        """Return when nothing is open any more, or nobody reads, or it takes too long."""
        with anyio.move_on_after(_LAST_S):
            while self._open and not self._is_alone():  # noqa: ASYNC110 - pipes tell nobody when their reader goes
                await anyio.sleep(_LOOK_S)

    def _is_alone(self) -> bool:
        poll = select.poll()
        poll.register(self._wire_out, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


async def _read(
    fd: int,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    spoken: MemoryObjectSendStream[SessionMessage],
    asked: _Asked,
) -> None:
    async with incoming, spoken, aclosing(_lines(fd)) as lines:
        async for line in lines:
            try:
                message = _parse(line)
            except NoMessage as no:
                refusal = no.answer()
                asked.refuse(refusal)
                await spoken.send(SessionMessage(refusal))
            else:
                asked.begin(message)
                await incoming.send(SessionMessage(message))
        await asked.answered()


def _parse(line: bytes | None) -> types.JSONRPCMessage:
    if line is None:
        raise too_long(MOST_BYTES)
    return read(line)


@dataclass(slots=True)
class _Gathering:
    """The line that is being read; given up when it grows too long, so that nobody fills our memory."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > MOST_BYTES:
            self.pieces.clear()
        else:
            self.pieces.append(piece)

    def take(self) -> bytes | None:
        """The line; None when it was too long."""
        line = None if self.size > MOST_BYTES else b"".join(self.pieces)
        self.pieces, self.size = [], 0
        return line


async def _lines(fd: int) -> AsyncGenerator[bytes | None, None]:
    """Lines that are not empty; None for each that was too long."""
    gathering = _Gathering()
    while piece := await _receive(fd):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            gathering.add(end)
            line = gathering.take()
            if line is None or line.strip():
                yield line
        gathering.add(rest)
    line = gathering.take()
    if line is None or line.strip():  # the last one may have no end
        yield line


async def _receive(fd: int) -> bytes:
    """Empty at the end."""
    try:
        await anyio.wait_readable(fd)
    except PermissionError:  # a file: always readable, which epoll cannot tell
        await anyio.lowlevel.checkpoint()
    try:
        return os.read(fd, _PIECE_BYTES)
    except ConnectionError:
        return b""


async def _write(fd: int, outgoing: MemoryObjectReceiveStream[SessionMessage], asked: _Asked) -> None:
    async with outgoing:
        async for message in outgoing:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"
            await _send(fd, text.encode())
            asked.end(message.message)


async def _send(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            await anyio.wait_writable(fd)
        except PermissionError:
            await anyio.lowlevel.checkpoint()
        try:
            view = view[os.write(fd, view[:_PIPE_BYTES]) :]
        except ConnectionError:  # nobody reads any more; our input ends, too
            return
