"""Durations and sizes as people write them."""

from __future__ import annotations

import re

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
DURATION = rf"^(?:{_NUMBER}(?:ms|s|m|h|d))+$"
SIZE = rf"^{_NUMBER} ?(?:[kKMGT]i?)?B$"


def seconds(value: object) -> float:
    """`500ms`, `10s`, `1m30s`, `2h`. Raises ValueError with what to write instead."""
    text = str(value).strip()
    if text == "0":
        return 0.0
    if re.fullmatch(_NUMBER, text) and not isinstance(value, bool):
        raise ValueError(f"{text} has no unit; write {text}s, {text}ms or {text}m")
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is not a duration such as 500ms, 10s, 5m or 1h")
    return sum(
        float(number) * _DURATION_UNITS[unit] for number, unit in re.findall(rf"({_NUMBER})(ms|[smhd])", text)
    )


RATE = rf"^[1-9][0-9]{{0,2}}/{DURATION[1:]}"


def rate(value: object) -> tuple[int, float]:
    """`5/10m` is (5, 600.0). Raises ValueError with what to write instead."""
    count, _, window = str(value).strip().partition("/")
    if not re.fullmatch(r"[1-9][0-9]{0,2}", count) or not re.fullmatch(DURATION, window):
        raise ValueError(f"{str(value)!r} is not a rate such as 5/10m")
    return int(count), seconds(window)


def duration(value_s: float) -> str:
    """The short form of a number of seconds."""
    for unit, length in (("h", 3600.0), ("m", 60.0)):
        if value_s >= length and value_s % length == 0:
            return f"{value_s / length:g}{unit}"
    return f"{value_s * 1000:g}ms" if 0 < value_s < 1 else f"{value_s:g}s"


def size_bytes(value: object) -> int:
    """`512MB` (10^6), `1GiB` (2^30). Raises ValueError with what to write instead."""
    text = str(value).strip()
    if re.fullmatch(_NUMBER, text) and not isinstance(value, bool):
        raise ValueError(f"{text} has no unit; write {text}MB or {text}MiB")
    if not re.fullmatch(SIZE, text):
        raise ValueError(f"{text!r} is not a size such as 512MB or 1GiB")
    number, unit = re.fullmatch(rf"({_NUMBER}) ?([A-Za-z]+)", text).groups()  # type: ignore[union-attr]  # SIZE matched
    return int(float(number) * _SIZE_UNITS[unit.upper()])
