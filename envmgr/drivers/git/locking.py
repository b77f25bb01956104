"""Locks between processes that the kernel drops when their last holder dies.

The descriptor can be handed to git, so that a lock outlives a killed daemon for as long as its git still works.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from envmgr.aio.blocking import act
from envmgr.errors import Unavailable

_FIRST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.02


class Locks:
    """Locks by file, first come first served inside this process."""

    def __init__(self) -> None:
        self._queues: dict[Path, anyio.Lock] = {}

    @asynccontextmanager
    async def held(self, path: Path, *, what: str, deadline_s: float) -> AsyncIterator[int]:
        """Hold the lock on the file `path`, made if missing; yields its descriptor.

        Waits `deadline_s` seconds for other holders; `what` names the thing locked in the message.

        Raises:
            Unavailable: Somebody else held it all the time.
        """
        queue = self._queues.setdefault(path, anyio.Lock())
        try:
            with anyio.fail_after(deadline_s):
                await queue.acquire()
                try:
                    descriptor = await _acquire(path)
                except BaseException:
                    queue.release()
                    raise
        except TimeoutError as error:
            raise Unavailable(
                f"{what} was locked by another process for {deadline_s:g} s",
                hint="Try again; if no other envmgr works there, run `envmgr doctor`.",
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)
            queue.release()
            if not queue.statistics().tasks_waiting:
                self._queues.pop(path, None)


async def _acquire(path: Path) -> int:
    descriptor = await act("file", _open, path)
    wait_s = _FIRST_WAIT_S
    try:
        # Asking again instead of waiting in flock(2): a thread stuck there could not be cancelled.
        while not _try(descriptor):
            await anyio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
