"""What the daemon's process does while it runs: adopt what there is, then answer at its doors until it is time to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from envmgr.app import paths
from envmgr.bootstrap.daemon import daemon
from envmgr.interfaces.http import listening
from envmgr.interfaces.http.access import PEER, Peer, Rates
from envmgr.interfaces.http.server import Application, application
from envmgr.interfaces.mcp.http import Endpoint

log = logging.getLogger(__name__)

_GRACE_S = 2
_UCRED = struct.Struct("iII")
_PROMPT_S = 0.1
_EVICTION_S = 2.0


class _Connection(HttpToolsProtocol):
    """Knows which process is at the other end of a Unix socket (unix(7), SO_PEERCRED)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family == socket.AF_UNIX:
            said = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            self.app_state = {**self.app_state, PEER: Peer(pid=_UCRED.unpack(said)[0])}


def run(folder: Path, lock: int) -> None:
    """Serve the state folder, whose lock is held, until a signal or a request ends it."""
    anyio.run(_serve, folder, lock)


class _Server(uvicorn.Server):
    """Ends when it is told to, at once: uvicorn looks for that ten times a second, and waits a tenth more."""

    def __init__(self, config: uvicorn.Config, stopping: anyio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the daemon."""
        yield

    async def main_loop(self) -> None:
        """Until it is time to end; the header `Date` is renewed each second."""
        while not self._stopping.is_set():
            await self.on_tick(0)
            with anyio.move_on_after(1):
                await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Most connections are idle and end here; the others get their time."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(_PROMPT_S):
            while self.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody when one has gone
                await anyio.sleep(0.001)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)


async def _serve(folder: Path, lock: int) -> None:
    """Adopt what runs, then open the socket; on the way out close it first."""
    async with daemon() as app, anyio.create_task_group() as group:
        stopping = app.stopping
        assert stopping is not None, "as `bootstrap.daemon` made it"
        rates, mounts = Rates(app.door), {"/mcp": Endpoint(app)}
        at_socket = application(app, rates=rates, mounts=mounts)
        doors = [(_server(at_socket, stopping), listening.on_socket(folder / paths.SOCKET))]
        tcp = listening.on_tcp(app.door.listen) if app.door.listen else None
        if tcp is not None:
            app.is_on_tcp = True
            doors.append((_server(application(app, is_tcp=True, rates=rates, mounts=mounts), stopping), tcp))
        group.start_soon(_signals, stopping)
        group.start_soon(_await_eviction, folder / paths.LOCK, lock, stopping)
        log.info("daemon ready", extra={"pid": os.getpid()})
        try:
            await _serve_at(doors)
        finally:
            (folder / paths.SOCKET).unlink(missing_ok=True)
            group.cancel_scope.cancel()
    log.info("daemon ended")


def _server(asgi: Application, stopping: anyio.Event) -> _Server:
    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE_S,
        http=_Connection, loop="asyncio", ws="none", server_header=False, proxy_headers=False,
    )  # fmt: skip
    return _Server(config, stopping)


async def _serve_at(doors: Sequence[tuple[_Server, socket.socket]]) -> None:
    """Answer at all doors until it is time to end."""
    async with anyio.create_task_group() as group:
        for server, listener in doors:
            group.start_soon(partial(server.serve, sockets=[listener]))


async def _await_eviction(path: Path, lock: int, stopping: anyio.Event) -> None:
    """End when our state folder was deleted or replaced: nobody can reach us any more, and a second daemon may come."""
    ours = os.fstat(lock).st_ino
    while not stopping.is_set():
        await anyio.sleep(_EVICTION_S)
        if not path.exists() or path.stat().st_ino != ours:
            log.warning("the state folder is gone; the daemon ends")
            stopping.set()


async def _signals(stopping: anyio.Event) -> None:
    """TERM and INT drain and detach; a second one ends at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stopping.is_set():
                os._exit(1)
            stopping.set()
