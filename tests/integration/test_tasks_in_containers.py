"""Tasks in containers: skipped on the same volumes, ended in time, told with what they wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.container import ContainerSpec, MountKind, MountSpec
from envmgr.model.ids import volume_name
from envmgr.model.service import Condition, Dependency, RunWhen
from envmgr.runtime import runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome, ServiceFailed
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import stop_services
from tests.support.containers import contained, container, task
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

DATA = MountSpec(kind=MountKind.VOLUME, source="data", target="/data")
DB = container("db", "exec sleep 600", inside=ContainerSpec(init=True, mounts=(DATA,)))
MIGRATE = task(
    "migrate",
    "echo migrated >>/out/runs",
    inside=ContainerSpec(init=True, mounts=(MountSpec(kind=MountKind.BIND, source="out", target="/out"),)),
    depends_on=(Dependency(service="db", condition=Condition.STARTED),),
    run_when=RunWhen(changed=("db/**",)),
)


async def start(inc: Incarnation) -> Outcome:
    """One start in a generation of its own; how the task ended."""
    inc.generation += 1
    with anyio.fail_after(60):
        outcomes = await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
        await stop_services(inc, brief=True)
    return outcomes["migrate"]


@proves("TASK-003", "TASK-001")
async def test_a_database_that_was_made_anew_is_migrated_again(tmp_path: Path) -> None:
    async with contained(tmp_path, DB, MIGRATE) as inc:
        await anyio.Path(inc.path / "out").mkdir()
        assert (await start(inc)).detail == "exited with 0"
        assert (await start(inc)).detail.startswith("skipped")
        await inc.systems.containers.remove_volume(volume_name(inc.id, "data"))
        assert (await start(inc)).detail == "exited with 0"
        assert (await start(inc)).detail.startswith("skipped")
        runs = await anyio.Path(inc.path / "out" / "runs").read_text(encoding="utf-8")
        assert runs.splitlines() == ["migrated"] * 2
        await inc.systems.containers.remove_volume(volume_name(inc.id, "data"))


@proves("TASK-006")
async def test_a_failed_task_is_told_with_what_it_wrote_and_one_without_end_is_ended(tmp_path: Path) -> None:
    async with contained(tmp_path, task("migrate", "echo no such table >&2; exit 5")) as inc:
        with pytest.raises(ServiceFailed, match="migrate ended with status 5; its last words: no such table"):
            await start(inc)
        await stop_services(inc, brief=True)
        endless = task("migrate", "echo half way; sleep 600", timeout_s=1.0)
        inc.spec = replace(inc.spec, services=(endless,))
        with pytest.raises(ServiceFailed, match="did not end within 1 s") as failed:
            await start(inc)
        assert "half way" in str(failed.value.details["log"])
        await stop_services(inc, brief=True)
