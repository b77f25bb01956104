"""How many more agents fit: the table of supplies, and what an agent needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.capacity import Need, Supply, answer, need
from tests.support.requirements import proves

MEMORY = Supply(
    name="memory", unit="bytes", free=10_000, each=1_500, basis="usual", remedy="stop some", keep=500
)
PORTS = Supply(name="ports", unit="blocks", free=20, each=1, basis="template", remedy="widen the pool")


@proves("PREVENT-005")
def test_what_runs_out_first_bounds_how_many_fit() -> None:
    told = answer([PORTS, MEMORY])

    assert (told.fits, told.first) == (6, MEMORY)
    assert told.supplies == (PORTS, MEMORY)


@proves("PREVENT-005")
@pytest.mark.parametrize(
    ("supply", "fits"),
    [
        (MEMORY, 6),
        (replace(MEMORY, keep=0), 6),
        (replace(MEMORY, keep=1_001), 5),
        (replace(MEMORY, reserved=3_000), 4),
        (replace(MEMORY, free=400), 0),
        (replace(MEMORY, free=400, each=0), 0),
        (replace(MEMORY, each=0), None),
        (replace(MEMORY, free=2_000), 1),
        (replace(MEMORY, free=1_999), 0),
    ],
    ids=[
        "floor",
        "exact",
        "kept",
        "reserved",
        "too little",
        "too little for nobody",
        "none needed",
        "one",
        "not quite",
    ],
)
def test_a_supply_is_enough_for_whole_agents(supply: Supply, fits: int | None) -> None:
    assert supply.fits == fits


def test_of_equals_the_nearest_to_its_end_is_named() -> None:
    nearer = replace(MEMORY, name="disk", free=9_600)

    assert answer([MEMORY, nearer]).first == nearer


def test_advice_bounds_nothing() -> None:
    cpu = Supply(
        name="cpu", unit="processors", free=0.5, each=1, basis="usual", remedy="wait", is_advice=True
    )

    assert answer([cpu, PORTS]).fits == 20


def test_without_bounds_nobody_counts() -> None:
    assert answer([replace(PORTS, each=0)]).fits is None
    assert answer([]).first is None


TEN = [float(n) for n in range(1, 11)]


@pytest.mark.parametrize(
    ("measured", "stated", "expected"),
    [
        ([], None, Need(each=1500, basis="usual for claude")),
        ([], 200.0, Need(each=200, basis="limits of the template")),
        (TEN, None, Need(each=9, basis="p90 of 10 agents of web", median=5)),
        (TEN, 20.0, Need(each=20, basis="limits of the template", median=5)),
        (TEN, 3.0, Need(each=9, basis="p90 of 10 agents of web", median=5)),
    ],
    ids=["usual", "stated", "measured", "less measured than stated", "more measured than stated"],
)
def test_the_need_of_one_more_agent(measured: list[float], stated: float | None, expected: Need) -> None:
    found = need(measured, whose="agents of web", usual=1500, usual_basis="usual for claude", stated=stated)

    assert found == expected
