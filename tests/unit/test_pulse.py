"""When the machine itself is why something does not answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from envmgr.runtime.pulse import Pulse
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_CPUS = os.cpu_count() or 1


@dataclass
class Machine:
    """Kernel files in a folder, and two clocks."""

    proc: Path
    awake_s: float = 1000.0
    asleep_s: float = 0.0

    def load(self, per_cpu: float) -> None:
        (self.proc / "loadavg").write_text(f"{per_cpu * _CPUS:.2f} 0.50 0.40 1/99 4711\n", encoding="ascii")

    def swapped(self, pages: int) -> None:
        text = f"nr_free_pages 5\npswpin {pages // 2}\npswpout {pages - pages // 2}\npgmajfault 7\n"
        (self.proc / "vmstat").write_text(text, encoding="ascii")

    def pulse(self, load_per_cpu: float = 2.0) -> Pulse:
        return Pulse(
            load_per_cpu=load_per_cpu,
            proc=self.proc,
            awake=lambda: self.awake_s,
            since_boot=lambda: self.awake_s + self.asleep_s,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(proc=tmp_path)
    machine.load(0.1)
    machine.swapped(0)
    return machine


@proves("PROBE-007")
async def test_a_calm_machine_is_no_excuse(machine: Machine) -> None:
    assert await machine.pulse().look() == ""


@proves("PROBE-007")
async def test_a_load_above_twice_the_processors_is_one_until_it_is_over(machine: Machine) -> None:
    pulse = machine.pulse()
    machine.load(2.1)
    machine.awake_s += 5
    assert "overloaded" in await pulse.look()

    machine.load(1.9)
    machine.awake_s += 5
    assert await pulse.look() == ""


@proves("PROBE-007")
async def test_where_load_counts_for_nothing_it_is_no_excuse(machine: Machine) -> None:
    machine.load(99)
    assert await machine.pulse(load_per_cpu=0).look() == ""


@proves("PROBE-007")
async def test_swapping_all_the_time_is_one_and_what_was_swapped_long_ago_is_not(machine: Machine) -> None:
    machine.swapped(10_000_000)
    pulse = machine.pulse()
    assert await pulse.look() == ""

    machine.awake_s += 5
    machine.swapped(10_000_000 + 5 * 3000)
    assert "swaps" in await pulse.look()

    machine.awake_s += 5
    assert await pulse.look() == ""


@proves("PROBE-007")
async def test_a_minute_after_waking_up_nothing_is_concluded(machine: Machine) -> None:
    pulse = machine.pulse()
    machine.asleep_s += 8 * 3600
    machine.awake_s += 1
    assert await pulse.look() == "the machine woke up 0 s ago"
    machine.awake_s += 59
    assert "woke up 59 s ago" in await pulse.look()

    machine.awake_s += 1
    assert await pulse.look() == ""


@proves("PROBE-007")
async def test_a_sleep_before_the_daemon_began_was_long_ago(machine: Machine) -> None:
    machine.asleep_s = 8 * 3600
    assert await machine.pulse().look() == ""


@proves("PROBE-007")
async def test_the_kernels_files_are_read_at_most_every_five_seconds(machine: Machine) -> None:
    pulse = machine.pulse()
    assert await pulse.look() == ""
    machine.load(99)
    machine.awake_s += 4
    assert await pulse.look() == ""

    machine.awake_s += 1
    assert "overloaded" in await pulse.look()


@proves("PROBE-007")
async def test_a_machine_that_tells_nothing_is_taken_for_well(tmp_path: Path) -> None:
    assert await Pulse(proc=tmp_path / "nowhere").look() == ""
    assert isinstance(await Pulse().look(), str)


@proves("PROBE-007")
async def test_what_was_seen_long_ago_is_no_reason_any_more(machine: Machine) -> None:
    pulse = machine.pulse()
    machine.load(99)
    assert await pulse.look() == pulse.reason() != ""

    machine.awake_s += 60
    assert pulse.reason() == ""
