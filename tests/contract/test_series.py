"""What every `Series` promises, on the one that keeps nothing and the real one; then what only the real one keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.protocols.series import HOST, Sample, Series
from envmgr.store.series import SqliteSeries
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

_DAY_S = 86_400.0


@pytest.fixture(params=["nothing", "file"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Series]:
    series = Series() if request.param == "nothing" else SqliteSeries(tmp_path / "series.db")
    yield series
    await series.close()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[SqliteSeries]:
    series = SqliteSeries(tmp_path / "series.db")
    yield series
    await series.close()


def _sample(
    metric: str = "memory_bytes",
    *,
    at: float = 1.0,
    value: float = 5.0,
    agent: str = "red",
    subject: str = "",
) -> Sample:
    return Sample(agent=agent, subject=subject, metric=metric, at=at, value=value)


async def test_nobody_waits_and_nothing_fails(either: Series) -> None:
    either.add(_sample(), _sample(at=2.0))

    assert len(await either.read("red")) in (0, 2)
    assert list(await either.read("nobody")) == []
    await either.forget("red")
    assert list(await either.read("red")) == []
    assert await either.tidy(1000.0) == 0
    assert not either.trouble


async def test_after_the_end_nothing_is_kept_and_nothing_fails(either: Series) -> None:
    await either.close()

    either.add(_sample())

    assert list(await either.read("red")) == []
    await either.forget("red")
    assert await either.tidy(1.0) == 0
    await either.close()


async def test_what_was_just_added_is_read_oldest_first(kept: SqliteSeries) -> None:
    late, early = _sample(at=2.0), _sample(at=1.0)

    kept.add(late, early)

    assert list(await kept.read("red")) == [early, late]


async def test_samples_are_chosen_by_agent_subject_metric_and_moment(kept: SqliteSeries) -> None:
    host = _sample("load", agent=HOST)
    ready = _sample("probe.ready", subject="web")
    latency = _sample("probe.latency_s", subject="api", at=3.0)
    other = _sample("probes", at=2.0)
    kept.add(host, ready, latency, other)

    assert list(await kept.read(HOST)) == [host]
    assert list(await kept.read("red", metric="probe")) == [ready, latency]
    assert list(await kept.read("red", metric="probe.ready")) == [ready]
    assert list(await kept.read("red", subject="api")) == [latency]
    assert list(await kept.read("red", subject="")) == [other]
    assert list(await kept.read("red", since_at=2.0)) == [other, latency]


async def test_the_second_sample_of_one_moment_counts(kept: SqliteSeries) -> None:
    kept.add(_sample(value=1.0), _sample(value=2.0))

    assert list(await kept.read("red")) == [_sample(value=2.0)]


async def test_the_next_daemon_reads_what_the_last_one_kept(tmp_path: Path) -> None:
    first = SqliteSeries(tmp_path / "series.db")
    first.add(_sample())
    await first.close()

    second = SqliteSeries(tmp_path / "series.db")

    assert list(await second.read("red")) == [_sample()]
    await second.close()


async def test_samples_are_written_without_being_asked_for(tmp_path: Path) -> None:
    writing = SqliteSeries(tmp_path / "series.db", flush_s=0.05)
    writing.add(_sample())

    reading = SqliteSeries(tmp_path / "series.db")

    assert await async_eventually(lambda: reading.read("red")) == [_sample()]
    await reading.close()
    await writing.close()


@proves("PREVENT-001")
async def test_after_a_day_minutes_remain_and_after_a_month_nothing(kept: SqliteSeries) -> None:
    kept.add(
        *(_sample(at=60.0 + at, value=value) for at, value in ((0, 1.0), (20, 2.0), (59, 6.0), (60, 8.0)))
    )
    today = _sample(at=10 * _DAY_S)
    kept.add(today)

    assert await kept.tidy(10 * _DAY_S + 60.0) == 4
    mean, single = replace(_sample(at=60.0, value=3.0), count=3), _sample(at=120.0, value=8.0)
    assert list(await kept.read("red")) == [mean, single, today]

    await kept.tidy(40 * _DAY_S)
    assert [sample.value for sample in await kept.read("red")] == [5.0]


async def test_the_rest_of_a_minute_joins_its_mean(kept: SqliteSeries) -> None:
    kept.add(_sample(at=0.0, value=1.0), _sample(at=1.0, value=2.0))
    await kept.tidy(2 * _DAY_S)
    kept.add(_sample(at=2.0, value=6.0))

    await kept.tidy(2 * _DAY_S)

    assert list(await kept.read("red")) == [replace(_sample(at=0.0, value=3.0), count=3)]


async def test_a_forgotten_agent_may_come_back(kept: SqliteSeries) -> None:
    kept.add(_sample(), _sample(agent="blue"))
    await kept.forget("red")
    assert list(await kept.read("red")) == []

    kept.add(_sample(at=9.0))

    assert list(await kept.read("red")) == [_sample(at=9.0)]
    assert list(await kept.read("blue")) == [_sample(agent="blue")]
