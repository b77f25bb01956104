"""Words about long work, at a rate that people can read and the store can keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_EVERY_S = 1.0


def sparing(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Pass on at most one line a second; what comes between is left out."""
    told_at = -math.inf

    def say(line: str) -> None:
        nonlocal told_at
        if time.monotonic() >= told_at + _EVERY_S:
            told_at = time.monotonic()
            tell(line)

    return say
