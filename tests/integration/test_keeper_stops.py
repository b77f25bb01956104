"""Ends of services whose processes are of different minds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.protocols.keepers import Held, Keeper
from tests.support.keepers import OWNER, STUBBORN, keeper_folder, launch, lives, py, runs, sh
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

_GRACE_S = 0.6


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with keeper_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
async def keeper(home: Path) -> Keeper:
    return await UnixKeepers().hire(home, owner=OWNER)


async def pids(held: Held, count: int) -> list[int]:
    """Numbers that it wrote, one per line."""
    await async_eventually(lambda: len(held.log.read_text().split()) >= count)
    return [int(word) for word in held.log.read_text().split()[:count]]


@proves("STOP-020", "R-13")
async def test_a_grandchild_in_its_own_session_that_holds_the_log_is_ended_with_its_service(
    keeper: Keeper,
) -> None:
    script = "setsid sh -c 'echo $$; exec sleep 600' & wait"  # it writes to the same pipe, and keeps it open
    held = await keeper.launch(launch(*sh(script)))
    (escaped,) = await pids(held, 1)

    assert await keeper.stop("web", grace_s=_GRACE_S) == ()

    assert not runs(escaped)
    assert not (await keeper.status())["web"].is_alive
    again = await keeper.launch(launch("echo", "next", generation=2))  # nobody holds its log any more
    await async_eventually(lambda: again.log.read_text().endswith("next\n"))


@proves("STOP-020", "R-13")
async def test_a_child_that_ignores_term_is_killed_though_its_leader_went_at_once(keeper: Keeper) -> None:
    child = "import os,signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    leader = (
        f"import subprocess,sys,time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    )
    held = await keeper.launch(launch(*py(leader)))
    (stubborn,) = await pids(held, 1)
    begun = time.monotonic()

    assert await keeper.stop("web", grace_s=_GRACE_S) == ()

    assert time.monotonic() - begun >= _GRACE_S  # it had its grace, too
    assert not runs(stubborn)
    assert held.identity is not None
    assert not lives(held.identity)
    assert (await keeper.status())["web"].exit_signal == "SIGTERM"


@proves("STOP-020", "R-13")
async def test_children_in_groups_of_their_own_share_one_grace(keeper: Keeper) -> None:
    child = "import os,signal,time; os.setpgid(0,0); signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    leader = (
        f"import subprocess,sys,time\nfor _ in range(4): subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "time.sleep(600)"
    )
    held = await keeper.launch(launch(*py(leader)))
    stubborn = await pids(held, 4)
    begun = time.monotonic()

    assert await keeper.stop("web", grace_s=2.0) == ()

    assert 2.0 <= time.monotonic() - begun < 2 * 2.0  # not four of them
    assert [pid for pid in stubborn if runs(pid)] == []


@proves("STOP-020")
async def test_who_ends_in_time_is_not_waited_for(keeper: Keeper) -> None:
    await keeper.launch(launch("sleep", "600", service="polite"))
    await keeper.launch(launch(*py(STUBBORN), service="other"))
    begun = time.monotonic()

    assert await keeper.stop("polite", grace_s=30.0) == ()

    assert time.monotonic() - begun < 10
    assert (await keeper.status())["other"].is_alive
