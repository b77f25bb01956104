"""When a system is let alone, when many agents have one trouble, and when nothing at all is done by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.breaker import Breaker, Stand, failed, succeeded, tries
from envmgr.core.fleet import Fleet, Noticed, goes, is_counted, is_too_much, lost, notice, proven, settled
from tests.support.requirements import proves


def opened() -> Breaker:
    """At second 20."""
    breaker = Breaker()
    for at in (0.0, 10.0, 20.0):
        breaker = failed(breaker, at)
    return breaker


@proves("RECOVER-019")
def test_three_failures_within_half_a_minute_open_a_breaker() -> None:
    assert opened().stand(20.0) is Stand.OPEN
    assert failed(failed(failed(Breaker(), 0.0), 10.0), 31.0).stand(31.0) is Stand.CLOSED
    assert opened().refuses("otter", 25.0) == "tried again in 5 s"


@proves("RECOVER-019")
def test_after_a_pause_one_agent_tries_and_two_successes_close_it() -> None:
    half = tries(opened(), "otter", 31.0)

    assert half.stand(31.0) is Stand.HALF_OPEN
    assert half.refuses("otter", 32.0) == ""
    assert half.refuses("badger", 32.0) == "another agent tries first"
    assert succeeded(half, 32.0).stand(32.0) is Stand.HALF_OPEN
    assert succeeded(succeeded(half, 32.0), 33.0) == Breaker()


@proves("RECOVER-019")
def test_one_success_and_five_minutes_without_a_failure_close_it_for_there_may_be_nobody_else_to_try() -> (
    None
):
    tried = succeeded(tries(opened(), "otter", 31.0), 32.0)

    assert (tried.stand(331.0), tried.stand(332.0)) == (Stand.HALF_OPEN, Stand.CLOSED)
    assert failed(tried, 331.0).wait_s == 20.0
    assert failed(tried, 700_000.0) == Breaker(failures=(700_000.0,))
    assert succeeded(tried, 400.0) == Breaker()


@proves("RECOVER-019")
def test_a_failed_trial_doubles_the_pause_up_to_five_minutes() -> None:
    breaker, now, pauses = opened(), 20.0, []
    for _ in range(7):
        pauses.append(breaker.wait_s)
        now += breaker.wait_s
        breaker = failed(breaker, now)

    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@proves("RECOVER-019")
def test_a_trial_that_nobody_hears_of_again_blocks_nobody_for_ever() -> None:
    assert tries(opened(), "otter", 31.0).refuses("badger", 152.0) == ""


# --- many agents ----------------------------------------------------------------------------------------------


def trouble(*names: str, agents: int = 50) -> Fleet:
    fleet = Fleet()
    for at, name in enumerate(names):
        fleet = notice(fleet, Noticed(agent=name, failure="session", at=float(at)), agents=agents)
    return fleet


@proves("RECOVER-020")
@pytest.mark.parametrize(
    ("names", "agents", "is_open"),
    [
        (("a", "b", "c"), 50, True),
        (("a", "b"), 50, False),
        (("a", "b"), 6, True),
        (("a", "b"), 7, False),
        (("a",), 1, False),
        (("a", "a", "a"), 50, False),
    ],
)
def test_the_same_trouble_of_many_agents_is_one_of_the_host(
    names: tuple[str, ...], agents: int, *, is_open: bool
) -> None:
    assert bool(trouble(*names, agents=agents).failure) is is_open


@proves("RECOVER-020")
def test_one_goes_first_and_then_two_at_a_time() -> None:
    fleet = goes(trouble("a", "b", "c"), "a")
    assert fleet.refuses("a", (), 5.0) == ""
    assert "another one is mended first" in fleet.refuses("b", (), 5.0)

    fleet = proven(fleet, "a")
    assert fleet.refuses("b", {"c"}, 5.0) == ""
    assert "two others" in fleet.refuses("b", {"c", "d"}, 5.0)


@proves("RECOVER-020")
def test_after_a_canary_that_was_lost_another_one_waits_longer_each_time() -> None:
    fleet = goes(trouble("a", "b", "c"), "a")
    fleet = lost(fleet, "a", 5.0)
    assert "next try is in 10 s" in fleet.refuses("b", (), 5.0)
    assert fleet.refuses("b", (), 15.0) == ""

    fleet = lost(goes(fleet, "b"), "b", 15.0)
    assert "next try is in 20 s" in fleet.refuses("c", (), 15.0)


@proves("RECOVER-020")
def test_it_is_over_when_nobody_has_that_trouble_any_more_and_none_showed_it_for_a_minute() -> None:
    fleet = trouble("a", "b", "c")

    assert settled(fleet, ["a"], 500.0) is fleet
    assert settled(fleet, [], 60.0) is fleet
    assert settled(fleet, [], 63.0) == Fleet()


@proves("RECOVER-020", "RECOVER-021")
def test_mending_many_agents_of_one_trouble_once_each_is_not_too_much_and_twice_is() -> None:
    fleet = proven(goes(trouble("a", "b", "c"), "a"), "a")
    counted = []
    for name in (*"bcdefgh", "b", "a"):
        if is_counted(fleet, name, "session"):
            counted.append(name)
        fleet = goes(fleet, name)

    assert counted == ["b", "a"]
    assert is_counted(fleet, "x", "memory")
    assert is_counted(goes(trouble("a", "b", "c"), "a"), "b", "session")


# --- too much ---------------------------------------------------------------------------------------------------


@proves("RECOVER-021")
def test_what_leads_to_safe_mode() -> None:
    def too_much(
        fleet: Fleet = Fleet(),  # noqa: B008 - a frozen value
        persons: tuple[tuple[str, float], ...] = (),
        acts: tuple[float, ...] = (),
    ) -> str:
        return is_too_much(fleet, persons, acts, per_hour=20, now=1000.0)

    assert too_much() == ""
    assert "more than 10 min" in too_much(trouble("a", "b", "c"))
    assert "3 agents within 10 min" in too_much(persons=(("a", 500.0), ("b", 600.0), ("c", 700.0)))
    assert too_much(persons=(("a", 100.0), ("b", 600.0), ("c", 700.0))) == ""
    assert too_much(persons=(("a", 500.0), ("a", 600.0), ("b", 700.0))) == ""
    assert "20 measures within an hour" in too_much(acts=tuple(float(n) for n in range(20)))
    assert too_much(acts=tuple(float(n) for n in range(19))) == ""


@proves("RECOVER-019")
@given(st.lists(st.tuples(st.floats(min_value=0.0, max_value=400.0), st.booleans()), max_size=40))
def test_whatever_happens_an_open_breaker_lets_somebody_try_within_five_minutes(
    steps: list[tuple[float, bool]],
) -> None:
    breaker, now = Breaker(), 0.0
    for passed_s, is_well in steps:
        now += passed_s
        if not breaker.refuses("otter", now):
            breaker = tries(breaker, "otter", now)
            breaker = succeeded(breaker, now) if is_well else failed(breaker, now)
        assert breaker.refuses("otter", now + 300.0) == ""
