"""The clock of budgets and breakers."""

from __future__ import annotations

from envmgr.runtime.incarnation import Systems


def steady(systems: Systems) -> float:
    """Seconds that only move with time itself, also across restarts of the daemon."""
    return systems.steady()
