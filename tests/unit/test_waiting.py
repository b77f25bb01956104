"""What a dependant waits for has come, cannot come any more, or may still come."""

from __future__ import annotations

import pytest

from envmgr.core.waiting import settled
from envmgr.model.service import Condition, ServiceKind, ServiceState
from tests.support.requirements import proves

# State of the dependency: what it means for started, ready, completed, succeeded.
OF_A_SERVICE = {
    ServiceState.WAITING: ("", "", "", ""),
    ServiceState.STARTING: ("", "", "", ""),
    ServiceState.READY: ("met", "met", "", ""),
    ServiceState.UNKNOWN: ("met", "met", "", ""),
    ServiceState.FAILED: ("failed", "failed", "failed", "failed"),
    ServiceState.STOPPED: ("failed", "failed", "failed", "failed"),
}
OF_A_TASK = {
    ServiceState.STARTING: ("", "", "", ""),
    ServiceState.DONE: ("met", "met", "met", "met"),
    ServiceState.FAILED: ("failed", "failed", "met", "failed"),
}


@proves("SVC-002")
@pytest.mark.parametrize(
    ("kind", "state", "means"),
    [
        *((ServiceKind.PROCESS, state, means) for state, means in OF_A_SERVICE.items()),
        *((ServiceKind.TASK, state, means) for state, means in OF_A_TASK.items()),
    ],
)
def test_each_state_means_something_for_each_condition(
    kind: ServiceKind, state: ServiceState, means: tuple[str, ...]
) -> None:
    assert tuple(settled(each, kind, state, is_started=False) for each in Condition) == means


@proves("SVC-002")
def test_started_is_met_before_ready_is() -> None:
    starting = (ServiceKind.PROCESS, ServiceState.STARTING)
    assert settled(Condition.STARTED, *starting, is_started=True) == "met"
    assert settled(Condition.READY, *starting, is_started=True) == ""
