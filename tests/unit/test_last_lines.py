"""The end of a log, also across a rotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.protocols.keepers import Held
from envmgr.runtime.last_lines import of_launch, of_log
from tests.support.requirements import proves


def held(log: Path, *, offset: int, base: int = 0) -> Held:
    return Held(
        service="api", generation=1, launch=1, identity=None, started_at=0.0, ended_at=1.0, exit_code=1,
        exit_signal=None, error="", log=log, log_offset=offset, log_base=base,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "api.log"


@proves("CLASS-006")
def test_only_what_the_launch_wrote_tells_of_its_end(log: Path) -> None:
    log.write_text("old failure\nnew start\nnew failure\n", encoding="utf-8")
    assert of_launch(held(log, offset=12), count=200) == ["new start", "new failure"]
    assert of_launch(held(log, offset=12), count=1) == ["new failure"]
    assert of_log(log, count=2) == ["new start", "new failure"]


@proves("CLASS-006")
def test_a_launch_that_began_before_a_rotation_is_read_whole(log: Path) -> None:
    log.with_name("api.log.1").write_text("old\nfirst\n", encoding="utf-8")
    log.write_text("second\n", encoding="utf-8")
    assert of_launch(held(log, offset=104, base=110), count=200) == ["first", "second"]
    assert of_log(log, count=200) == ["old", "first", "second"]


@proves("CLASS-006")
def test_of_a_large_log_only_the_end_is_read_and_no_line_is_cut(log: Path) -> None:
    log.write_text("".join(f"line {n:06d}\n" for n in range(100_000)), encoding="utf-8")
    lines = of_log(log, count=200)
    assert lines == [f"line {n:06d}" for n in range(99_800, 100_000)]
    assert all(len(line) == 11 for line in of_launch(held(log, offset=3), count=1_000_000))


@proves("CLASS-006")
def test_a_log_that_is_not_there_has_no_lines(log: Path) -> None:
    assert of_launch(held(log, offset=0), count=5) == []
    assert of_log(log, count=5) == []
