"""A clock for budgets, windows and graces: it reads like Unix time and moves only with time itself.

Within one boot it follows the clock that counts from boot on, sleep included, from a value that the store keeps; so neither a
wall clock that is set nor a restart of the daemon moves it. After a reboot it goes on from the wall clock, never backwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from envmgr.protocols.store import Transaction

_ANCHOR = "steady-clock"


def since_boot() -> float:
    """Seconds since boot, sleep included where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def anchored(
    tx: Transaction, *, boot: str, wall: float, uptime: Callable[[], float] = since_boot
) -> Callable[[], float]:
    """The clock of this installation; fixed by the first daemon of a boot.

    Args:
        boot: Id of the present boot; empty when the system has none: then the wall clock of each start of the daemon counts.
        wall: Unix time.
    """
    known_boot, ahead_s, at = json.loads(tx.get(_ANCHOR) or '["", 0, 0]')
    if not boot or known_boot != boot:
        ahead_s = max(wall, at) - uptime()
    tx.put(_ANCHOR, json.dumps([boot, ahead_s, uptime() + ahead_s]))
    return lambda: uptime() + float(ahead_s)
