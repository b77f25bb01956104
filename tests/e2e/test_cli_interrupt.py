"""Ctrl-C and second thoughts: what a spawn had begun is taken back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.untouched import untouched
from tests.support.wait import eventually

_SLOW = """\
envmgr: 1
services:
  slow: {command: "touch ../../../begun-$ENVMGR_AGENT_NAME; exec sleep 1000", ports: [p], ready: {tcp: p, deadline: 5m}}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.template("slow", _SLOW)
        here.ok("spawn", "-t", "sleeper", "--name", "neighbour")
        yield here


def begun(here: Host, name: str) -> bool:
    return (here.state / f"begun-{name}").exists()


@proves("CLI-090")
@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_takes_back_what_the_spawn_had_begun(shared: Host, count: int) -> None:
    name = f"undone{count}"
    names = [name] if count == 1 else [f"{name}-{n}" for n in range(1, count + 1)]
    with untouched(shared):
        spawning = shared.start("spawn", "-t", "slow", "--name", name, "-n", str(count))
        eventually(lambda: all(begun(shared, each) for each in names), within_s=20)
        os.kill(spawning.pid, signal.SIGINT)
        _, err = spawning.communicate(timeout=40)

    assert spawning.returncode == 130
    assert f"taking back {', '.join(names)} ..." in err
    assert "taken back; nothing is left" in err
    assert not set(names) & set(shared.agents())


@proves("CLI-090")
def test_files_that_a_service_wrote_before_ctrl_c_are_no_work_and_go_too(shared: Host) -> None:
    shared.template("messy", _SLOW.replace("touch ", "echo notes > notes.txt; touch "))
    with untouched(shared):
        spawning = shared.start("spawn", "-t", "messy", "--name", "messy")
        eventually(lambda: begun(shared, "messy"), within_s=20)
        os.kill(spawning.pid, signal.SIGINT)
        _, err = spawning.communicate(timeout=40)

    assert "taken back; nothing is left" in err
    assert "messy" not in shared.agents()


@proves("CLI-091")
def test_a_spawn_that_is_stopped_by_another_command_is_taken_back(shared: Host) -> None:
    with untouched(shared):
        spawning = shared.start("spawn", "-t", "slow", "--name", "changed-mind")
        eventually(lambda: begun(shared, "changed-mind"), within_s=20)
        stopped = shared.ok("stop", "changed-mind").out
        out, err = spawning.communicate(timeout=30)

    assert "changed-mind is ○ STOPPED" in stopped
    assert spawning.returncode == 8
    assert out == ""
    assert "stop asked by a person" in err
    assert shared.agent("changed-mind")["lifecycle"] == "stopped"
    shared.ok("rm", "changed-mind", "-y")


@proves("CLI-092")
@pytest.mark.parametrize(("answer", "is_removed"), [(b"n\n", False), (b"y\n", True)])
def test_rm_asks_a_person_at_a_terminal(shared: Host, *, answer: bytes, is_removed: bool) -> None:
    shared.ok("spawn", "-t", "sleeper", "--name", "asked")
    place = Path(shared.agent("asked")["worktree"])
    shared.ok("stop", "asked")
    master, slave = pty.openpty()

    asking = subprocess.Popen(
        [sys.executable, "-m", "envmgr", "rm", "asked"],
        cwd=shared.repo, env=shared.environment(TERM="xterm"), stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(master, 1024)
    os.write(master, answer)
    status = asking.wait(timeout=20)
    os.close(master)

    assert b"rm asked? [y/N]" in said
    assert (status == 0) is is_removed
    assert place.exists() is not is_removed
    if not is_removed:
        shared.ok("rm", "asked", "-y")
