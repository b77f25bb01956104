"""What a keeper does with the services it holds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.errors import Conflict, NotFound
from envmgr.model.service import LogPolicy, ProcessLimits
from envmgr.protocols.keepers import Held, Keeper
from tests.support.disks import fill, make_room, small_disk
from tests.support.keepers import (
    OWNER,
    STUBBORN,
    end_keeper,
    keeper_folder,
    launch,
    lives,
    py,
    record_of,
    runs,
    sh,
)
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with keeper_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
async def keeper(home: Path) -> Keeper:
    return await UnixKeepers().hire(home, owner=OWNER)


async def ended(keeper: Keeper, service: str = "web") -> Held:
    """Wait for the end of a service."""

    async def state() -> Held | None:
        held = (await keeper.status())[service]
        return None if held.is_alive else held

    found = await async_eventually(state)
    assert found is not None
    return found


async def says(keeper: Keeper, text: str, service: str = "web") -> None:
    """Wait until a text stands in the log of a service."""
    log = (await keeper.status())[service].log
    await async_eventually(lambda: text in log.read_text())


@proves("KEEP-001")
async def test_a_service_gets_its_own_session_exactly_its_environment_and_its_folder(
    keeper: Keeper, tmp_path: Path
) -> None:
    script = "import os; print(sorted(os.environ.items()), os.getcwd(), os.getsid(0) == os.getpid())"
    env = {"PATH": "/bin", "A B": "c=d\né", "LC_CTYPE": "C.UTF-8"}

    await keeper.launch(launch(*py(script), cwd=tmp_path, env=env))

    held = await ended(keeper)
    assert held.log.read_text().strip() == f"{sorted(env.items())} {tmp_path} True"
    assert (held.exit_code, held.exit_signal, held.error) == (0, None, "")


@proves("KEEP-001")
async def test_a_service_inherits_no_descriptor_and_no_ignored_signal_of_the_keeper(keeper: Keeper) -> None:
    await keeper.launch(launch(*sh("ls -l /proc/self/fd | wc -l; grep -E 'Sig(Ign|Blk)' /proc/self/status")))

    held = await ended(keeper)

    # A header, 0 to 2, and the folder `ls` itself reads.
    assert held.log.read_text().split() == ["5", "SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


@proves("KEEP-002")
@pytest.mark.parametrize(
    ("script", "code", "by"),
    [("exit 7", 7, None), ("kill -9 $$", None, "SIGKILL"), ("kill -40 $$", None, "SIG40")],
)
async def test_the_keeper_records_how_a_service_ended(
    keeper: Keeper, home: Path, script: str, code: int | None, by: str | None
) -> None:
    await keeper.launch(launch(*sh(script)))

    held = await ended(keeper)

    assert (held.exit_code, held.exit_signal) == (code, by)
    assert (await record_of(home)).services["web"] == held


@proves("KEEP-003")
async def test_a_program_that_does_not_exist_is_named(keeper: Keeper) -> None:
    held = await keeper.launch(launch("no-such-program", "--fast"))

    assert held.error == "No such file or directory: no-such-program"
    assert held.identity is None
    assert not held.is_alive


@proves("KEEP-003")
async def test_a_folder_that_does_not_exist_is_named(keeper: Keeper, tmp_path: Path) -> None:
    held = await keeper.launch(launch("true", cwd=tmp_path / "gone"))

    assert held.error == f"No such file or directory: {tmp_path / 'gone'}"


@proves("KEEP-003")
async def test_a_file_that_may_not_be_executed_is_named(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("hello")

    held = await keeper.launch(launch(str(tmp_path / "plain.txt")))

    assert held.error == f"Permission denied: {tmp_path / 'plain.txt'}"


@proves("KEEP-004")
async def test_launching_a_living_generation_again_starts_nothing(keeper: Keeper) -> None:
    first = await keeper.launch(launch("sleep", "60"))

    assert await keeper.launch(launch("sleep", "60")) == first


@proves("KEEP-004")
async def test_a_new_generation_is_refused_while_a_process_of_the_old_one_lives(keeper: Keeper) -> None:
    held = await keeper.launch(launch(*sh("sleep 60 & echo $!")))
    await ended(keeper)
    left = held.log.read_text().strip()

    with pytest.raises(Conflict, match=f"an earlier launch of web still lives: {left}"):
        await keeper.launch(launch("sleep", "60", generation=2))

    assert await keeper.stop("web") == ()
    second = await keeper.launch(launch("sleep", "60", generation=2))
    assert (second.launch, second.generation) == (2, 2)


@proves("KEEP-005", "R-13")
async def test_a_stop_ends_what_left_the_session_and_what_ignores_hangups(keeper: Keeper) -> None:
    # The middle process ends at once, so its child loses its parent; it also leaves session and group.
    script = "setsid sh -c 'nohup sleep 60 >/dev/null 2>&1 & echo $!' & wait; sleep 60"
    held = await keeper.launch(launch(*sh(script)))
    await async_eventually(lambda: held.log.read_text().strip())
    escaped = int(held.log.read_text())
    assert held.identity is not None
    assert os.getsid(escaped) != held.identity.pid

    assert await keeper.stop("web") == ()

    assert not runs(escaped)
    assert not lives(held.identity)


@proves("KEEP-005", "R-13")
async def test_a_stop_leaves_the_escaped_processes_of_other_services_alone(keeper: Keeper) -> None:
    script = "setsid sh -c 'sleep 60 >/dev/null 2>&1 & echo $!' & wait; sleep 60"
    escaped = {}
    for name in ("api", "web"):
        await keeper.launch(launch(*sh(script), service=name, env={"ENVMGR_SERVICE": name}))
        await says(keeper, "\n", name)
        escaped[name] = int((await keeper.status())[name].log.read_text())

    assert await keeper.stop("web") == ()

    assert not runs(escaped["web"])
    assert runs(escaped["api"])


@proves("KEEP-006", "R-13")
async def test_what_ignores_term_is_killed_after_the_grace_and_its_polite_sibling_need_not_wait(
    keeper: Keeper,
) -> None:
    await keeper.launch(launch(*py(STUBBORN), service="stubborn"))
    await keeper.launch(launch("sleep", "60", service="polite"))
    await says(keeper, "ready", "stubborn")
    took: dict[str, float] = {}

    async def stop(service: str) -> None:
        begun = time.monotonic()
        assert await keeper.stop(service, grace_s=0.5) == ()
        took[service] = time.monotonic() - begun

    async with anyio.create_task_group() as group:
        group.start_soon(stop, "stubborn")
        group.start_soon(stop, "polite")

    held = await keeper.status()
    assert (held["stubborn"].exit_signal, held["polite"].exit_signal) == ("SIGKILL", "SIGTERM")
    assert took["polite"] < 0.4
    assert 0.5 <= took["stubborn"] < 1.5


@proves("KEEP-006")
async def test_a_second_stop_with_a_shorter_grace_wins(keeper: Keeper) -> None:
    await keeper.launch(launch(*py(STUBBORN)))
    await says(keeper, "ready")
    begun = time.monotonic()

    async with anyio.create_task_group() as group:
        group.start_soon(keeper.stop, "web")
        await anyio.wait_all_tasks_blocked()
        assert await keeper.stop("web", grace_s=0.0) == ()

    assert time.monotonic() - begun < 5


@proves("KEEP-006")
async def test_stopping_again_or_stopping_what_was_never_launched_is_harmless(keeper: Keeper) -> None:
    await keeper.launch(launch("sleep", "60"))

    assert await keeper.stop("web") == ()
    assert await keeper.stop("web") == ()
    assert await keeper.stop("other") == ()


@proves("KEEP-006")
async def test_a_frozen_process_is_ended_politely(keeper: Keeper) -> None:
    await keeper.launch(launch("sleep", "60"))
    await keeper.signal("web", "SIGSTOP")

    assert await keeper.stop("web", grace_s=5) == ()

    assert (await keeper.status())["web"].exit_signal == "SIGTERM"


async def test_a_signal_reaches_every_process_of_the_service(keeper: Keeper) -> None:
    script = "trap 'echo parent' USR1; sh -c 'trap \"echo child; exit\" USR1; echo up; while :; do sleep 0.01; done'; wait"
    await keeper.launch(launch(*sh(script)))
    await says(keeper, "up")

    await keeper.signal("web", "SIGUSR1")

    await says(keeper, "child")
    await says(keeper, "parent")
    with pytest.raises(NotFound):
        await keeper.signal("other", "SIGUSR1")


@proves("KEEP-007")
async def test_output_is_kept_raw_and_complete_over_rotations(keeper: Keeper) -> None:
    script = "import os\nfor n in range(2500): os.write(1, b'%09d\\n' % n)"

    await keeper.launch(launch(*py(script), logs=LogPolicy(max_bytes=10_000, keep=2)))

    held = await ended(keeper)
    names = sorted(path.name for path in held.log.parent.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2"]
    assert all(path.stat().st_size <= 10_000 for path in held.log.parent.iterdir())
    whole = b"".join((held.log.parent / name).read_bytes() for name in reversed(names))
    assert whole == b"".join(b"%09d\n" % n for n in range(2500))[-len(whole) :]
    assert held.log_base + held.log.stat().st_size == 25_000


@proves("KEEP-007")
async def test_a_launch_says_where_its_output_begins(keeper: Keeper) -> None:
    policy = LogPolicy(max_bytes=100, keep=1)
    await keeper.launch(launch(*sh("printf %090d 1; sleep 0.05; printf %050d 2"), logs=policy))
    await ended(keeper)

    await keeper.launch(launch(*sh("echo third"), generation=2, logs=policy))

    held = await ended(keeper)
    assert (held.log_offset, held.log_base) == (140, 90)
    assert held.log.read_bytes()[held.log_offset - held.log_base :] == b"third\n"


@proves("KEEP-007")
async def test_a_full_disk_does_not_hold_up_the_service(keeper: Keeper, home: Path) -> None:
    (home / "logs" / "web.log").symlink_to("/dev/full")

    await keeper.launch(launch(*sh("head -c 300000 /dev/zero; exit 3")))

    assert (await ended(keeper)).exit_code == 3
    assert '"log_dropped_bytes": 300000' in (home / "keeper.json").read_text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path) as disk:
        yield disk


@proves("KEEPERDOWN-005", "R-1")
async def test_a_keeper_on_a_full_disk_keeps_its_services_and_goes_on(disk: Path) -> None:
    home = disk / "agent"
    keeper = await UnixKeepers().hire(home, owner=OWNER)
    try:
        held = await keeper.launch(launch("sleep", "60"))
        await keeper.launch(launch("sleep", "60", service="other"))
        await anyio.to_thread.run_sync(fill, disk)

        assert held.identity is not None
        os.kill(held.identity.pid, signal.SIGKILL)

        await ended(keeper)
        assert (await keeper.status())["other"].is_alive
        await anyio.to_thread.run_sync(make_room, disk)
        assert (await keeper.launch(launch("sleep", "60", generation=2))).is_alive
    finally:
        await anyio.to_thread.run_sync(make_room, disk)
        await anyio.to_thread.run_sync(end_keeper, home)


@proves("KEEP-007")
async def test_a_heavy_writer_is_not_stalled_and_the_keeper_answers_meanwhile(keeper: Keeper) -> None:
    # 40 MB as fast as the pipe takes it; at 10 MB/s that would be 4 s.
    script = "import os\nfor n in range(640): os.write(1, bytes(65536))"
    begun = time.monotonic()
    await keeper.launch(launch(*py(script), logs=LogPolicy(max_bytes=10_000_000, keep=2)))
    slowest = 0.0

    while (await keeper.status())["web"].is_alive:
        asked = time.monotonic()
        await keeper.status()
        slowest = max(slowest, time.monotonic() - asked)

    assert time.monotonic() - begun < 4
    assert slowest < 0.25


@proves("KEEP-008")
async def test_a_follower_hears_the_present_then_starts_and_ends_as_they_happen(keeper: Keeper) -> None:
    held = await keeper.launch(launch("sleep", "60"))
    assert held.identity is not None
    changes = keeper.changes()
    assert await anext(changes) == held

    died_at = time.monotonic()
    os.kill(held.identity.pid, signal.SIGKILL)
    end = await anext(changes)
    heard_after = time.monotonic() - died_at

    assert end.exit_signal == "SIGKILL"
    assert heard_after < 0.05
    second = await keeper.launch(launch("sleep", "60"))
    assert await anext(changes) == second
    await changes.aclose()  # type: ignore[attr-defined]  # an async generator, said to be an iterator


@proves("KEEP-008")
async def test_the_last_words_are_in_the_log_when_the_end_is_heard(keeper: Keeper) -> None:
    changes = keeper.changes()
    await keeper.launch(launch(*sh("head -c 60000 /dev/zero; echo last words; exit 1")))

    async for held in changes:
        if not held.is_alive:
            break

    assert held.log.read_bytes().endswith(b"last words\n")
    await changes.aclose()  # type: ignore[attr-defined]  # an async generator, said to be an iterator


@proves("KEEP-009")
async def test_limits_and_priority_are_in_force(keeper: Keeper) -> None:
    limits = ProcessLimits(nofile=64, nice=5)

    await keeper.launch(launch(*sh("ulimit -n; nice; cat /proc/self/oom_score_adj"), limits=limits))

    assert (await ended(keeper)).log.read_text().split() == ["64", "5", "300"]


@proves("LIMIT-002")
async def test_address_space_and_processes_of_the_user_are_not_limited(keeper: Keeper) -> None:
    limits = ProcessLimits(memory_bytes=50_000_000, pids=2)

    await keeper.launch(
        launch(*sh("ulimit -v; ulimit -d; for i in 1 2 3 4; do sleep 0.1 & done; wait"), limits=limits)
    )

    held = await ended(keeper)
    assert (held.exit_code, held.log.read_text().split()) == (0, ["unlimited", "unlimited"])


@proves("LIMIT-003")
async def test_why_a_service_was_ended_is_known_from_then_on(keeper: Keeper) -> None:
    await keeper.launch(launch("sleep", "600"))

    await keeper.stop("web", signal="SIGKILL", grace_s=0.0, over_limit="over its memory limit: 2 MB of 1 MB")

    held = (await keeper.status())["web"]
    assert (held.exit_signal, held.over_limit) == ("SIGKILL", "over its memory limit: 2 MB of 1 MB")


@proves("KEEP-009")
async def test_a_limit_that_cannot_be_set_is_the_reason_of_the_failure(keeper: Keeper) -> None:
    held = await keeper.launch(launch("true", limits=ProcessLimits(nofile=1 << 40)))

    assert held.error.endswith(": limits")
