"""The loop that measures, over real processes: what leaks is foreseen, what is used is kept as history."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.drivers.gauges import LinuxGauges
from envmgr.model.event import Event
from envmgr.model.service import ProcessLimits, ServiceKind, ServiceSpec
from envmgr.protocols.gauges import FolderSize
from envmgr.protocols.series import HOST
from envmgr.runtime.measures import PartUse
from envmgr.runtime.prevention.walking import Walks
from tests.support.prevented import Prevented, prevented
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

LEAKS = "import time\nheld = []\nwhile True:\n    held.append(b'x' * 1_000_000)\n    time.sleep(0.03)"
OPENS = "import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))\nwhile True:\n    os.open('/dev/null', os.O_RDONLY)\n    time.sleep(0.02)"
SITS = "import time\nheld = b'x' * 60_000_000\ntime.sleep(600)"
BUSY = "while True: pass"


def _service(name: str, *, memory_bytes: int | None = None) -> ServiceSpec:
    return ServiceSpec(
        name=name, kind=ServiceKind.PROCESS, command="x", limits=ProcessLimits(memory_bytes=memory_bytes)
    )


async def _told(here: Prevented, kind: str, subject: str) -> list[Event]:
    """Of this one: a machine that is busy with other tests may near limits of its own."""
    return [event for event in await here.told(kind) if event.data["subject"] == subject]


async def _until_told(here: Prevented, kind: str, subject: str) -> object:
    async def turn() -> object:
        await here.look()
        return await _told(here, kind, subject)

    return await async_eventually(turn, within_s=40.0, every_s=0.05)


@proves("PREVENT-003", "PREVENT-006")
async def test_a_leak_is_told_before_its_limit_is_met_with_what_makes_us_think_so(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("leak", memory_bytes=8_000_000_000)) as here:
        with here.child(LEAKS, "service:leak"):
            await _until_told(here, "trend.limit_near", "leak.memory")

            (event,) = await _told(here, "trend.limit_near", "leak.memory")
            assert 60e6 < float(str(event.data["per_minute"])) < 3e9
            assert 0 < float(str(event.data["left_s"])) < 1800
            assert float(str(event.data["value"])) < 8e9
            assert int(str(event.data["points"])) >= 12
            (near,) = [c for c in here.actor.state.conditions if c.subject == "leak.memory"]
            assert near.type == "LimitNear"
            assert "a minute" in near.reason


@proves("PREVENT-006")
async def test_when_a_leak_is_over_that_is_told_once(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("leak", memory_bytes=8_000_000_000)) as here:
        with here.child(LEAKS, "service:leak"):
            await _until_told(here, "trend.limit_near", "leak.memory")
        with here.child(SITS, "service:leak"):
            await _until_told(here, "trend.limit_far", "leak.memory")

        assert len(await _told(here, "trend.limit_near", "leak.memory")) == 1
        assert [c for c in here.actor.state.conditions if c.subject == "leak.memory"] == []


@proves("PREVENT-006")
async def test_open_files_that_grow_towards_their_limit_are_told(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("web")) as here:
        with here.child(OPENS, "service:web"):
            await _until_told(here, "trend.limit_near", "web.open_files")
            (event,) = await _told(here, "trend.limit_near", "web.open_files")

        assert event.data["limit"] == 4000


@proves("PREVENT-004")
async def test_what_was_measured_is_kept_by_agent_unit_and_host(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("web")) as here:
        with here.child(SITS, "service:web"), here.child(BUSY, "assistant"):

            async def is_measured() -> bool:
                await here.look()
                use = here.supervisor.measures.agents[here.inc.id]
                web, busy = use.parts.get("web", PartUse()), use.parts.get("assistant", PartUse())
                return web.memory_bytes > 60_000_000 and busy.cpus > 0

            await async_eventually(is_measured, every_s=0.1)
            kept = {(s.subject, s.metric): s.value for s in await here.series.read(here.inc.id)}
            host = {(s.subject, s.metric): s.value for s in await here.series.read(HOST)}

    assert 60_000_000 < kept["web", "memory_bytes"] < 120_000_000
    assert kept["", "memory_bytes"] >= kept["web", "memory_bytes"]
    assert kept["", "tasks"] == 2
    assert kept["assistant", "cpus"] > 0
    assert {"memory.available_bytes", "load", "tasks", "ports.free_blocks"} <= {metric for _, metric in host}
    assert host["worktrees", "disk.free_bytes"] > 0


async def test_what_does_not_move_is_looked_at_less_often_and_kept_less_often(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("web")) as here:
        with here.child(SITS, "service:web"):
            for _ in range(60):
                await here.look()

        kept = await here.series.read(here.inc.id, subject="web", metric="memory_bytes")
        assert len(kept) < 20


async def test_a_new_generation_begins_with_nothing(tmp_path: Path) -> None:
    async with prevented(tmp_path, _service("web")) as here:
        measures = here.supervisor.measures
        measures.take({here.inc.id: 1}, {})
        measures.agents[here.inc.id].peaks["memory_bytes"] = 5.0

        measures.take({here.inc.id: 2}, {})

        assert measures.agents[here.inc.id].peaks == {}


class Counting(LinuxGauges):
    """Counts walks."""

    walks = 0

    async def size(self, folder: Path) -> FolderSize:
        self.walks += 1
        return await super().size(folder)


@proves("PREVENT-004")
async def test_worktrees_are_walked_again_only_when_their_agent_has_worked(tmp_path: Path) -> None:
    gauges = Counting()
    async with prevented(tmp_path, gauges=gauges) as here:
        walks = Walks(here.supervisor, gauges, here.supervisor.measures, period_s=0.0)
        (here.inc.path / "large").write_bytes(b"x" * 100_000)
        with here.child(SITS, "assistant"):
            await here.look()
            await walks.walk()
            use = here.supervisor.measures.agents[here.inc.id]
            assert use.size is not None
            assert (use.size.files, use.size.bytes >= 100_000) == (1, True)
            await walks.walk()
            assert gauges.walks == 1

        (here.inc.path / "another").touch()
        with here.child(BUSY, "assistant"):

            async def is_walked_again() -> bool:
                await here.look()
                await walks.walk()
                return use.size is not None and use.size.files == 2

            await async_eventually(is_walked_again, every_s=0.1)
