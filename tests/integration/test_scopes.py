"""Control groups by systemd are used only when they were seen to work. Stand-ins: a program `systemd-run` and a folder of groups."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from envmgr.drivers.scopes import detect
from envmgr.model.service import ProcessLimits
from envmgr.protocols.scopes import Scopes
from envmgr.runtime import tiers
from tests.support.requirements import proves

# Writes what it is asked for where the kernel would show it, then becomes the command, as a scope does.
STAND_IN = """#!/bin/sh
while [ "$1" != -- ]; do
    case "$1" in
        MemoryMax=*) echo "${1#*=}" > GROUPS/own/memory.max;;
        CPUQuota=50%) echo "50000 100000" > GROUPS/own/cpu.max;;
        TasksMax=*) echo "${1#*=}" > GROUPS/own/pids.max;;
    esac
    echo "$1" >> GROUPS/words
    shift
done
shift
exec "$@"
"""
LIMITS = ProcessLimits(memory_bytes=64_000_000, cpus=1.5, pids=50, nofile=99, nice=3)


class Machine:
    """A host with cgroup v2, as far as the detection looks."""

    def __init__(self, folder: Path) -> None:
        self.groups, self.own = folder / "groups", folder / "own"
        self.bin = folder / "bin"
        (self.groups / "own").mkdir(parents=True)
        self.bin.mkdir()
        self.own.write_text("0::/own\n")
        (self.groups / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
        for name in ("memory.max", "cpu.max", "pids.max"):
            (self.groups / "own" / name).write_text("max\n")
        self.program(STAND_IN.replace("GROUPS", str(self.groups)))

    def program(self, text: str) -> None:
        """Install another `systemd-run`."""
        path = self.bin / "systemd-run"
        path.write_text(text)
        path.chmod(0o755)

    def detect(self, *, is_root: bool = True, **environ: str) -> Scopes:
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}", **environ}
        return detect(env, cgroups=self.groups, own=self.own, is_root=is_root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@proves("LIMIT-001")
def test_scopes_that_set_what_they_are_asked_for_are_used(machine: Machine) -> None:
    found = machine.detect()
    assert found.argv == (str(machine.bin / "systemd-run"), "--scope", "--quiet", "--collect")
    assert found.why_not == ""
    assert "scopes for memory, cpus and pids" in tiers.described(found)


@proves("LIMIT-001")
def test_a_service_becomes_its_command_with_its_own_environment_and_the_same_pid(machine: Machine) -> None:
    found = machine.detect(
        is_root=False, XDG_RUNTIME_DIR="/run/u", DBUS_SESSION_BUS_ADDRESS="unix:path=/run/u/bus"
    )
    assert "--user" in found.argv
    (machine.groups / "words").unlink()
    own = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": "its own"}
    line = 'echo $$ "${XDG_RUNTIME_DIR-none}" "$DBUS_SESSION_BUS_ADDRESS"'
    argv = tiers.wrapped(("sh", "-c", line), LIMITS, found, env=own)
    with subprocess.Popen(argv, env=own, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=10)
    assert said == f"{process.pid} none its own\n"
    assert (machine.groups / "words").read_text().split() == [
        "--user", "--scope", "--quiet", "--collect", "-p", "MemoryMax=64000000", "-p", "MemorySwapMax=0",
        "-p", "CPUQuota=150%", "-p", "TasksMax=50",
    ]  # fmt: skip


@proves("LIMIT-001")
def test_without_limits_of_that_kind_a_command_stays_as_it_is(machine: Machine) -> None:
    found = machine.detect()
    assert tiers.wrapped(("true",), ProcessLimits(nofile=9, nice=1), found, env={}) == ("true",)
    assert tiers.wrapped(("true",), LIMITS, Scopes(why_not="x"), env={}) == ("true",)


@proves("LIMIT-001")
def test_scopes_that_do_nothing_fail_or_hang_are_not_believed(machine: Machine) -> None:
    machine.program('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    assert machine.detect().why_not == (
        "systemd-run sets no memory.max, cpu.max, pids.max; is the controller delegated?"
    )
    machine.program("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    assert machine.detect().why_not == "systemd-run fails: Failed to connect to bus: No medium found"
    machine.program("#!/bin/sh\nexec sleep 600\n")
    assert machine.detect().why_not == "systemd-run did not answer within 3 s"


@proves("LIMIT-001", "LIMIT-005")
def test_a_machine_that_cannot_have_scopes_says_why(machine: Machine, tmp_path: Path) -> None:
    (machine.bin / "systemd-run").unlink()
    env = {"PATH": str(machine.bin)}
    assert detect(env, cgroups=machine.groups, own=machine.own).why_not == "no systemd-run on PATH"
    (machine.groups / "cgroup.controllers").write_text("cpu memory\n")
    assert machine.detect().why_not == "cgroup v2 without pids"
    old = detect(env, cgroups=tmp_path / "none", own=machine.own)
    assert old.why_not == "cgroup v1 (limits need v2)"
    assert "the guard ends what exceeds memory or pids" in tiers.described(old)
