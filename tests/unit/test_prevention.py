"""What is told of the host and of services that are unwell, and how often; what of history is worth a sample."""

from __future__ import annotations

import pytest

from envmgr.core.lifecycle import decide
from envmgr.core.trend import Forecast
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.spec import AgentSpec, Limits
from envmgr.model.stimulus import LimitSeen
from envmgr.protocols.gauges import FileSystem, FolderSize, Handles, HostFigures
from envmgr.protocols.processes import Usage
from envmgr.protocols.series import Sample
from envmgr.runtime.measures import AgentUse, Measures, PartUse
from envmgr.runtime.prevention import lines
from envmgr.runtime.prevention.forecasts import words
from envmgr.runtime.prevention.lines import Line
from envmgr.runtime.prevention.thinning import Thinning
from tests.support.requirements import proves

GB = 10**9
DISK = FileSystem(total_bytes=100 * GB, free_bytes=30 * GB, total_files=1000, free_files=900)


# --- lines -----------------------------------------------------------------------------------------------------------


@proves("PREVENT-006")
def test_every_limit_of_an_agent_has_a_line() -> None:
    spec = AgentSpec(template="t", source="s", repo="/r", name="otter", limits=Limits(memory_bytes=4 * GB))
    use = AgentUse(
        1,
        parts={
            "web": PartUse(usage=Usage(resident_bytes=GB), handles=Handles(fullest=90, fullest_limit=1024))
        },
    )

    found = {line.subject: (line.value, line.limit) for line in lines.of_agent("a", use, spec)}

    assert found == {"memory": (GB, 4 * GB), "web.open_files": (90, 1024)}


@proves("PREVENT-006")
def test_every_limit_of_the_host_has_a_line() -> None:
    measures = Measures()
    measures.host = HostFigures(
        memory_bytes=8 * GB,
        available_bytes=2 * GB,
        open_files=100,
        max_open_files=1000,
        tasks=50,
        max_processes=300,
        max_watches=5000,
        max_watchers=128,
        systems={"worktrees": DISK},
    )
    measures.agents = {
        AgentId("a"): AgentUse(1, parts={"web": PartUse(handles=Handles(watches=70, watchers=3))})
    }
    measures.free_blocks = 7

    found = {
        line.subject: (line.value, line.limit, line.is_floor)
        for line in lines.of_host(measures, keep_memory_bytes=GB)
    }

    assert found == {
        "memory": (2 * GB, GB, True),
        "disk.worktrees": (30 * GB, 10 * GB, True),
        "inodes.worktrees": (900, 100, True),
        "inotify.watches": (70, 5000, False),
        "inotify.watchers": (3, 128, False),
        "open_files": (100, 1000, False),
        "tasks": (50, 300, False),
        "ports": (7, 0, True),
    }


def test_a_host_that_was_not_looked_at_has_no_lines() -> None:
    assert list(lines.of_host(Measures(), keep_memory_bytes=GB)) == []


def test_a_forecast_says_how_fast_how_soon_how_sure_and_what_to_do() -> None:
    line = Line(agent="a", subject="api.memory", value=6e8, limit=1e9, unit="bytes", remedy="Restart api.")
    told = Forecast(slope=5e5, left_s=840.0, agreement=0.91, points=60, span_s=590.0, value=6e8)

    assert words(line, told) == (
        "rises by 30.0 MB a minute, now 600.0 MB: the limit of 1.0 GB is met in about 14 min"
        " (91% of 60 points within 10 min agree). Restart api."
    )


def test_a_floor_that_is_met_is_met_now() -> None:
    line = Line(agent="", subject="ports", value=0, limit=0, unit="blocks", remedy="Widen it.", is_floor=True)
    told = Forecast(slope=-0.1, left_s=0.0, agreement=1.0, points=12, span_s=30.0, value=0.0)

    assert words(line, told).startswith(
        "falls by 6 blocks a minute, now 0 blocks: the limit of 0 blocks is met now ("
    )


# --- history ---------------------------------------------------------------------------------------------------------


def _sample(at: float, value: float, metric: str = "memory_bytes") -> Sample:
    return Sample(agent="red", metric=metric, at=at, value=value)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([100, 100, 100], [0]),
        ([100, 101, 101.9], [0]),
        ([100, 103, 100], [0, 1, 2]),
        ([0, 0, 1], [0, 2]),
        ([100] * 14, [0, 12]),
    ],
    ids=["still", "hardly", "moves", "from nothing", "rests"],
)
def test_a_value_that_stays_is_kept_now_and_then(values: list[float], kept: list[int]) -> None:
    thinning = Thinning(rest_s=60.0)

    found = [n for n, value in enumerate(values) for _ in thinning.worth([_sample(5.0 * n, value)])]

    assert found == kept


