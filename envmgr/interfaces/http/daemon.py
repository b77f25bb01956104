"""The daemon's process: one per state directory, held by a kernel lock; HTTP on a Unix socket, and on TCP where that is switched on.

Agents outlive it: ending or killing it stops none of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
import uvicorn

from envmgr.aio import oom
from envmgr.app import paths
from envmgr.bootstrap.daemon import daemon
from envmgr.errors import EnvmgrError
from envmgr.interfaces.http import listening
from envmgr.interfaces.http.access import Rates
from envmgr.interfaces.http.server import Application, application
from envmgr.interfaces.mcp.http import Endpoint
from envmgr.logs import set_up

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005
_GRACE_S = 2
_EVICTION_S = 2.0


class _Server(uvicorn.Server):
    """Signals belong to the daemon, not to the server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Run until a signal or a request ends it; 0 also when another daemon serves this state directory."""
    # No umask of its own: checkouts, services and agents inherit it, and their files are the person's as usual.
    folder = Path(paths.state_dir())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    set_up(sys.stderr)
    # A busy loop would otherwise keep the store's writer thread waiting for the interpreter lock, 5 ms a turn.
    sys.setswitchinterval(_SWITCH_S)
    lock = _singleton(folder / paths.LOCK)
    if lock is None:
        return 0
    oom.shield()
    try:
        anyio.run(_serve, folder, lock)
    except (EnvmgrError, BaseExceptionGroup) as error:
        first = _first(error)
        if not isinstance(first, EnvmgrError):
            raise
        log.error("daemon failed", extra={"why": first.message, "hint": first.hint})
        return first.exit
    return 0


def _first(error: BaseException) -> BaseException:
    """The error inside of task groups."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _singleton(path: Path) -> int | None:
    """The lock, with our pid written into it; None when another daemon holds it. The kernel frees it at our end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd


async def _serve(folder: Path, lock: int) -> None:
    """Adopt what runs, then open the socket; on the way out close it first."""
    async with daemon() as app, anyio.create_task_group() as group:
        rates, mounts = Rates(app.door), {"/mcp": Endpoint(app)}
        doors = [
            (
                _server(application(app, rates=rates, mounts=mounts)),
                listening.on_socket(folder / paths.SOCKET),
            )
        ]
        tcp = listening.on_tcp(app.door.listen) if app.door.listen else None
        if tcp is not None:
            app.is_on_tcp = True
            doors.append((_server(application(app, is_tcp=True, rates=rates, mounts=mounts)), tcp))
        group.start_soon(_signals, app.stopping)
        group.start_soon(_await_eviction, folder / paths.LOCK, lock, app.stopping)
        log.info("daemon ready", extra={"pid": os.getpid()})
        try:
            await _serve_at(doors, app.stopping)
        finally:
            (folder / paths.SOCKET).unlink(missing_ok=True)
            group.cancel_scope.cancel()
    log.info("daemon ended")


def _server(asgi: Application) -> _Server:
    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE_S,
        http="httptools", loop="asyncio", ws="none", server_header=False,
    )  # fmt: skip
    return _Server(config)


async def _serve_at(doors: Sequence[tuple[_Server, socket.socket]], stopping: anyio.Event | None) -> None:
    """Answer at all doors until it is time to end."""
    async with anyio.create_task_group() as group:
        for server, listener in doors:
            group.start_soon(_await_end, stopping, server)
            group.start_soon(partial(server.serve, sockets=[listener]))


async def _await_end(stopping: anyio.Event | None, server: uvicorn.Server) -> None:
    if stopping is not None:
        await stopping.wait()
        server.should_exit = True


async def _await_eviction(path: Path, lock: int, stopping: anyio.Event | None) -> None:
    """End when our state folder was deleted or replaced: nobody can reach us any more, and a second daemon may come."""
    ours = os.fstat(lock).st_ino
    while stopping is not None and not stopping.is_set():
        await anyio.sleep(_EVICTION_S)
        if not path.exists() or path.stat().st_ino != ours:
            log.warning("the state folder is gone; the daemon ends")
            stopping.set()


async def _signals(stopping: anyio.Event | None) -> None:
    """TERM and INT drain and detach; a second one ends at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stopping is None or stopping.is_set():
                os._exit(1)
            stopping.set()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001 - the last line of the process: into its log
        traceback.print_exc()
        sys.exit(1)
