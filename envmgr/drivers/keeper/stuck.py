"""A keeper that holds its folder and answers nobody: woken, or ended; never somebody else (R-31).

That it is the keeper takes two proofs: pid, start time and boot are those of its record, and it has the folder's lock file
open, which nobody else keeps open.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from envmgr.drivers import proc
from envmgr.drivers.ending import is_still
from envmgr.model.observe import ProcessIdentity


def wake(lock: Path, who: ProcessIdentity) -> None:
    """Let it go on if it was stopped. Blocking."""
    _signal(lock, who, signal.SIGCONT)


def kill(lock: Path, who: ProcessIdentity) -> bool:
    """Kill it; False when it is not surely the keeper, and then nobody was signalled. Blocking."""
    return _signal(lock, who, signal.SIGKILL)


def _signal(lock: Path, who: ProcessIdentity, number: int) -> bool:
    """The pidfd is taken before the proofs are looked at, so that it can only be who was checked."""
    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_still(proc.row(who.pid), who) or not _has_open(who.pid, lock):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)
        return True
    finally:
        os.close(fd)


def _has_open(pid: int, file: Path) -> bool:
    try:
        wanted = file.stat()
        opened = [os.stat(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:  # it ends just now, or is not ours to look into
        return False
    return any((one.st_dev, one.st_ino) == (wanted.st_dev, wanted.st_ino) for one in opened)
