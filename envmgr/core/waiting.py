"""Whether what a dependant waits for has come. Pure."""

from __future__ import annotations

from envmgr.model.service import Condition, ServiceKind, ServiceState


def settled(condition: Condition, kind: ServiceKind, state: ServiceState, *, is_started: bool) -> str:
    """`met`, `failed`, or empty while it can still become either.

    Args:
        kind, state: Of the dependency.
        is_started: Whether it was executed and has lived for a moment.
    """
    if state in (ServiceState.FAILED, ServiceState.STOPPED):
        return "met" if condition is Condition.COMPLETED and kind is ServiceKind.TASK else "failed"
    if state is ServiceState.DONE:
        return "met"
    # Nobody can tell right after a restart of the daemon: the dependant finds out by itself.
    is_up = state in (ServiceState.READY, ServiceState.UNKNOWN)
    is_up = is_up or (condition is Condition.STARTED and is_started)
    return "met" if is_up and condition in (Condition.STARTED, Condition.READY) else ""
