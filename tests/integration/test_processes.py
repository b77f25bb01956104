"""Which processes belong to an agent, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest

from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.model.observe import Absent, Present, ProcessIdentity
from envmgr.protocols.processes import Marks
from tests.support.keepers import STUBBORN, lives, py, runs, sh
from tests.support.requirements import proves
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio

processes = ProcProcesses(HostSockets())

MARKER = {"ENVMGR_INSTANCE": uuid.uuid4().hex, "ENVMGR_AGENT": "alpha"}
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process in a session of its own, in the agent's folder and with its marker unless told otherwise."""
    begun: list[subprocess.Popen[bytes]] = []

    def _start(
        argv: Sequence[str], *, cwd: Path = tmp_path, marker: Mapping[str, str] = MARKER
    ) -> subprocess.Popen[bytes]:
        begun.append(
            subprocess.Popen(
                argv, cwd=cwd, env={**os.environ, **marker}, stdout=subprocess.PIPE, start_new_session=True
            )
        )
        # Between fork and the end of exec a process shows no environment.
        eventually(Path(f"/proc/{begun[-1].pid}/environ").read_bytes)
        return begun[-1]

    yield _start
    for process in begun:
        assert process.stdout is not None
        process.stdout.close()
        process.kill()
        process.wait()
    eventually(lambda: _kill_marked(os.environ["ENVMGR_TEST_MARK"]) == 0)


def _kill_marked(mark: str) -> int:
    """Kill what the processes of a test have started; returns how many there were."""
    killed = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("ENVMGR_TEST_MARK") == mark:
                process.kill()
                killed += 1
    return killed


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(marker=MARKER, cwd=tmp_path)


