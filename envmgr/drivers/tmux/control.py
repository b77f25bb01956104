"""One control-mode connection to the tmux server: a read costs 0.1 ms instead of the 2 ms of a process.

It is an accelerator, never a need: whoever uses it must have another way for when it is down (R-17).

A connection is begun only right after the server has answered otherwise. Up to 3.6 at least, a server that meets a half
introduced control client while it tells of a change, or learns that such a client has gone, crashes, and all sessions with
it (tmux/tmux#4980, #5004); clients begun while the server was stuck are exactly that when it runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence

import anyio

from envmgr.aio import blocking, oom
from envmgr.drivers.tmux.parser import Reply, ReplyParser, StreamError
from envmgr.drivers.tmux.quoting import Command, control_line
from envmgr.errors import Unavailable, Unobservable

_log = logging.getLogger(__name__)

_FIRST_DELAY_S, _LAST_DELAY_S = 0.1, 5.0
# Connections that fail this often in a row are futile; one attempt a minute then.
_FUTILE_AFTER, _FUTILE_DELAY_S = 6, 60.0
_PROVEN_AFTER_S = 10.0


class ControlDown(Exception):
    """There is no connection; nothing was sent."""


class ControlLost(Exception):
    """The connection broke after sending; the commands may have been carried out."""


class TmuxControl:
    """Holds one connection, made by `connect`, which may be called often.

    Args:
        argv: The tmux client that becomes the connection.
        env: Its whole environment.
        deadline_s: Seconds to wait for an answer; a quarter of it for a connection.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], deadline_s: float) -> None:
        self._argv, self._env, self._deadline_s = argv, env, deadline_s
        self._link: _Link | None = None
        self._is_connecting = False
        self._ended: list[subprocess.Popen[bytes]] = []
        self._failures = 0
        self._retry_at = 0.0

    async def connect(self) -> None:
        """Connect unless connected or failed too recently; to be called when the server has just answered."""
        if self._is_connecting or time.monotonic() < self._retry_at or self._current() is not None:
            return
        self._is_connecting = True
        try:
            self._link = await self._connect()
        finally:
            self._is_connecting = False

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands together and wait for all their replies. A failed command does not hold back the next.

        Raises:
            ControlDown: There is no connection.
            ControlLost: It broke meanwhile.
            Unobservable: No answer in time; the connection was given up, for its replies would be out of step.
        """
        link = self._current()
        if link is None:
            raise ControlDown
        replies = link.send(commands)
        with anyio.move_on_after(self._deadline_s):
            answers = [await reply for reply in replies]
            if time.monotonic() - link.since_at > _PROVEN_AFTER_S:
                self._failures = 0
            return answers
        link.drop()
        raise Unobservable(
            f"tmux did not answer within {self._deadline_s:g} s",
            hint="Run `envmgr doctor`; the server may be stopped or overloaded.",
        )

    def forgive(self) -> None:
        """Forget earlier failures: they were another server's."""
        self._failures, self._retry_at = 0, 0.0

    async def close(self) -> None:
        """Drop the connection and wait until its client process has ended."""
        if self._link is not None:
            self._link.drop()
            self._retire(self._link)
        for process in self._ended:
            await blocking.act("tmux", process.wait)
        self._ended.clear()

    def _current(self) -> _Link | None:
        if self._link is not None and not self._link.is_open:
            self._retire(self._link)
        return self._link

    async def _connect(self) -> _Link | None:
        link = None
        try:
            with anyio.fail_after(self._deadline_s / 4):
                link = await _start(self._argv, env=self._env)
                # tmux refuses by ending; only an answer tells that it let us in.
                await link.send([["display-message", "-p", ""]])[0]
        except (TimeoutError, ControlLost, OSError, Unavailable) as error:
            _log.info("no control connection to tmux", extra={"why": repr(error)})
            self._give_up(link)
            return None
        except BaseException:
            self._give_up(link)
            raise
        return link

    def _give_up(self, link: _Link | None) -> None:
        if link is not None:
            link.drop()
            self._ended.append(link.process)
        self._back_off()

    def _retire(self, link: _Link) -> None:
        self._ended.append(link.process)
        self._link = None
        self._back_off()

    def _back_off(self) -> None:
        self._ended = [process for process in self._ended if process.poll() is None]
        delay = min(_FIRST_DELAY_S * 2**self._failures, _LAST_DELAY_S)
        self._failures += 1
        self._retry_at = time.monotonic() + (delay if self._failures < _FUTILE_AFTER else _FUTILE_DELAY_S)


class _Link(asyncio.Protocol):
    """One connection's life: commands out, replies in, in order."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.is_open = True
        self.since_at = time.monotonic()
        self._parser = ReplyParser()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, commands: Sequence[Command]) -> list[asyncio.Future[Reply]]:
        """Write the commands in one piece; their replies arrive in the futures, or ControlLost does."""
        loop = asyncio.get_running_loop()
        lines, replies = [], []
        for command in commands:
            marker = secrets.token_hex(16)
            lines += [control_line(command), control_line(["display-message", "-p", marker])]
            self._parser.expect(marker.encode())
            replies.append(loop.create_future())
        self._waiting += replies
        if self._transport is None or not self.is_open:
            self.connection_lost(None)
        else:
            self._transport.write(b"".join(lines))
        return replies

    def data_received(self, data: bytes) -> None:
        try:
            for reply in self._parser.feed(data):
                waiting = self._waiting.popleft()
                if not waiting.done():  # its asker may have been cancelled
                    waiting.set_result(reply)
        except StreamError:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop()

    def drop(self) -> None:
        """End the client process, and with it everything that waits here."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ControlLost())
                waiting.exception()  # seen: when nobody waits any more, nobody needs to hear of it
        self._waiting.clear()


async def _start(argv: Sequence[str], *, env: Mapping[str, str]) -> _Link:
    # One socket instead of two pipes, and no child watcher: asyncio's costs a thread per process on 3.11.
    ours, theirs = socket.socketpair()
    try:
        process = await blocking.act("tmux", _spawn, argv, env, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    link = _Link(process)
    try:
        await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
    except BaseException:
        ours.close()
        link.drop()
        process.wait()
        raise
    return link


def _spawn(argv: Sequence[str], env: Mapping[str, str], end: socket.socket) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd="/",
            stdin=end.fileno(),
            stdout=end.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(
            f"cannot execute {argv[0]}: {error.strerror}", hint="Run `envmgr doctor`."
        ) from error
    oom.release(process.pid)
    return process
