"""Pressure of the host, restarts that do not end, and answers that get slower: each told once, and once when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.event import NewEvent
from envmgr.protocols.gauges import FileSystem, HostFigures
from envmgr.protocols.series import Sample
from envmgr.runtime.prevention.pressure import Pressure
from envmgr.runtime.prevention.stability import Stability
from tests.support.prevented import Prevented, prevented
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

GB = 10**9
DISK = FileSystem(total_bytes=100 * GB, free_bytes=50 * GB, total_files=1000, free_files=900)
WELL = HostFigures(memory_bytes=8 * GB, available_bytes=4 * GB, systems={"worktrees": DISK})


async def _goes_on(pressure: Pressure, here: Prevented, *figures: HostFigures) -> None:
    for one in figures:
        here.supervisor.measures.host = one
        await pressure.go_on()


@proves("PREVENT-007")
@pytest.mark.parametrize(
    ("short", "subject"),
    [
        (replace(WELL, pressure={"memory.some": 35.0}), "memory"),
        (replace(WELL, pressure={"io.full": 60.0}), "io"),
        (replace(WELL, available_bytes=GB // 2), "memory"),
        (replace(WELL, systems={"worktrees": replace(DISK, free_bytes=GB // 2)}), "disk"),
        (replace(WELL, systems={"worktrees": replace(DISK, free_files=10)}), "inodes"),
    ],
    ids=["memory stalls", "disk stalls", "memory", "disk", "inodes"],
)
async def test_pressure_is_told_once_and_once_when_it_is_over(
    tmp_path: Path, short: HostFigures, subject: str
) -> None:
    async with prevented(tmp_path) as here:
        pressure = Pressure(
            here.supervisor, here.supervisor.measures, keep_memory_bytes=GB, keep_disk_bytes=GB
        )
        await _goes_on(pressure, here, WELL, short, WELL)
        assert await here.told("host.pressure") == [], "a burst is none"

        await _goes_on(pressure, here, short, short, short)
        assert here.supervisor.measures.short.keys() == {subject}
        await _goes_on(pressure, here, WELL, WELL, short, WELL, WELL)
        assert await here.told("host.relieved") == [], "not surely over"
        await _goes_on(pressure, here, WELL)

        (began,) = await here.told("host.pressure")
        (ended,) = await here.told("host.relieved")
        assert (began.data["subject"], ended.data["subject"]) == (subject, subject)
        assert began.data["reason"]
        assert here.supervisor.measures.short == {}


async def _restart(here: Prevented, at: float) -> None:
    event = NewEvent(
        kind="service.restarting", agent=here.inc.id, generation=1, data={"service": "api", "why": "x"}
    )
    here.inc.systems = here.supervisor.systems = replace(here.supervisor.systems, now=lambda: at)
    await here.supervisor.record(event)


@proves("PREVENT-009")
async def test_a_service_that_restarts_again_and_again_is_told_as_unstable_until_it_rests(
    tmp_path: Path,
) -> None:
    async with prevented(tmp_path) as here, anyio.create_task_group() as group:
        stability = Stability(here.supervisor, every_s=3600.0)
        group.start_soon(stability.hear)
        await anyio.lowlevel.checkpoint()
        begin = 1_000_000.0

        for number in range(2):
            await _restart(here, begin + 300 * number)
        await async_eventually(lambda: here.series.read(here.inc.id, metric="restarts"))
        assert await here.told("trend.unstable") == []
        for number in range(2, 6):
            await _restart(here, begin + 300 * number)
        (event,) = await async_eventually(lambda: here.told("trend.unstable"))

        assert event.data["service"] == "api"
        assert 2.8 < float(str(event.data["per_hour"])) < 5

        here.supervisor.systems = replace(here.supervisor.systems, now=lambda: begin + 4 * 3600)
        await stability.look()
        assert len(await here.told("trend.stable")) == 1
        group.cancel_scope.cancel()


async def test_the_next_daemon_knows_earlier_restarts(tmp_path: Path) -> None:
    async with prevented(tmp_path) as here, anyio.create_task_group() as group:
        now = here.supervisor.systems.now()
        here.series.add(
            *(
                Sample(agent=here.inc.id, subject="api", metric="restarts", at=now - n, value=1.0)
                for n in (60, 30)
            )
        )
        group.start_soon(Stability(here.supervisor, every_s=3600.0).hear)
        await anyio.lowlevel.checkpoint()

        await _restart(here, now)

        assert await async_eventually(lambda: here.told("trend.unstable"))
        group.cancel_scope.cancel()


def _latencies(here: Prevented, now: float, *, usual_s: float, recent_s: float) -> None:
    ats: Mapping[float, float] = {
        **{now - 80_000 + 100 * n: usual_s for n in range(700)},
        **{now - 10 * n: recent_s for n in range(1, 50)},
    }
    here.series.add(
        *(
            Sample(agent=here.inc.id, subject="api", metric="probe.latency_s", at=at, value=value)
            for at, value in ats.items()
        )
    )


@proves("PREVENT-009")
@pytest.mark.parametrize(
    ("usual_s", "recent_s", "told"),
    [(0.1, 0.5, 1), (0.1, 0.2, 0), (0.001, 0.01, 0)],
    ids=["five times", "twice", "nobody's trouble"],
)
async def test_answers_that_take_three_times_as_long_as_the_day_before_are_told(
    tmp_path: Path, usual_s: float, recent_s: float, told: int
) -> None:
    async with prevented(tmp_path) as here:
        now = here.supervisor.systems.now()
        _latencies(here, now, usual_s=usual_s, recent_s=recent_s)
        stability = Stability(here.supervisor, every_s=3600.0)

        for _ in range(2):
            await stability.look()

        events = await here.told("trend.slow")
        assert len(events) == told
        assert [event.data["usual_p95_s"] for event in events] == [usual_s] * told


async def test_when_answers_are_as_usual_again_that_is_told(tmp_path: Path) -> None:
    async with prevented(tmp_path) as here:
        now = here.supervisor.systems.now()
        _latencies(here, now, usual_s=0.1, recent_s=0.5)
        stability = Stability(here.supervisor, every_s=3600.0)
        await stability.look()
        later = now + 700
        here.supervisor.systems = replace(here.supervisor.systems, now=lambda: later)
        fast = (Sample(agent=here.inc.id, subject="api", metric="probe.latency_s", at=later - 10 * n, value=0.1) for n in range(1, 40))  # fmt: skip
        here.series.add(*fast)

        await stability.look()

        assert len(await here.told("trend.usual")) == 1
