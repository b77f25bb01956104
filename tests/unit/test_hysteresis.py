"""How many answers in a row count."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.core.hysteresis import Streak, pause_s
from envmgr.model.probe import Liveness, Readiness, Startup, TcpProbe
from envmgr.protocols.keepers import Held
from envmgr.runtime.vigil import Vigils
from tests.support.requirements import proves


def after(answers: str, *, up: int = 1, down: int = 3) -> bool | None:
    """What counts after good (+) and bad (-) answers."""
    streak = Streak()
    for answer in answers:
        streak = streak.after(is_good=answer == "+", up=up, down=down)
    return streak.is_up


@proves("PROBE-001")
@pytest.mark.parametrize(
    ("answers", "is_up"),
    [
        ("", None),
        ("+", True),
        ("--", None),
        ("---", False),
        ("+--", True),
        ("+--+--", True),
        ("+---", False),
        ("---+", True),
    ],
)
def test_one_good_answer_counts_and_three_bad_ones_in_a_row(answers: str, is_up: bool | None) -> None:  # noqa: FBT001
    assert after(answers) is is_up


@proves("PROBE-001")
@pytest.mark.parametrize(
    ("answers", "is_up"), [("+", None), ("++", True), ("++-", False), ("++-+", False), ("++-++", True)]
)
def test_as_many_in_a_row_as_are_asked_for(answers: str, is_up: bool | None) -> None:  # noqa: FBT001
    assert after(answers, up=2, down=1) is is_up


@proves("PROBE-011")
@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
def test_a_look_comes_up_to_a_tenth_earlier_or_later(draw: float, seconds: float) -> None:
    assert pause_s(10.0, draw=draw) == pytest.approx(seconds)


@proves("PROBE-001")
def test_the_usual_numbers_are_those_of_the_design() -> None:
    probe = TcpProbe(port="http")
    ready, live, startup = Readiness(probe=probe), Liveness(probe=probe), Startup(probe=probe)

    assert (ready.period_s, ready.timeout_s, ready.up, ready.down) == (10.0, 2.0, 1, 3)
    assert (live.period_s, live.timeout_s, live.down, live.grace_s) == (15.0, 5.0, 4, 30.0)
    assert (startup.period_s, startup.timeout_s, startup.up) == (0.5, 2.0, 1)


def launched(launch: int, *, generation: int = 1, started_at: float = 1.0) -> Held:
    return Held(
        service="web", generation=generation, launch=launch, identity=None, started_at=started_at, ended_at=None,
        exit_code=None, exit_signal=None, error="", log=Path("log"), log_offset=0,
    )  # fmt: skip


@proves("PROBE-001")
@pytest.mark.parametrize(
    "later",
    [launched(2), launched(1, generation=2), launched(1, started_at=2.0)],
    ids=["launch", "gen", "keeper"],
)
def test_each_launch_begins_at_zero_and_the_same_one_goes_on(later: Held) -> None:
    vigils = Vigils()
    first = vigils.over("web", launched(1))
    first.live = first.live.after(is_good=False, up=1, down=4)

    assert vigils.over("web", launched(1)).live.bad == 1
    assert vigils.over("db", launched(1)).live.bad == 0
    assert vigils.over("web", later).live.bad == 0
