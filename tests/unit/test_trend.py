"""Forecasts from made-up series: what rises is foreseen, what only jumps about is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.trend import (
    Forecast,
    Point,
    TrendRules,
    ewma_rate,
    forecast,
    is_far,
    is_near,
    percentile,
    worth_a_look,
)
from tests.support.requirements import proves

LIMIT = 1000.0
QUIET = TrendRules()


def _series(value: Callable[[float], float], *, points: int = 60, every_s: float = 10.0) -> list[Point]:
    return [(n * every_s, value(n * every_s)) for n in range(points)]


def _noise(size: float) -> Callable[[float], float]:
    draws = random.Random(7)
    return lambda _: draws.uniform(-size, size)


@proves("PREVENT-003")
def test_a_straight_rise_meets_its_limit_when_it_does() -> None:
    told = forecast(_series(lambda at: 0.5 * at), LIMIT)

    assert told is not None
    assert told.slope == pytest.approx(0.5)
    assert told.left_s == pytest.approx((LIMIT - 0.5 * 590) / 0.5)
    assert (told.agreement, told.points, told.span_s) == (1.0, 60, 590.0)


@proves("PREVENT-003")
def test_noise_hides_no_leak() -> None:
    noise = _noise(40.0)

    told = forecast(_series(lambda at: 0.5 * at + noise(at)), LIMIT)

    assert told is not None
    assert told.slope == pytest.approx(0.5, rel=0.1)


@proves("PREVENT-003")
def test_a_fourth_of_wild_points_moves_nothing() -> None:
    told = forecast(_series(lambda at: 900.0 if at % 40 == 0 else 0.1 * at), LIMIT)

    assert told is not None
    assert told.slope == pytest.approx(0.1, rel=0.2)


@proves("PREVENT-003")
@pytest.mark.parametrize(
    "value",
    [
        lambda at: 500.0,
        _noise(100.0),
        lambda at: 100.0 + at % 60,
        lambda at: 500.0 - 0.5 * at,
        lambda at: 100.0 if at < 300 else 400.0 if at == 300 else 100.0,
    ],
    ids=["constant", "noise", "saw-tooth of a collector", "falls", "one spike"],
)
def test_what_does_not_rise_meets_no_limit(value: Callable[[float], float]) -> None:
    assert forecast(_series(value), LIMIT) is None


def test_what_falls_to_a_lower_limit_meets_it() -> None:
    told = forecast(_series(lambda at: 500.0 - 0.5 * at), 100.0, is_floor=True)

    assert told is not None
    assert told.left_s == pytest.approx((500.0 - 0.5 * 590 - 100.0) / 0.5)


@pytest.mark.parametrize("begin", [0.0, 2000.0], ids=["within the window", "long ago"])
def test_what_has_passed_its_limit_and_goes_on_has_met_it(begin: float) -> None:
    told = forecast(_series(lambda at: begin + 2.0 * at), LIMIT)

    assert told is not None
    assert told.left_s == 0.0


def test_what_rises_from_its_floor_meets_nothing() -> None:
    assert forecast(_series(lambda at: 2000.0 + at), LIMIT, is_floor=True) is None


def test_eleven_points_say_nothing() -> None:
    assert forecast(_series(lambda at: at, points=11), LIMIT) is None
    assert forecast(_series(lambda at: at, points=12), LIMIT) is not None


def test_only_the_window_counts() -> None:
    bent = _series(lambda at: at if at < 600 else 600.0, points=125)

    assert forecast(bent, LIMIT) is None


def test_nothing_is_said_of_nothing() -> None:
    assert forecast([], LIMIT) is None
    assert forecast([(1.0, 1.0)] * 20, LIMIT) is None


@given(
    slope=st.floats(0.01, 10),
    begin=st.floats(0, 100),
    wild=st.lists(st.floats(-50, 50), min_size=60, max_size=60),
)
def test_whatever_is_foreseen_soon_was_worth_a_look(slope: float, begin: float, wild: list[float]) -> None:
    points = [(10.0 * n, begin + slope * 10.0 * n + wild[n]) for n in range(60)]
    limit = max(value for _, value in points) + 1.0

    told = forecast(points, limit)

    if told is not None and told.left_s < QUIET.near_s and told.agreement > 0.9:
        assert worth_a_look(points, limit)


@proves("PREVENT-006")
@pytest.mark.parametrize(
    ("left_s", "span_s", "near", "far"),
    [
        (1799.0, 600.0, True, False),
        (1801.0, 600.0, False, False),
        (3601.0, 600.0, False, True),
        (350.0, 120.0, True, False),
        (370.0, 120.0, False, False),
        (0.0, 120.0, True, False),
    ],
    ids=["near", "between", "far", "soon, seen for two minutes", "too far ahead for that", "met"],
)
def test_it_is_told_when_near_and_over_when_far_and_never_far_ahead_of_what_was_seen(
    left_s: float, span_s: float, *, near: bool, far: bool
) -> None:
    told = Forecast(slope=1.0, left_s=left_s, agreement=1.0, points=12, span_s=span_s, value=1.0)

    assert (is_near(told), is_far(told)) == (near, far)


def test_without_a_trend_nothing_is_near() -> None:
    assert (is_near(None), is_far(None)) == (False, True)


def test_what_stands_still_is_not_worth_a_look() -> None:
    assert not worth_a_look(_series(lambda at: 5.0), LIMIT)
    assert not worth_a_look(_series(lambda at: at, points=5), LIMIT)
    assert not worth_a_look(_series(lambda at: -at), LIMIT)


def test_evenly_spaced_events_have_their_rate() -> None:
    moments = [300.0 * n for n in range(200)]

    assert ewma_rate(moments, moments[-1], tau_s=3600.0) * 3600 == pytest.approx(12, rel=0.06)


def test_what_has_stopped_fades() -> None:
    rates = [ewma_rate([0.0, 10.0, 20.0], now, tau_s=600.0) for now in (20.0, 600.0, 1200.0, 6000.0)]

    assert all(later < earlier for earlier, later in pairwise(rates))
    assert ewma_rate([5.0], 1.0, tau_s=600.0) == 0.0


@pytest.mark.parametrize(
    ("values", "part", "found"),
    [
        ([], 0.95, 0.0),
        ([3.0], 0.95, 3.0),
        (list(range(1, 101)), 0.95, 95),
        ([4, 1, 3, 2], 0.5, 2),
        ([1, 2], 0.0, 1),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], part: float, found: float) -> None:
    assert percentile(values, part) == found
