"""Lengths of time as people write them."""

from __future__ import annotations

import re

from envmgr.errors import UsageError

_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Of `90s`, `30m`, `6h` or `2d`. Raises UsageError for anything else."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no length of time", hint="Write 90s, 30m, 6h or 2d.")
    return float(found[1]) * _SECONDS[found[2]]