def test_after_the_clock_was_set_back_history_goes_on() -> None:
    thinning = Thinning(rest_s=60.0)

    assert [len(list(thinning.worth([_sample(at, 1.0)]))) for at in (5000.0, 1400.0, 1405.0)] == [1, 1, 0]


def test_lines_are_apart_and_forgotten_with_their_agent() -> None:
    thinning = Thinning(rest_s=60.0)
    first = list(thinning.worth([_sample(0.0, 1.0), _sample(0.0, 1.0, "cpus")]))

    thinning.forget_others([""])

    assert len(first) == 2
    assert len(list(thinning.worth([_sample(1.0, 1.0)]))) == 1


# --- what an agent uses ------------------------------------------------------------------------------------------------


def test_processors_are_those_used_between_two_looks() -> None:
    part = PartUse()
    part.take(Usage(cpu_s=10.0, pids=(1,)), 100.0)
    assert part.cpus == 0.0

    part.take(Usage(cpu_s=13.0, pids=(1,)), 102.0)
    assert part.cpus == 1.5

    part.take(Usage(cpu_s=1.0, pids=(1,)), 104.0)
    assert part.cpus == 0.0, "who has ended takes its seconds along"


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        (Usage(resident_bytes=GB, cpu_s=5.0, pids=(1,)), False),
        (Usage(resident_bytes=GB + 10**6, cpu_s=5.0, pids=(1,)), False),
        (Usage(resident_bytes=GB + 10**7, cpu_s=5.0, pids=(1,)), True),
        (Usage(resident_bytes=GB, cpu_s=5.5, pids=(1,)), True),
        (Usage(resident_bytes=GB, cpu_s=5.0, pids=(1, 2)), True),
    ],
    ids=["nothing", "a little", "memory", "processors", "processes"],
)
def test_only_what_moves_makes_looks_more_frequent(after: Usage, *, moved: bool) -> None:
    part = PartUse()
    part.take(Usage(resident_bytes=GB, cpu_s=5.0, pids=(1,)), 100.0)

    assert part.take(after, 105.0) is moved


def test_what_processes_share_counts_once_when_it_was_weighed() -> None:
    part = PartUse(usage=Usage(resident_bytes=GB), shared=0.25)

    assert part.memory_bytes == GB // 4


def test_disk_counts_when_it_was_walked() -> None:
    use = AgentUse(1)
    assert "disk_bytes" not in use.totals()

    use.size = FolderSize(bytes=7, files=2)

    assert (use.totals()["disk_bytes"], use.totals()["disk_files"]) == (7, 2)


# --- the remark --------------------------------------------------------------------------------------------------------


@proves("PREVENT-006")
def test_a_forecast_is_a_remark_of_its_own_beside_a_limit_that_is_exceeded() -> None:
    state = AgentState(id=AgentId("a"), name="a", lifecycle=Lifecycle.RUNNING, generation=1)

    def seen(reason: str, *, is_forecast: bool) -> LimitSeen:
        return LimitSeen(
            generation=1,
            subject="api.memory",
            reason=reason,
            is_forecast=is_forecast,
            evidence={"left_s": 60.0},
        )

    near = decide(state, seen("soon", is_forecast=True), 1.0)
    over = decide(near.state, seen("now", is_forecast=False), 2.0)
    again = decide(over.state, seen("sooner", is_forecast=True), 3.0)
    far = decide(over.state, seen("", is_forecast=True), 4.0)

    assert [(c.type, c.subject, c.reason) for c in over.state.conditions] == [
        ("LimitNear", "api.memory", "soon"),
        ("OverLimit", "api.memory", "now"),
    ]
    assert [event.kind for one in (near, over, far) for event in one.events] == [
        "trend.limit_near",
        "limit.exceeded",
        "trend.limit_far",
    ]
    assert near.events[0].data == {"subject": "api.memory", "reason": "soon", "left_s": 60.0}
    assert again.ignored == "already recorded"
    assert [c.type for c in far.state.conditions] == ["OverLimit"]
    assert [*near.effects, *far.effects] == []
