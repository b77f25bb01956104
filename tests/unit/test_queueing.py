"""The decisions of the work queue, without a queue."""

from __future__ import annotations

import pytest

from envmgr.core.queueing import (
    Meaning,
    ObstacleKind,
    Refusal,
    back_off_s,
    meaning,
    obstacles,
    overrun,
    rank,
    refusal,
    standing,
    unfit,
)
from envmgr.model.task import Dependents, Task, TaskSpec, TaskStatus, Usage, task_name, task_number
from tests.support.requirements import proves

S = TaskStatus


def _task(status: TaskStatus, **more: object) -> Task:
    return Task(id=7, repo="/r", type="fix", priority=5, status=status, **more)  # type: ignore[arg-type]


@proves("QUEUE-001")
@pytest.mark.parametrize(
    ("unmet", "due_at", "status"),
    [(0, None, S.READY), (0, 9.0, S.READY), (0, 10.0, S.READY), (0, 11.0, S.SCHEDULED), (1, None, S.BLOCKED), (2, 11.0, S.BLOCKED)],
)  # fmt: skip
def test_a_task_is_blocked_then_scheduled_then_ready(
    unmet: int, due_at: float | None, status: TaskStatus
) -> None:
    assert standing(unmet=unmet, due_at=due_at, now=10.0) is status


@proves("QUEUE-001")
@pytest.mark.parametrize("status", TaskStatus)
def test_every_status_but_ready_has_a_reason(status: TaskStatus) -> None:
    parents = [_task(S.RUNNING)] if status is S.BLOCKED else []

    assert bool(obstacles(_task(status), parents)) == (status is not S.READY)


@pytest.mark.parametrize(
    ("parent", "kind"),
    [
        (S.READY, ObstacleKind.UNFINISHED),
        (S.RUNNING, ObstacleKind.UNFINISHED),
        (S.FAILED, ObstacleKind.FAILED),
        (S.DEAD, ObstacleKind.FAILED),
        (S.CANCELLED, ObstacleKind.CANCELLED),
    ],
)
def test_what_a_task_waits_for_is_named_with_what_became_of_it(
    parent: TaskStatus, kind: ObstacleKind
) -> None:
    (found,) = obstacles(_task(S.BLOCKED), [_task(parent)])

    assert (found.kind, found.on) == (kind, "t-000007")


def test_a_claimer_is_told_what_it_lacks() -> None:
    spec = TaskSpec(type="fix", description="x", capabilities=("gpu", "python"))

    found = unfit(spec, capabilities=["python"], types=["test"])

    assert [(one.kind, one.on) for one in found] == [
        (ObstacleKind.CAPABILITY, "gpu"),
        (ObstacleKind.OTHER_TYPE, "fix"),
    ]
    assert unfit(spec, capabilities=["python", "gpu", "more"], types=[]) == []


@proves("QUEUE-006")
def test_pauses_double_to_an_end_and_differ_a_little() -> None:
    def pause(failures: int, chance: float = 0.5) -> float:
        return back_off_s(failures, base_s=30, most_s=3600, chance=chance)

    assert [pause(n) for n in range(1, 5)] == [30, 60, 120, 240]
    assert pause(20) == pause(10_000) == 3600
    assert 27 <= pause(1, 0.0) < pause(1, 1.0) <= 33
    assert pause(20, 1.0) == 3600


@proves("QUEUE-003")
def test_the_more_urgent_goes_first_and_with_ageing_the_one_that_waited_long_enough() -> None:
    assert rank(1, at=1e9, ageing_s=0) < rank(2, at=0, ageing_s=0)
    assert rank(5, at=1, ageing_s=0) < rank(5, at=2, ageing_s=0)
    # two steps less urgent, and there for just over twice the time
    assert rank(7, at=0, ageing_s=100) < rank(5, at=201, ageing_s=100)
    assert rank(7, at=0, ageing_s=100) > rank(5, at=199, ageing_s=100)


@proves("QUEUE-005")
@pytest.mark.parametrize(
    ("status", "dependents", "means"),
    [
        (S.DONE, Dependents.CANCEL, Meaning.MET),
        (S.RUNNING, Dependents.CANCEL, Meaning.WAIT),
        (S.PAUSED, Dependents.CONTINUE, Meaning.WAIT),
        (S.FAILED, Dependents.BLOCK, Meaning.WAIT),
        (S.FAILED, Dependents.CANCEL, Meaning.CANCEL),
        (S.DEAD, Dependents.CONTINUE, Meaning.MET),
        (S.CANCELLED, Dependents.CANCEL, Meaning.CANCEL),
    ],
)
def test_what_an_end_means_for_those_that_wait(
    status: TaskStatus, dependents: Dependents, means: Meaning
) -> None:
    assert meaning(status, dependents) is means


def test_only_limits_that_are_set_can_be_exceeded() -> None:
    used = Usage(tokens=101, cost=2.0, wall_s=50, tool_calls=3, file_changes=4)

    assert overrun(Usage(), used) == ()
    assert overrun(Usage(tokens=100, cost=2.0, file_changes=3), used) == ("tokens", "file_changes")


def _refused(
    status: TaskStatus, *, who: str = "a", token: int = 5, session: str = "", had: bool = False
) -> Refusal | None:
    task = _task(status, holder="a", session="", lease=5)
    return refusal(task, holder=who, session=session, token=token, had=had)


@proves("QUEUE-004")
def test_only_who_has_a_task_reports_on_it_and_only_while_they_have_it() -> None:
    assert _refused(S.RUNNING) is None
    assert _refused(S.PAUSED) is None
    assert _refused(S.RUNNING, token=0) is None
    assert _refused(S.RUNNING, token=0, session="another") is Refusal.STALE
    assert _refused(S.RUNNING, token=4) is Refusal.STALE
    assert _refused(S.READY) is Refusal.STALE
    assert _refused(S.RUNNING, who="b") is Refusal.NOT_YOURS
    assert _refused(S.RUNNING, who="b", had=True) is Refusal.STALE
    assert _refused(S.DONE) is Refusal.OVER
    assert _refused(S.CANCELLED) is Refusal.CANCELLED
    never = Task(id=1, repo="/r", type="x", priority=1, status=S.READY)
    assert refusal(never, holder="", session="", token=0, had=False) is Refusal.NOT_YOURS


@pytest.mark.parametrize("word", ["", "t-", "t-x", "x", "-1", "t-١", "t-" + "9" * 30, "1e3", "t-000 1"])
def test_words_that_are_no_name_of_a_task(word: str) -> None:
    assert task_number(word) == 0


def test_names_of_tasks_lead_back_to_their_numbers() -> None:
    assert [task_number(task_name(n)) for n in (1, 123, 12_345_678)] == [1, 123, 12_345_678]
    assert task_number("t-7") == task_number("7") == 7
