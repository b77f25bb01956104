"""A container's output in its log file: complete, in order, each line once, whatever happens to the daemon."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from envmgr.model.probe import LogProbe, Readiness
from envmgr.model.service import LogPolicy, ServiceSpec
from envmgr.runtime import runners
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import stop_services, stop_units
from tests.support.containers import contained, container, engaged, task, unattended
from tests.support.engine_proxy import door
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

COUNT = "i=0; while true; do i=$((i+1)); echo line $i; busybox usleep 2000; done"


def log(inc: Incarnation, unit: str) -> Path:
    return inc.home / "logs" / f"{unit}.log"


def lines(inc: Incarnation, unit: str) -> list[str]:
    return log(inc, unit).read_text().splitlines()


async def start(inc: Incarnation) -> None:
    await claim_ports(inc)
    with anyio.fail_after(30):
        await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()


def counter(**more: object) -> ServiceSpec:
    return container("web", COUNT, ready=Readiness(probe=LogProbe(pattern="line 20\n")), **more)  # type: ignore[arg-type]  # fields by name


@proves("CONT-013")
async def test_what_a_task_said_last_is_in_the_log_when_its_end_is_heard(tmp_path: Path) -> None:
    async with contained(tmp_path, task("seed", "busybox seq 1 20000; echo the end")) as inc:
        await start(inc)
        said = lines(inc, "seed")
        await stop_services(inc)

    assert said == [*map(str, range(1, 20001)), "the end"]


@proves("CONT-013")
async def test_a_log_goes_on_without_loss_or_repetition_after_the_daemon_was_away(tmp_path: Path) -> None:
    async with unattended(tmp_path, counter()) as inc:
        async with engaged(inc):
            await start(inc)
        for _ in range(2):  # each block is another daemon; the container writes on between them
            async with engaged(inc):
                await follow_on(inc)
        said = await end(inc)

    assert said == [f"line {number}" for number in range(1, len(said) + 1)]


@proves("CONT-013")
async def test_a_log_goes_on_when_the_engine_was_away_and_nothing_else_happens(tmp_path: Path) -> None:
    with door(tmp_path / "d") as entrance:
        async with contained(tmp_path, counter(), host=entrance.url) as inc:
            await start(inc)
            entrance.shut()
            before = len(lines(inc, "web"))
            entrance.open()
            await async_eventually(lambda: len(lines(inc, "web")) > before + 50)
            await stop_units(inc, ["web"])
            await EngineRunner(inc).status()
            said = lines(inc, "web")
            await stop_services(inc)

    assert said == [f"line {number}" for number in range(1, len(said) + 1)]


@proves("CONT-013")
async def test_a_killed_daemon_s_last_lines_are_not_repeated(tmp_path: Path) -> None:
    async with unattended(tmp_path, counter()) as inc:
        async with engaged(inc):
            await start(inc)
            mark = (inc.home / "containers" / "web.json").read_text()
            await async_eventually(lambda: len(lines(inc, "web")) > 100)
        # What a killed daemon leaves: its mark is behind what it wrote.
        (inc.home / "containers" / "web.json").write_text(mark)
        async with engaged(inc):
            await follow_on(inc)
        said = await end(inc)

    assert said == [f"line {number}" for number in range(1, len(said) + 1)]


async def follow_on(inc: Incarnation) -> None:
    """Another daemon takes over, and copies some more."""
    await EngineRunner(inc).status()
    before = len(lines(inc, "web"))
    await async_eventually(lambda: len(lines(inc, "web")) > before + 50)


async def end(inc: Incarnation) -> list[str]:
    """Stop it; everything it said."""
    async with engaged(inc):
        await stop_units(inc, ["web"])
        await EngineRunner(inc).status()
        said = lines(inc, "web")
        await stop_services(inc)
        return said


@proves("CONT-013")
async def test_logs_are_rotated_by_size_and_none_of_it_is_lost(tmp_path: Path) -> None:
    talk = task("seed", "busybox seq 100000 101999", logs=LogPolicy(max_bytes=4096, keep=10))
    async with contained(tmp_path, talk) as inc:
        await start(inc)
        folder = log(inc, "seed").parent
        files = sorted(
            folder.glob("seed.log*"), key=lambda path: int(path.suffix.removeprefix(".log").strip(".") or 0)
        )
        sizes = [path.stat().st_size for path in files]
        said = "".join(path.read_text() for path in reversed(files)).splitlines()
        await stop_services(inc)

    assert said == [str(number) for number in range(100000, 102000)]
    assert max(sizes) <= 4096
