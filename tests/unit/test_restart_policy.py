"""When a unit that ended is started again, and when it is not."""

from __future__ import annotations

import pytest

from envmgr.core.restart import Again, End, History, StaysDown, after_end, delay
from envmgr.model.service import Rate, RestartPolicy, RestartWhen
from tests.support.requirements import proves

USUAL = RestartPolicy()


def end(*, is_success: bool = False, is_fatal: bool = False, ready_s: float = 0.0) -> End:
    return End(is_success=is_success, is_fatal=is_fatal, ready_s=ready_s, words="ended with status 1")


def ask(policy: RestartPolicy, what: End, history: History | None = None) -> Again | StaysDown:
    return after_end(policy, history or History(), what, now=1000.0, draw=0.0)


@proves("RESTART-001")
def test_delays_double_up_to_the_cap_and_spread_by_the_jitter() -> None:
    assert [delay(USUAL, n, draw=0.0) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delay(USUAL, 3, draw=1.0) == 10.0
    assert delay(USUAL, 10_000, draw=0.0) == 60.0


@proves("RESTART-002")
@pytest.mark.parametrize(
    ("when", "what", "comes_back"),
    [
        (RestartWhen.ON_FAILURE, end(), True),
        (RestartWhen.ON_FAILURE, end(is_success=True), False),
        (RestartWhen.ALWAYS, end(is_success=True), True),
        (RestartWhen.ALWAYS, end(), True),
        (RestartWhen.NEVER, end(), False),
        (RestartWhen.ALWAYS, end(is_fatal=True), False),
    ],
)
def test_the_policy_says_which_ends_are_followed_by_a_restart(
    when: RestartWhen, what: End, *, comes_back: bool
) -> None:
    assert isinstance(ask(RestartPolicy(when=when), what), Again) == comes_back


@proves("RESTART-002")
def test_only_a_restart_that_was_wanted_and_is_not_tried_counts_as_giving_up() -> None:
    assert ask(RestartPolicy(when=RestartWhen.NEVER), end()) == StaysDown(
        reason="its restart policy is never"
    )
    fatal = ask(USUAL, end(is_fatal=True))
    assert isinstance(fatal, StaysDown)
    assert fatal.gave_up
    assert "which a restart cannot mend" in fatal.reason


@proves("RESTART-003")
def test_the_attempt_grows_and_starts_anew_after_a_minute_of_readiness() -> None:
    history = History(attempt=4)
    soon, late = ask(USUAL, end(ready_s=59.0), history), ask(USUAL, end(ready_s=60.0), history)
    assert isinstance(soon, Again)
    assert isinstance(late, Again)
    assert (soon.delay_s, soon.history.attempt) == (16.0, 5)
    assert (late.delay_s, late.history.attempt) == (1.0, 1)


@proves("RESTART-004")
def test_an_empty_budget_is_named_with_its_window() -> None:
    history = History(restarts=(500.0, 600.0, 700.0, 800.0, 900.0), attempt=5)
    assert ask(USUAL, end(), history) == StaysDown(
        reason="it ended with status 1, and was restarted 5 times in 10 min already", gave_up=True
    )


@proves("RESTART-004")
def test_a_budget_counts_what_its_window_still_sees() -> None:
    policy = RestartPolicy(budget=Rate(count=1, window_s=10.0), flap=Rate(count=9, window_s=20.0))
    again = ask(policy, end(), History(restarts=(970.0, 985.0)))
    assert isinstance(again, Again)
    assert again.history.restarts == (985.0, 1000.0)


@proves("RESTART-004")
@pytest.mark.parametrize(
    ("lives_s", "restarts", "minutes"),
    [
        (0.2, 5, 0.6), (2, 5, 0.8), (10, 5, 1.6), (30, 5, 3.6), (60, 5, 6.1), (90, 5, 9.1), (110, 5, 11.1),
        (130, 12, 28), (200, 12, 44), (280, 12, 61),
    ],
)  # fmt: skip
def test_a_service_that_always_dies_gives_up_when_the_table_says(
    lives_s: float, restarts: int, minutes: float
) -> None:
    now, history = 0.0, History()
    while True:
        now += lives_s
        verdict = after_end(USUAL, history, end(ready_s=lives_s), now=now, draw=0.5)
        if isinstance(verdict, StaysDown):
            break
        history, now = verdict.history, now + verdict.delay_s
    assert len(history.restarts) == restarts
    assert now / 60 == pytest.approx(minutes, rel=0.05)


@proves("RESTART-004")
def test_a_service_that_lives_five_minutes_each_time_never_gives_up() -> None:
    now, history = 0.0, History()
    for _ in range(100):
        now += 300
        verdict = after_end(USUAL, history, end(ready_s=300), now=now, draw=0.5)
        assert isinstance(verdict, Again)
        history, now = verdict.history, now + verdict.delay_s
    assert len(history.restarts) <= 12