def said(process: subprocess.Popen[bytes]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def who(pid: int) -> ProcessIdentity:
    """Identity by an own way of reading, so that it is a second witness."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ProcessIdentity(pid=pid, start_ticks=int(fields[19]), boot_id=boot_id)


async def proofs(marks: Marks) -> dict[int, str]:
    """What `members` finds, pid to proof."""
    match await processes.members(marks):
        case Present(members):
            return {member.identity.pid: member.proof for member in members}
        case seen:
            assert seen == Absent()
            return {}


@proves("PROC-001", "R-31")
async def test_a_process_is_its_pid_its_start_and_this_start_of_the_host(start: Start) -> None:
    process = start(["sleep", "60"])

    assert await anyio.to_thread.run_sync(processes.identify, process.pid) == who(process.pid)


@proves("PROC-001")
async def test_a_zombie_and_an_unknown_pid_are_nobody(start: Start) -> None:
    process = start(["sleep", "60"])
    process.kill()
    await async_eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)

    assert await anyio.to_thread.run_sync(processes.identify, process.pid) is None
    assert await anyio.to_thread.run_sync(processes.identify, 1 << 30) is None


@proves("PROC-002")
async def test_members_are_a_root_its_descendants_and_the_sessions_they_lead(
    start: Start, marks: Marks
) -> None:
    # The middle shell ends, so the last sleep has neither parent nor group in common with the root.
    script = "sleep 60 & echo $!; setsid sh -c 'echo $$; (sleep 60 & echo $!); exec sleep 60' & wait"
    root = start(sh(script), cwd=Path("/"), marker={})
    pids = [int(said(root)) for _ in range(3)]

    found = await proofs(replace(marks, roots=(who(root.pid),)))

    assert found.pop(root.pid) == "root"
    assert set(pids) <= set(found)
    assert set(found.values()) <= {"session", "descendant"}


@proves("PROC-003")
async def test_a_stray_needs_a_marker_and_a_second_proof(start: Start, marks: Marks, tmp_path: Path) -> None:
    stray = start(["sleep", "60"])
    (tmp_path / "src").mkdir()
    deep = start(["sleep", "60"], cwd=tmp_path / "src")
    start(["sleep", "60"], cwd=Path("/"))
    start(["sleep", "60"], marker={"ENVMGR_AGENT": "alpha"})
    start(["sleep", "60"], marker={**MARKER, "ENVMGR_AGENT": "alphabet"})

    assert await proofs(marks) == {stray.pid: "marker+cwd", deep.pid: "marker+cwd"}


@proves("PROC-003")
async def test_a_marked_listener_on_a_leased_port_is_a_member(start: Start, marks: Marks) -> None:
    script = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    listener = start(py(script), cwd=Path("/"))
    port = int(said(listener))

    assert await proofs(marks) == {}
    assert await proofs(replace(marks, ports=(port,))) == {listener.pid: "marker+port"}


@proves("PROC-003")
async def test_a_folder_whose_name_begins_alike_is_no_proof(
    start: Start, marks: Marks, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree2").mkdir()
    start(["sleep", "60"], cwd=tmp_path / "tree2")

    assert await proofs(replace(marks, cwd=tmp_path / "tree")) == {}


@proves("PROC-003")
async def test_an_empty_marker_marks_nothing(start: Start, marks: Marks) -> None:
    start(["sleep", "60"])

    assert await proofs(replace(marks, marker={})) == {}


@proves("PROC-004", "R-31")
async def test_a_root_whose_pid_was_given_to_another_process_is_never_signalled(
    start: Start, marks: Marks
) -> None:
    process = start(["sleep", "60"], marker={})
    true = who(process.pid)
    for wrong in (replace(true, start_ticks=true.start_ticks - 1), replace(true, boot_id="an earlier start")):
        assert await processes.end(replace(marks, roots=(wrong,))) == ()

    assert process.poll() is None


@proves("PROC-004")
async def test_the_session_of_a_root_that_is_gone_needs_one_more_proof(start: Start, marks: Marks) -> None:
    pids = {}
    for name, marker, cwd in (
        ("marked", MARKER, Path("/")),
        ("placed", {}, marks.cwd),
        ("neither", {}, Path("/")),
    ):
        root = start(sh("sleep 60 >/dev/null & echo $!; exec sleep 60"), cwd=cwd, marker=marker)
        pids[name] = int(said(root))
        gone = who(root.pid)
        root.kill()
        root.wait()
        marks = replace(marks, roots=(*marks.roots, gone))

    found = await proofs(marks)
    psutil.Process(pids["neither"]).kill()

    expected = {pids["marked"]: "session+marker", pids["placed"]: "session+cwd"}
    assert found == expected
    assert await processes.end(marks) == ()


@proves("PROC-005", "R-13")
async def test_this_process_and_its_ancestors_are_never_members(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The marker of a daemon that was started inside an agent's session; told by a child, whose environ has it.
    script = (
        "import sys, anyio, os\n"
        "from pathlib import Path\n"
        "from envmgr.drivers.processes import ProcProcesses\n"
        "from envmgr.drivers.sockets import HostSockets\n"
        "from envmgr.protocols.processes import Marks\n"
        "async def main():\n"
        "    p = ProcProcesses(HostSockets())\n"
        "    roots = (p.identify(os.getpid()), p.identify(os.getppid()))\n"
        "    marks = Marks(roots=roots, marker={'ENVMGR_AGENT': 'alpha'}, cwd=Path(sys.argv[1]))\n"
        "    print(await p.members(marks), await p.end(marks))\n"
        "anyio.run(main)\n"
    )
    monkeypatch.chdir(tmp_path)
    done = await anyio.run_process(
        [sys.executable, "-c", script, str(tmp_path)], env={**os.environ, **MARKER}
    )

    assert done.stdout.decode().strip() == "Absent() ()"


@proves("PROC-006", "R-13")
async def test_an_end_takes_everything_and_does_not_wait_for_the_grace(start: Start, marks: Marks) -> None:
    root = start(sh("setsid nohup sleep 60 >/dev/null 2>&1 & echo $!; wait"))
    escaped = who(int(said(root)))
    begun = time.monotonic()

    assert await processes.end(replace(marks, roots=(who(root.pid),)), grace_s=10) == ()

    assert time.monotonic() - begun < 1
    assert not lives(escaped)
    assert root.poll() == -signal.SIGTERM


@proves("PROC-006", "R-13")
async def test_what_ignores_term_is_killed_after_the_grace(start: Start, marks: Marks) -> None:
    stubborn = start(py(STUBBORN))
    said(stubborn)

    assert await processes.end(marks, grace_s=0.2) == ()

    assert stubborn.poll() == -signal.SIGKILL


@proves("PROC-006")
async def test_processes_forked_while_ending_are_taken_in(start: Start, marks: Marks) -> None:
    # Answers TERM with a child in a session of its own, and ends: as a service that restarts its worker does.
    script = "trap 'setsid sleep 60 >/dev/null & echo $!; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    root = start(sh(script))
    said(root)

    assert await processes.end(marks) == ()

    assert not runs(int(said(root)))


@proves("PROC-006")
async def test_a_frozen_process_ends_politely(start: Start, marks: Marks) -> None:
    process = start(["sleep", "60"])
    os.kill(process.pid, signal.SIGSTOP)

    assert await processes.end(marks, grace_s=5) == ()

    assert process.poll() == -signal.SIGTERM


@proves("PROC-006")
async def test_ending_nobody_is_harmless(marks: Marks) -> None:
    assert await processes.end(marks) == ()


@proves("PROC-007")
async def test_one_process_can_be_asked_whether_it_belongs(start: Start, marks: Marks) -> None:
    root = start(sh("setsid sh -c 'sleep 60 & echo $!; wait' & wait"), cwd=Path("/"), marker={})
    below, stray = who(int(said(root))), who(start(["sleep", "60"]).pid)
    other = who(start(["sleep", "60"], cwd=Path("/")).pid)
    marks = replace(marks, roots=(who(root.pid),))

    def ask() -> list[bool]:
        later = replace(below, start_ticks=below.start_ticks + 1)
        return [processes.belongs(one, marks) for one in (below, stray, other, later)]

    assert await anyio.to_thread.run_sync(ask) == [True, True, False, False]


@proves("PROC-007")
async def test_a_process_is_shown_by_its_command_line(start: Start) -> None:
    process = start(["sleep", "60"])
    long = start(py("import time; time.sleep(60)", "x" * 200))
    await async_eventually(lambda: psutil.Process(long.pid).cmdline()[-1] == "x" * 200)

    def ask() -> list[str]:
        return [processes.command(process.pid), processes.command(1 << 30)]

    assert await anyio.to_thread.run_sync(ask) == ["sleep 60", ""]
    assert len(await anyio.to_thread.run_sync(processes.command, long.pid)) == 80
