"""On a full disk room comes first: without it nothing can be saved, and what cannot be saved is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.model.incident import FailureClass, Rung
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.spec import AssistantSpec
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.rungs import Rungs
from tests.support.climbing import running
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

USER = ServiceSpec(name="user", kind=ServiceKind.PROCESS, command="exec sleep 1000")
ASSISTANT = AssistantSpec(command=("sleep", "1000"))


@proves("REAP-018")
@pytest.mark.parametrize("failure", [FailureClass.DISK, None])
async def test_room_is_made_for_who_ran_out_of_disk_and_for_nobody_else(
    tmp_path: Path, failure: FailureClass | None
) -> None:
    done: list[str] = []

    async def relieve() -> int:
        done.append("relieved")
        return 5_000_000

    async with running(tmp_path, USER, assistant_spec=ASSISTANT) as lab:
        rungs = Rungs(lab.supervisor, lab.control, relieve=relieve, reach=done.append)
        measure = Measure(rung=Rung.REALLOCATE, incident=1, key="k", unit="user", failure=failure)

        said = await rungs.act(lab.actor, measure)

        is_disk = failure is FailureClass.DISK
        assert said.startswith("5 MB of disk freed; ") is is_disk
        assert ("relieved" in done) is is_disk
        assert not is_disk or done[0] == "relieved"
        assert done.count("rung-realloc-moved") == 1
