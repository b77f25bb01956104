"""What real processes, folders and this machine use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from envmgr.drivers.gauges import LinuxGauges
from envmgr.protocols.gauges import FolderSize
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

_MINE = f"test-{os.getpid()}"  # others run beside this one
_SAY = "import sys; print('ok', flush=True); sys.stdin.read()"
_HOARD = f"hoard = b'x' * 50_000_000; {_SAY}"
_OPENER = f"import os; held = [os.open('/dev/null', os.O_RDONLY) for _ in range(90)]; {_SAY}"
_WATCHER = f"""
import ctypes, os
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
for name in ('/', '/usr', '/etc'):
    libc.inotify_add_watch(fd, name.encode(), 2)
{_SAY}
"""
_PARENT = f"""
import os, subprocess, sys
env = {{name: value for name, value in os.environ.items() if not name.startswith('ENVMGR')}}
child = subprocess.Popen([sys.executable, '-c', {_HOARD!r}], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
{_SAY}
child.stdin.close()
child.wait()
"""


@contextmanager
def _running(program: str, env: Mapping[str, str] | None = None, *, nofile: int = 0) -> Iterator[int]:
    """A child that is where it shall be; its pid."""
    limit = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({nofile}, {nofile}))\n"
        if nofile
        else ""
    )
    child = subprocess.Popen(
        [sys.executable, "-c", limit + program],
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ok\n"
        yield child.pid
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait()


def _marked(agent: str, part: str = "", *, instance: str = _MINE) -> dict[str, str]:
    return {"ENVMGR_INSTANCE": instance, "ENVMGR_AGENT": agent, "ENVMGR_PART": part}


@proves("PREVENT-004")
async def test_processes_are_counted_to_whom_they_or_their_ancestors_say() -> None:
    gauges = LinuxGauges()
    with (
        _running(_PARENT, _marked("red", "service:api")) as parent,
        _running(_SAY, _marked("red", "assistant")),
        _running(_SAY, _marked("blue", "assistant", instance="another")),
    ):
        census = await gauges.census(_MINE, inside={}, sets={})

    api = census.parts["red", "service:api"]
    assert set(census.parts) == {("red", "service:api"), ("red", "assistant")}
    assert parent in api.pids
    assert len(api.pids) == 2
    assert 50_000_000 < api.resident_bytes < 150_000_000
    assert api.tasks == 2
    assert api.cpu_s > 0


async def test_processes_in_a_container_are_counted_by_its_first_one() -> None:
    with _running(_PARENT) as first:
        census = await LinuxGauges().census(_MINE, inside={first: ("red", "service:db")}, sets={})

    assert len(census.parts["red", "service:db"].pids) == 2


async def test_who_was_seen_before_it_became_itself_is_asked_again() -> None:
    """Between fork and exec the environment is the parent's."""
    gauges = LinuxGauges()
    with _waiting(_marked("red")) as go:
        assert not (await gauges.census(_MINE, inside={}, sets={})).parts

        go()

        assert ("red", "") in (await gauges.census(_MINE, inside={}, sets={})).parts


@contextmanager
def _waiting(env: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """A child that gets this environment only when it is told to go on."""
    program = f"import os, sys; print('ok', flush=True); sys.stdin.readline(); os.execve(sys.executable, [sys.executable, '-c', {_SAY!r}], {dict(env)!r})"
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    pipe, said = child.stdin, child.stdout
    assert said.readline() == b"ok\n"

    def go() -> None:
        pipe.write(b"\n")
        pipe.flush()
        assert said.readline() == b"ok\n"

    try:
        yield go
    finally:
        pipe.close()
        said.close()
        child.wait()


@proves("PREVENT-004")
async def test_open_files_are_told_with_the_limit_of_who_is_nearest_to_it() -> None:
    with _running(_OPENER, nofile=128) as near, _running(_OPENER, nofile=4096) as far:
        held = (await LinuxGauges().handles({"red": (far, near)}))["red"]

    assert held.fullest_limit == 128
    assert 90 < held.fullest < 110
    assert 180 < held.open_files < 220


@proves("PREVENT-004")
async def test_watchers_and_what_they_watch_are_counted() -> None:
    gauges = LinuxGauges()
    with _running(_WATCHER) as watcher, _running(_SAY) as other:
        for _ in range(2):
            held = (await gauges.handles({"red": (watcher, other)}))["red"]
            assert (held.watchers, held.watches) == (1, 3)


async def test_a_file_system_is_told_once(tmp_path: Path) -> None:
    folders = {"worktrees": tmp_path, "state": tmp_path / "state", "memory": Path("/dev/shm")}

    systems = (await LinuxGauges().host(folders)).systems

    assert list(systems) == ["worktrees", "memory"]


async def test_who_has_ended_holds_nothing() -> None:
    with _running(_SAY) as pid:
        pass

    held = (await LinuxGauges().handles({"red": (pid,)}))["red"]

    assert (held.open_files, held.fullest_limit) == (0, 0)


@proves("PREVENT-004")
async def test_the_figures_of_the_machine_are_those_others_see(tmp_path: Path) -> None:
    figures = await LinuxGauges().host({"here": tmp_path / "not" / "yet"})

    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(tmp_path))
    assert figures.memory_bytes == memory.total
    assert figures.available_bytes == pytest.approx(memory.available, rel=0.1)
    assert figures.systems["here"].free_bytes == pytest.approx(disk.free, rel=0.05)
    assert figures.systems["here"].total_bytes == disk.total
    assert figures.load == pytest.approx(os.getloadavg()[0], abs=0.5)
    assert 0 < figures.open_files < figures.max_open_files
    assert 0 < figures.tasks < figures.max_processes
    assert figures.max_watches > 0
    assert figures.max_watchers > 0


def _hard_link(folder: Path) -> None:
    (folder / "large").write_bytes(b"x" * 100_000)
    (folder / "again").hardlink_to(folder / "large")


def _nested(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "large").write_bytes(b"x" * 100_000)


def _outside(folder: Path) -> None:
    (folder / "large").write_bytes(b"x" * 100_000)
    (folder / "system").symlink_to("/usr")


@pytest.mark.parametrize(("make", "files"), [(_hard_link, 2), (_nested, 3), (_outside, 2)])
async def test_a_folder_takes_what_its_own_files_take(
    tmp_path: Path, make: Callable[[Path], None], files: int
) -> None:
    make(tmp_path)

    size = await LinuxGauges().size(tmp_path)

    assert size.files == files
    assert 100_000 <= size.bytes <= 130_000


async def test_a_folder_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    assert await LinuxGauges().size(tmp_path / "gone") == FolderSize()


async def test_a_large_folder_is_walked_to_its_end(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / str(number)).touch()

    assert (await async_eventually(lambda: LinuxGauges().size(tmp_path))).files == 1200
