"""A spawn is refused before it begins when this host has no room."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from envmgr.model.spec import AgentSpec, Limits
from envmgr.runtime.admission import HostLimits, Refused, admit
from tests.support.requirements import proves

FREE = HostLimits(max_agents=3, min_free_memory_bytes=0, min_free_disk_bytes=0)
EVERYTHING = 2**60


def spec(memory_bytes: int | None = None) -> AgentSpec:
    return AgentSpec(
        template="t", source="s", repo="/r", name="otter", limits=Limits(memory_bytes=memory_bytes)
    )


@proves("ADMIT-001")
@pytest.mark.parametrize("active", [0, 2])
def test_there_is_room_below_the_limits(active: int, tmp_path: Path) -> None:
    admit(spec(), FREE, active=active, reserved_bytes=0, disk=tmp_path)


@proves("ADMIT-001")
def test_one_agent_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="^3 agents are active; the limit is 3$") as refused:
        admit(spec(), FREE, active=3, reserved_bytes=0, disk=tmp_path)

    assert "host.max_agents" in refused.value.hint


@proves("ADMIT-001")
@pytest.mark.parametrize(
    ("wants", "reserved", "must_remain"),
    [(EVERYTHING, 0, 0), (None, EVERYTHING, 0), (None, 0, EVERYTHING)],
    ids=["wants", "reserved by others", "must remain"],
)
def test_too_little_memory_is_refused(
    wants: int | None, reserved: int, must_remain: int, tmp_path: Path
) -> None:
    limits = HostLimits(min_free_memory_bytes=must_remain, min_free_disk_bytes=0)

    with pytest.raises(Refused, match="MB of memory are free"):
        admit(spec(wants), limits, active=0, reserved_bytes=reserved, disk=tmp_path)


@proves("ADMIT-001")
def test_memory_that_is_there_is_given(tmp_path: Path) -> None:
    half = psutil.virtual_memory().available // 2

    admit(spec(half), FREE, active=0, reserved_bytes=0, disk=tmp_path)


@proves("ADMIT-001")
def test_too_little_disk_is_refused(tmp_path: Path) -> None:
    limits = HostLimits(min_free_memory_bytes=0, min_free_disk_bytes=shutil.disk_usage(tmp_path).total * 2)

    with pytest.raises(Refused, match="MB of disk are free") as refused:
        admit(spec(), limits, active=0, reserved_bytes=0, disk=tmp_path)

    assert "host.min_free_disk_bytes" in refused.value.hint


@proves("ADMIT-001")
def test_a_refusal_may_be_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        admit(spec(), FREE, active=3, reserved_bytes=0, disk=tmp_path)

    assert refused.value.problem()["retryable"] is True
