"""Moments as programs exchange them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from envmgr.app.spans import seconds
from envmgr.errors import Invalid, UsageError

_LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


def moment(at: float) -> str:
    """Unix time as RFC 3339 in UTC, to the millisecond."""
    second, rest = divmod(at, 1)
    return f"{_second(int(second))}.{int(rest * 1000):03d}Z"


@lru_cache(1024)
def _second(at: int) -> str:
    """What is told about one call, or many at the same time, is of a few seconds."""
    return datetime.fromtimestamp(at, UTC).isoformat().removesuffix("+00:00")


def past(text: str, *, now: float) -> float:
    """The same of what was: `2h` is two hours ago. Raises as `read`."""
    try:
        return now - seconds(text)
    except UsageError:
        return _date(text, hint="Write 2026-11-20T18:00:00Z, or 30m, 6h, 2d for so long ago.")


def read(text: str, *, now: float) -> float:
    """Unix time of `2026-11-20T18:00:00Z`, or of a length of time from now such as `2h`.

    Raises:
        Invalid: It is neither; without a zone it could be any hour.
    """
    try:
        return now + seconds(text)
    except UsageError:
        return _date(text, hint="Write 2026-11-20T18:00:00Z, or 30m, 6h, 2d from now.")


def _date(text: str, *, hint: str) -> float:
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is not None and 0 <= at.timestamp() <= _LATEST:
            return at.timestamp()
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"{text[:60]!r} is no moment", hint=hint)
