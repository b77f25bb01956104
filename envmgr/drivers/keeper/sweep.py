"""Which processes belong to a service, and ending all of them.

Part of the keeper: standard library only. The keeper is a child subreaper (prctl(2)), so whatever its services start
stays among its descendants, whether it called setsid, was double-forked or lost its parents. That is the proof; sessions and
environments only say to which service a process belongs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from envmgr.drivers import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from envmgr.drivers.keeper.held import Held

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.01, 0.2
_SETTLE_S = 0.005
_KILL_S = 0.6  # three looks 200 ms apart


def everything() -> list[proc.Row]:
    """All living descendants of this keeper."""
    return _alive(_descendants())


def of(service: Held, others: Iterable[Held]) -> list[proc.Row]:
    """The living processes of one service: its session, their descendants, and orphans that bear only its marks."""
    rows = _descendants()
    rest = [one for one in others if one is not service and one.pid is not None]
    seeds = {one.pid: "orphan" for one in rows.values() if _is_orphan_of(one, service, rest)}
    if service.is_alive and service.pid is not None:
        seeds[service.pid] = "root"
    # The pid of an ended service may by now be another one's; then so is the session of that number.
    is_theirs = not service.is_alive and any(one.pid == service.pid for one in rest)
    sessions = [] if service.pid is None or is_theirs else [service.pid]
    found = proc.kin(rows, seeds, sessions=sessions)
    return _alive({pid: rows[pid] for pid in found})


def _is_orphan_of(one: proc.Row, service: Held, rest: list[Held]) -> bool:
    if one.ppid != os.getpid() or one.pid == service.pid or service.pid is None:
        return False
    if any(one.pid == other.pid or one.session == other.pid for other in rest):
        return False
    fits = not service.marks or proc.carries(one.pid, service.marks)
    return fits and not any(not other.marks or proc.carries(one.pid, other.marks) for other in rest)


def _descendants() -> dict[int, proc.Row]:
    rows = proc.table()
    found = proc.kin(rows, {os.getpid(): "keeper"}, sessions=())
    return {pid: rows[pid] for pid in found if pid != os.getpid()}


def _alive(rows: dict[int, proc.Row]) -> list[proc.Row]:
    return [one for one in rows.values() if one.is_alive]


def send(one: proc.Row, number: int) -> None:
    """Signal exactly this process: the pidfd is taken first, then the identity is checked (R-31)."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(one.pid)
        try:
            now = proc.row(one.pid)
            if now is not None and now.start_ticks == one.start_ticks:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


class Stop:
    """A stop under way: signal, grace, KILL, verify. Driven by the loop's clock, so nothing else has to wait.

    Attributes:
        next_at: Moment (monotonic) of the next look.
    """

    def __init__(
        self, find: Callable[[], list[proc.Row]], *, number: int, grace_s: float, wait_s: float = 0.0
    ) -> None:
        """`wait_s`: how much of the grace passes before the signal, because it was asked in another way."""
        self._find, self._number = find, number
        self.next_at = time.monotonic()
        self._signal_at, self._kill_at = self.next_at + wait_s, self.next_at + grace_s
        self._pause_s = _FIRST_PAUSE_S
        self._told: set[tuple[int, int]] = set()
        self._is_clear = False

    def hurry(self, grace_s: float) -> None:
        """A second, shorter request wins."""
        self.next_at = self._signal_at = time.monotonic()
        self._kill_at = min(self._kill_at, self.next_at + grace_s)

    def look(self) -> list[int] | None:
        """Do what is due; returns the pids that survived, or None while it is not over."""
        now = time.monotonic()
        self.next_at = now + _LAST_PAUSE_S  # also when looking fails
        alive = self._find()
        if not alive:
            # One look can miss a child forked while it reads, or one whose environment is empty during its exec.
            if self._is_clear:
                return []
            self._is_clear, self.next_at = True, now + _SETTLE_S
            return None
        self._is_clear = False
        if now >= self._kill_at + _KILL_S:
            return [one.pid for one in alive]
        for one in alive if now >= self._signal_at else ():
            self._tell(one, kill=now >= self._kill_at)
        due = [at for at in (self._signal_at, self._kill_at) if at > now]
        self.next_at = min([now + self._pause_s, *due])
        self._pause_s = min(_LAST_PAUSE_S, self._pause_s * 2)
        return None

    def _tell(self, one: proc.Row, *, kill: bool) -> None:
        if kill:
            send(one, signal.SIGKILL)
        elif (one.pid, one.start_ticks) not in self._told:
            self._told.add((one.pid, one.start_ticks))
            send(one, self._number)
            send(one, signal.SIGCONT)  # a stopped process takes no signal before it continues
