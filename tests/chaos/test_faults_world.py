"""The machine around an agent: ports, files, disks, clocks, crowds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.chaos.trial import WORK, WORLD, Trial
from tests.support.host import git, host
from tests.support.requirements import proves
from tests.support.survive import answers, kill_daemon, processes_of, query, remains, sessions
from tests.support.wait import eventually

Begin = Callable[..., AbstractContextManager[Trial]]


# Python takes this module in when it starts. (libfaketime would do for other languages: Python's own sleep fails below it.)
CLOCK = """
import time
real = time.time
def shifted():
    with open({file!r}) as file:
        return real() + float(file.read())
time.time = shifted
"""


@contextmanager
def squatter(port: int) -> Iterator[None]:
    """Somebody else's server, which answers 200 to everything."""
    folder = Path("/")
    server = subprocess.Popen(
        ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: answers(port))
        yield
    finally:
        server.kill()
        server.wait()


@proves("FAULT-003", "R-32")
def test_a_stolen_port_is_seen_as_foreign_and_another_one_is_taken(begin_trial: Begin) -> None:
    slow = WORLD.replace("restart: {initial: 100ms}", "restart: {initial: 3s}")
    with begin_trial("port stolen while its service restarts", slow) as here:
        port = here.agent["services"][0]["ports"]["http"]
        (web,) = processes_of(here.host, here.agent, part="service:web")
        web.kill()
        eventually(lambda: not web.is_running())
        with squatter(port):
            here.struck()
            here.well_again(
                lambda agent: agent["services"][0]["ports"]["http"] != port,
                outcome="foreign: rung 3, another port; the squatter is left alone",
            )
        here.lost = "the old port number"


@proves("FAULT-003", "R-9")
def test_a_deleted_worktree_is_rebuilt(begin_trial: Begin) -> None:
    with begin_trial("worktree deleted by hand") as here:
        here.host.ok("snapshot", "create", "a")
        shutil.rmtree(here.worktree)
        here.struck()

        here.well_again(
            lambda _: (here.worktree / "notes.txt").exists(),
            outcome="rung 4: rebuilt from its last checkpoint",
        )
        here.lost = "what was not committed after the last checkpoint, and ignored files"


@proves("FAULT-003")
def test_an_index_lock_that_was_left_behind_hinders_no_checkpoint_and_no_undo(begin_trial: Begin) -> None:
    with begin_trial("index.lock left behind") as here:
        lock = Path(git(here.worktree, "rev-parse", "--absolute-git-dir").strip()) / "index.lock"
        lock.touch()
        here.struck()
        here.host.ok("rm", "a", "--stop", "--yes", "--discard", "a")
        here.host.ok("undo", "a")
        here.until(
            lambda: (here.worktree / "notes.txt").read_text() == WORK,
            outcome="saved, removed and brought back all the same",
        )


def _fill(file: Path) -> None:
    """Until no byte more fits."""
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(b"\0" * 2**30)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of a few megabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@proves("FAULT-003", "R-1")
def test_a_full_disk_stops_nothing_that_runs_and_destroys_nothing(begin_trial: Begin, tmp_path: Path) -> None:
    disk = tmp_path / "d"
    env = {"ENVMGR_GIT__WORKTREE_ROOT": str(disk / "trees"), "ENVMGR_HOST__MIN_FREE_DISK_BYTES": "0"}
    with small_disk(disk, 8), begin_trial("disk of the worktrees full", **env) as here:
        _fill(disk / "ballast")
        here.struck()
        refused = here.host.run("spawn", "-t", "world", "--name", "b")
        assert "disk are free" in refused.err
        assert "b" not in here.host.branches()
        here.well_again(outcome="it goes on; new ones are refused with the reason")
        (disk / "ballast").unlink()


