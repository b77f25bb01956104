"""End exactly the processes that were meant: a pidfd first, then the check of who it is, then the signal (R-31)."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal as signals
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import anyio

from envmgr.drivers import proc
from envmgr.model.observe import ProcessIdentity
from envmgr.protocols.processes import Member

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.005, 0.05


@functools.cache
def boot_id() -> str:
    """Of this start of the host."""
    return proc.boot_id()


def identity(row: proc.Row) -> ProcessIdentity:
    """Who a row is about."""
    return ProcessIdentity(pid=row.pid, start_ticks=row.start_ticks, boot_id=boot_id())


def is_still(row: proc.Row | None, who: ProcessIdentity) -> bool:
    """Whether a row read just now is about this process and not about a later one of its pid."""
    return row is not None and identity(row) == who


@dataclass(slots=True)
class Ending:
    """The processes of one end, each held by a pidfd from before its first signal.

    Attributes:
        hangs_up: Whether who ignores a signal gets SIGHUP, too.
        members: Who was there at the last look.
    """

    hangs_up: bool = False

    members: Sequence[Member] = ()
    _held: dict[ProcessIdentity, int] = field(default_factory=dict)
    _told: set[tuple[ProcessIdentity, int]] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._held.values():
            os.close(fd)

    @property
    def known(self) -> tuple[ProcessIdentity, ...]:
        return tuple(self._held)

    def tell(self, number: int) -> None:
        """Signal each member once; one whose identity does not hold any more is left alone. Blocking."""
        for member in self.members:
            self._tell(member.identity, number)
            if self.hangs_up and proc.ignores(member.identity.pid, number):
                self._tell(member.identity, signals.SIGHUP)

    def _tell(self, who: ProcessIdentity, number: int) -> None:
        if who not in self._held and not self._hold(who):
            return
        if (who, number) not in self._told:
            self._told.add((who, number))
            with contextlib.suppress(ProcessLookupError):
                signals.pidfd_send_signal(self._held[who], number)
                # A stopped process takes no signal before it continues.
                signals.pidfd_send_signal(self._held[who], signals.SIGCONT)

    def _hold(self, who: ProcessIdentity) -> bool:
        try:
            fd = os.pidfd_open(who.pid)
        except ProcessLookupError:
            return False
        # Checked after the pidfd was taken, so that it can only be the process that was meant.
        if not is_still(proc.row(who.pid), who):
            os.close(fd)
            return False
        self._held[who] = fd
        return True

    async def wait(self, until: float) -> None:
        """Until all whom the last look saw have ended, or the moment has come."""
        poll = select.poll()
        left = {self._held[member.identity] for member in self.members if member.identity in self._held}
        for fd in left:
            poll.register(fd, select.POLLIN)
        pause_s = _FIRST_PAUSE_S
        while left and time.monotonic() < until:
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LAST_PAUSE_S)
            for fd, _ in poll.poll(0):
                poll.unregister(fd)
                left.discard(fd)
