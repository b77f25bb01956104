"""Create sessions through libtmux, one client process for a whole session.

Imported when the first session is opened: libtmux takes 50 ms to load, and most commands never open one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from libtmux.common import tmux_cmd
from libtmux.exc import TmuxCommandNotFound

from envmgr.errors import Unavailable, Unobservable


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How a creating command list ended."""

    code: int
    lines: tuple[str, ...]
    refusal: str


async def build(words: Sequence[str], *, slots: anyio.CapacityLimiter, deadline_s: float) -> Built:
    """Run a tmux command list to its end.

    At the deadline, and when the caller is cancelled, the client process is killed before this returns.

    Args:
        words: Everything behind `tmux` on its command line.
        slots: How many may run at once.
        deadline_s: Waiting for a slot included.

    Raises:
        Unobservable: It was killed. A server that was stuck may still carry out what it was asked.
        Unavailable: There is no tmux.
    """
    call = _Call(words, slots=slots)
    with anyio.move_on_after(deadline_s):
        await slots.acquire_on_behalf_of(call)
        call.start()
        try:
            return await call.built
        finally:
            await call.kill()
    raise Unobservable(
        "tmux did not create the session in time; it may still appear",
        hint="Run `envmgr doctor`; the server may be stopped or overloaded.",
    )


class _Client(tmux_cmd):
    """libtmux runs a command where an object is made; parted here, so that its process can be had meanwhile."""

    def __init__(self) -> None:
        self.is_over = False

    def run(self, words: Sequence[str]) -> Built:
        try:
            super().__init__(*words)
        except TmuxCommandNotFound as error:
            raise Unavailable(
                "there is no tmux on this host",
                hint="Install it (apt-get install tmux); if it is installed, `envmgr daemon stop` lets the next command"
                " start a daemon with your present PATH.",
            ) from error
        finally:
            self.is_over = True
        return Built(code=self.returncode, lines=tuple(self.stdout), refusal="\n".join(self.stderr))


class _Call:
    """One client in a thread of its own.

    A tmux client hands its output to the server. While that is stuck, libtmux waits for the end of the output even of a
    client that was killed. So the thread may stay behind, doing nothing and keeping its slot, until the server runs again
    or ends; it is a daemon thread, which does not keep this process from ending.
    """

    def __init__(self, words: Sequence[str], *, slots: anyio.CapacityLimiter) -> None:
        self._words, self._slots = words, slots
        self._client = _Client()
        self._loop = asyncio.get_running_loop()
        self.built: asyncio.Future[Built] = self._loop.create_future()

    def start(self) -> None:
        threading.Thread(target=self._work, name="tmux build", daemon=True).start()

    async def kill(self) -> None:
        """Kill the client process, if it still runs, and wait until it is gone."""
        with anyio.CancelScope(shield=True):
            while not self._client.is_over:
                if hasattr(self._client, "process"):
                    self._client.process.kill()
                    if self._client.process.poll() is not None:
                        return
                await anyio.sleep(0.005)

    def _work(self) -> None:
        result: Built | Exception
        try:
            result = self._client.run(self._words)
        except Exception as error:  # noqa: BLE001 - carried over to the waiting caller, whatever it is
            result = error
        with contextlib.suppress(RuntimeError):  # the loop has ended before the server answered
            self._loop.call_soon_threadsafe(self._finish, result)

    def _finish(self, result: Built | Exception) -> None:
        self._slots.release_on_behalf_of(self)
        if self.built.done():  # given up
            return
        if isinstance(result, Built):
            self.built.set_result(result)
        else:
            self.built.set_exception(result)