@proves("FAULT-003", "R-1", "R-38")
def test_a_disk_full_under_the_store_delays_and_loses_nothing(begin_trial: Begin) -> None:
    disk = Path(tempfile.mkdtemp(prefix="ef-"))  # short: it holds sockets
    env = {"ENVMGR_HOST__MIN_FREE_DISK_BYTES": "0"}
    everything = "disk of store, repository and worktrees full"
    with small_disk(disk, 64), begin_trial(everything, WORLD, disk, **env) as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        _fill(disk / "ballast")
        web.kill()
        refused = here.host.run("spawn", "-t", "world", "--name", "b")
        assert refused.code != 0
        (disk / "ballast").unlink()
        here.struck()
        here.well_again(
            lambda agent: processes_of(here.host, agent, part="service:web"),
            outcome="nothing is begun that cannot be written down; it goes on when there is room",
        )
        assert "b" not in here.host.branches()
    disk.rmdir()


@pytest.mark.parametrize("hours", [1, -1])
@proves("FAULT-003")
def test_a_clock_that_jumps_stalls_no_back_off(begin_trial: Begin, tmp_path: Path, hours: int) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(file=str(clock)), encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    slow = WORLD.replace("restart: {initial: 100ms}", "restart: {initial: 1s}")
    with begin_trial(f"wall clock {hours:+d} h during a back-off", slow, PYTHONPATH=path) as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        web.kill()
        moved = clock.with_suffix(".new")
        moved.write_text(str(hours * 3600), encoding="utf-8")
        moved.replace(clock)
        here.struck()
        here.well_again(
            lambda agent: processes_of(here.host, agent, part="service:web"),
            outcome="started again after the same delay", within_s=15,
        )  # fmt: skip
        assert here.host.events()[-1]["at"] - time.time() == pytest.approx(hours * 3600, abs=60)


@proves("FAULT-003", "R-38")
def test_a_store_that_somebody_locks_delays_and_loses_nothing(begin_trial: Begin) -> None:
    with begin_trial("store locked by another process") as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        other = sqlite3.connect(here.host.state / "envmgr.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        web.kill()
        eventually(lambda: not web.is_running())
        assert here.host.agent("a")["lifecycle"] == "running", "looking needs no lock"
        other.execute("ROLLBACK")
        other.close()
        here.struck()
        here.well_again(
            lambda agent: processes_of(here.host, agent, part="service:web"),
            outcome="goes on when it is free again",
        )


@proves("FAULT-003")
def test_a_truncated_journal_of_the_store_is_survived(begin_trial: Begin) -> None:
    with begin_trial("write-ahead log of the store truncated") as here:
        kill_daemon(here.host)
        journal = here.host.state / "envmgr.db-wal"
        with journal.open("r+b") as file:
            file.truncate(max(0, journal.stat().st_size - 1000))
        here.struck()
        here.well_again(outcome="the store opens; what runs is adopted")
        here.lost = "the last commit of the store, seen again by looking"
        assert query(here.host, "PRAGMA integrity_check") == [("ok",)]


@proves("FAULT-003", "R-5", "R-32")
@pytest.mark.timeout(240)
def test_fifty_spawns_at_once_come_up_or_are_refused_with_the_reason(request: pytest.FixtureRequest) -> None:
    row = {"fault": "50 spawns at once", "outcome": "", "recovery_s": "", "lost": "nothing"}
    with host(ENVMGR_HOST__MIN_FREE_MEMORY_BYTES="0") as here:
        here.sleeper()
        began = time.monotonic()
        here.ok("spawn", "-t", "sleeper", "--name", "many", "-n", "50")
        row["recovery_s"] = f"{time.monotonic() - began:.1f}"
        agents = here.agents()
        assert len(agents) == len(sessions(here)) == len({a["worktree"] for a in agents.values()}) == 50
        row["outcome"] = "50 agents, each with its own worktree and session"
        removing = here.start("rm", "--all", "--stop", "--yes")
        _, said = removing.communicate(timeout=180)
        assert removing.returncode == 0, said
        eventually(lambda: remains(here) == [], within_s=30)
    request.node.user_properties.append(("fault", row))
