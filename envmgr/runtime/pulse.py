"""Whether this machine itself is why something does not answer: then a missed answer says nothing about a service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from envmgr.aio import blocking
from envmgr.errors import Unobservable

_AFTER_RESUME_S = 60.0
_ASLEEP_S = 2.0
_LOOK_S = 5.0
_STALE_S = 60.0
_PROC_S = 5.0
_SWAPPED_PAGES_PER_S = 2500.0  # 10 MB/s of pages of 4 KiB, in and out together


class Pulse:
    """Looks at the machine when somebody wants to know, at most every few seconds; costs nothing in between.

    Args:
        load_per_cpu: Mean load of the last minute for each processor above which the machine counts as overloaded; 0: never.
        proc: The kernel's files.
        awake, since_boot: Seconds on clocks of which only the second goes on while the machine sleeps.
    """

    def __init__(
        self,
        *,
        load_per_cpu: float = 2.0,
        proc: Path = Path("/proc"),
        awake: Callable[[], float] = time.monotonic,
        since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._limit = load_per_cpu * (os.cpu_count() or 1)
        self._proc, self._awake, self._since_boot = proc, awake, since_boot
        self._slept = since_boot() - awake()
        self._resumed_at: float | None = None
        self._looked_at: float | None = None
        self._swapped: tuple[float, int] | None = None
        self._strain = ""

    async def look(self) -> str:
        """Look, unless somebody just has; returns the reason."""
        now = self._awake()
        if self._looked_at is None or now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            try:
                self._strain = await blocking.look_again(self, "proc", _PROC_S, self._read, now)
            except Unobservable:  # whoever cannot read this in time cannot judge others either
                self._strain = "the machine is too busy to tell how busy it is"
        return self.reason()

    def reason(self) -> str:
        """Why nothing is to be concluded from a missed answer just now, by the last look; empty when all is well."""
        now = self._awake()
        self._notice_sleep(now)
        if self._resumed_at is not None and now - self._resumed_at < _AFTER_RESUME_S:
            return f"the machine woke up {now - self._resumed_at:.0f} s ago"
        is_fresh = self._looked_at is not None and now - self._looked_at < _STALE_S
        return self._strain if is_fresh else ""

    def _read(self, now: float) -> str:
        return self._overload() or self._swapping(now)

    def _notice_sleep(self, now: float) -> None:
        """The clock that goes on during sleep is ahead of the other by all the time slept."""
        slept = self._since_boot() - now
        if slept - self._slept > _ASLEEP_S:
            self._resumed_at = now
        self._slept = slept

    def _overload(self) -> str:
        if self._limit == 0:
            return ""
        try:
            load = float((self._proc / "loadavg").read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            return ""
        return f"the machine is overloaded: its load is {load:.1f}" if load > self._limit else ""

    def _swapping(self, now: float) -> str:
        pages = self._swapped_pages()
        before, self._swapped = self._swapped, (now, pages)
        if before is None or now <= before[0]:
            return ""
        rate = (pages - before[1]) / (now - before[0])
        return "the machine is short of memory: it swaps all the time" if rate > _SWAPPED_PAGES_PER_S else ""

    def _swapped_pages(self) -> int:
        try:
            lines = (self._proc / "vmstat").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout ")))
