"""The clock of budgets: no setting of the wall clock moves it, nor does a restart of the daemon."""

from __future__ import annotations

import inspect
from typing import cast

import pytest

from envmgr.protocols.store import Transaction
from envmgr.runtime.steady import anchored, since_boot
from tests.support.requirements import proves


class Facts:
    """The small facts of a store, and a machine."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.uptime_s = 100.0

    def get(self, key: str) -> str | None:
        return self.kept.get(key)

    def put(self, key: str, value: str) -> None:
        self.kept[key] = value

    def start(self, *, boot: str = "one", wall: float) -> float:
        """What the clock of a daemon that starts now reads."""
        return anchored(cast("Transaction", self), boot=boot, wall=wall, uptime=lambda: self.uptime_s)()


@proves("STEADY-001")
def test_it_begins_like_the_wall_clock_and_goes_on_with_the_machine() -> None:
    facts = Facts()
    read = anchored(cast("Transaction", facts), boot="one", wall=1_000_000.0, uptime=lambda: facts.uptime_s)
    assert read() == 1_000_000.0
    facts.uptime_s += 30.0
    assert read() == 1_000_030.0


@proves("STEADY-001")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_new_daemon_goes_on_where_the_last_was_whatever_the_wall_clock_says(jump_s: float) -> None:
    facts = Facts()
    facts.start(wall=1_000_000.0)
    facts.uptime_s += 60.0
    assert facts.start(wall=1_000_060.0 + jump_s) == 1_000_060.0


@proves("STEADY-001")
def test_after_a_reboot_it_follows_the_wall_clock_but_never_backwards() -> None:
    facts = Facts()
    facts.start(wall=1_000_000.0)
    facts.uptime_s = 5.0
    assert facts.start(boot="two", wall=1_000_500.0) == 1_000_500.0
    facts.uptime_s = 6.0
    assert facts.start(boot="three", wall=900_000.0) == 1_000_500.0


@proves("STEADY-001")
def test_without_an_id_of_the_boot_each_start_asks_the_wall_clock() -> None:
    facts = Facts()
    facts.start(boot="", wall=1_000_000.0)
    assert facts.start(boot="", wall=1_000_900.0) == 1_000_900.0


@proves("STEADY-001")
def test_it_counts_the_time_since_boot() -> None:
    before = since_boot()
    assert 0 < before <= since_boot()
    assert inspect.signature(anchored).parameters["uptime"].default is since_boot
