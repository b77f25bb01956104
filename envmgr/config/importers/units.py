"""Durations and sizes of other formats in the way ours are written."""

from __future__ import annotations

import re

from envmgr.config.importers.asking import wrong
from envmgr.config.problems import Mark

_PER_UNIT = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h|d)"
_SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_NAMES = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


def seconds(text: str, mark: Mark, what: str) -> float:
    """A duration of Go's, such as `1m30s`; a bare number is seconds."""
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return float(text)
    if not re.fullmatch(rf"({_PART})+", text):
        raise wrong(mark, f"{what} must be a duration such as 30s or 1m30s, not {text!r}")
    return sum(float(count) * _PER_UNIT[unit.replace("µ", "u")] for count, unit in re.findall(_PART, text))


def duration(value_s: float) -> str:
    """As templates write it."""
    if value_s == 0:
        return "0"
    if value_s < 1:
        return f"{max(1, round(value_s * 1000))}ms"
    return f"{value_s:.3f}".rstrip("0").rstrip(".") + "s"


def size(text: str, mark: Mark, what: str) -> str:
    """A size as compose and Docker write it (`512m`, `1gb`, powers of 1024) as templates write it."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([bkmgt]?)(?:i?b)?", text.lower())
    if not found:
        raise wrong(mark, f"{what} must be a size such as 512m or 1g, not {text!r}")
    count = int(float(found[1]) * 2 ** _SHIFTS[found[2] or "b"])
    for name, shift in _NAMES:
        if count and count % 2**shift == 0:
            return f"{count >> shift}{name}"
    return f"{count}B"
