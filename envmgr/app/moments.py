"""Moments as programs exchange them."""

from __future__ import annotations

from datetime import UTC, datetime

from envmgr.app.spans import seconds
from envmgr.errors import Invalid, UsageError

_LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


def moment(at: float) -> str:
    """Unix time as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(text: str, *, now: float) -> float:
    """Unix time of `2026-11-20T18:00:00Z`, or of a length of time from now such as `2h`.

    Raises:
        Invalid: It is neither; without a zone it could be any hour.
    """
    try:
        return now + seconds(text)
    except UsageError:
        pass
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is not None and 0 <= at.timestamp() <= _LATEST:
            return at.timestamp()
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"{text[:60]!r} is no moment", hint="Write 2026-11-20T18:00:00Z, or 30m, 6h, 2d from now.")
