"""The file of measurements meets crashes, damage and a full disk: history is lost at most, never more."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envmgr.protocols.series import Sample
from envmgr.store.series import SqliteSeries
from tests.support.requirements import proves
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

_CHILD = """
import asyncio, sys
from pathlib import Path
from envmgr.protocols.series import Sample
from envmgr.store.series import SqliteSeries

async def main():
    series = SqliteSeries(Path(sys.argv[1]), flush_s=0.0)
    at = 0
    while True:
        series.add(*(Sample(agent="red", metric=f"m{n}", at=at, value=at) for n in range(100)))
        at += 1
        await asyncio.sleep(0)

asyncio.run(main())
"""


def _sample(at: float = 1.0) -> Sample:
    return Sample(agent="red", metric="memory_bytes", at=at, value=at)


async def _write(path: Path, *samples: Sample) -> None:
    series = SqliteSeries(path)
    series.add(*samples)
    await series.close()


@proves("PREVENT-002")
@pytest.mark.parametrize("damage", ["no database", "torn in the middle"])
async def test_a_damaged_file_is_moved_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "series.db"
    await _write(path, *(_sample(at) for at in range(5000)))
    whole = path.read_bytes()
    torn = (
        b"not a database" * 999 if damage == "no database" else whole[:4096] + b"\xff" * (len(whole) - 4096)
    )
    path.write_bytes(torn)

    series = SqliteSeries(path)
    series.add(_sample(9.0))

    assert list(await series.read("red")) == [_sample(9.0)]
    assert "was damaged" in series.trouble
    assert (tmp_path / "series.db.damaged").read_bytes()[-4096:] == torn[-4096:]
    await series.close()
    again = SqliteSeries(path)
    assert list(await again.read("red")) == [_sample(9.0)]
    assert not again.trouble
    await again.close()


async def test_a_file_of_another_format_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "series.db"
    await _write(path, _sample())
    code = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA user_version = 99'); c.commit()"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: ASYNC221 - short

    series = SqliteSeries(path)

    assert list(await series.read("red")) == []
    assert "format 99" in series.trouble
    await series.close()


async def test_where_nothing_can_be_written_measurements_are_dropped_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "series.db"
    path.mkdir()
    series = SqliteSeries(path)

    series.add(_sample())

    assert list(await series.read("red")) == []
    assert "not kept" in series.trouble
    path.rmdir()
    series.add(_sample(2.0))
    assert list(await series.read("red")) == [_sample(2.0)]
    await series.close()


@proves("PREVENT-001")
async def test_the_file_stays_small_and_what_is_given_up_is_the_oldest(tmp_path: Path) -> None:
    limit = 200_000
    path = tmp_path / "series.db"
    series = SqliteSeries(path, max_bytes=limit)
    series.add(*(_sample(float(at)) for at in range(50_000)))

    assert await series.tidy(50_000.0) > 0

    left = await series.read("red")
    assert left[-1].at == 49_999.0
    assert left[0].at > 10_000.0
    await series.close()
    assert path.stat().st_size <= limit


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "series.db"
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)])
    try:
        eventually(lambda: path.exists() and _rows(path) > 1000, within_s=20.0)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    assert _rows(path) % 100 == 0
    assert _check(path) == "ok"


def _rows(path: Path) -> int:
    return int(_ask(path, "SELECT count(*) FROM raw"))


def _check(path: Path) -> str:
    return _ask(path, "PRAGMA integrity_check")


def _ask(path: Path, query: str) -> str:
    code = (
        f"import sqlite3; print(sqlite3.connect({str(path)!r}, timeout=5).execute({query!r}).fetchone()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "0"
