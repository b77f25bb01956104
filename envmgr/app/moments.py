"""Moments as programs exchange them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: float) -> str:
    """Unix time as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
