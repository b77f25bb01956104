"""`stop`, `start`, `rm`, `undo` and `down`: nothing is lost, nothing is left."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.untouched import held_leases
from tests.support.wait import eventually

_FIXED = """\
envmgr: 1
services:
  a: {{command: sleep 1000, ports: {{x: {{prefer: {port}, fixed: true}}}}}}
agent: {{kind: command, command: [sleep, '1000']}}
"""

_DIES = """\
envmgr: 1
services:
  a: {command: sleep 1000}
  b: {command: exit 3, depends_on: [a], ready: {exec: ["false"]}}
agent: {kind: command, command: [sleep, '1000']}
"""

_LAZY = """\
envmgr: 1
services:
  a: {command: sleep 1000, ports: [x]}
agent: {kind: command, command: [sleep, '1000']}
"""
_WRITER = """\
envmgr: 1
agent: {kind: command, command: "touch written; exec sleep 1000"}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        (here.repo / ".gitignore").write_text("*.log\n")
        git(here.repo, "add", ".gitignore")
        git(here.repo, "commit", "-q", "-m", "ignore")
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, template: str = "sleeper") -> Path:
    here.ok("spawn", "-t", template, "--name", name)
    return Path(here.agent(name)["worktree"])


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and hash of every file but git's pointer."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, _digest(path))
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path.name != ".git"
    }


def _digest(path: Path) -> str:
    data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return hashlib.sha256(data).hexdigest()


@proves("CLI-050")
def test_start_brings_an_agent_back_on_its_worktree_and_ports(shared: Host) -> None:
    place = spawned(shared, "again", "web")
    (place / "draft.txt").write_text("mine\n")
    before = shared.agent("again")

    stopped = shared.ok("stop", "again")
    assert "again is ○ STOPPED" in stopped.out
    assert held_leases(shared) == []
    shared.ok("start", "again")
    after = shared.agent("again")

    assert after["services"][0]["ports"] == before["services"][0]["ports"]
    assert (after["worktree"], after["branch"]) == (before["worktree"], before["branch"])
    assert after["generation"] == before["generation"] + 1
    assert (place / "draft.txt").read_text() == "mine\n"
    shared.ok("stop", "again")


@proves("CLI-051")
def test_stop_and_start_of_what_is_so_already_change_nothing(shared: Host) -> None:
    spawned(shared, "calm")
    running = shared.run("start", "calm")
    shared.ok("stop", "calm")
    stopped = shared.ok("stop", "calm")

    assert running.code == 5
    assert "calm is running" in running.err
    assert "calm is ○ STOPPED" in stopped.out


@proves("CLI-052")
def test_rm_refuses_a_running_agent_and_asks_for_a_yes(shared: Host) -> None:
    spawned(shared, "busy")

    unsure, running = shared.run("rm", "busy"), shared.run("rm", "busy", "--yes")

    assert (unsure.code, running.code) == (2, 5)
    assert "hint:  Say `envmgr rm busy --yes`." in unsure.err
    assert "envmgr stop busy" in running.err
    assert shared.agent("busy")["lifecycle"] == "running"


@proves("CLI-052")
def test_rm_needs_the_whole_name(shared: Host) -> None:
    spawned(shared, "whole-name")

    part = shared.run("rm", "whole", "--stop", "--yes")

    assert part.code == 4
    assert part.err == "error: no agent whole\nhint:  This needs the whole name: did you mean whole-name?\n"
    assert shared.agent("whole")["lifecycle"] == "running"


@proves("CLI-053")
def test_rm_says_that_the_names_differ_before_it_asks_for_a_yes(shared: Host) -> None:
    spawned(shared, "idea-1")
    spawned(shared, "idea-2")

    unsure = shared.run("rm", "idea-2", "--stop", "--discard", "idea-1")
    sure = shared.run("rm", shared.agent("idea-2")["id"], "--stop", "--discard", "idea-1", "--yes")

    assert (unsure.code, sure.code) == (2, 2)
    for refused in (unsure, sure):
        assert "--discard names idea-1, and what is to be removed is idea-2" in refused.err
    assert shared.agent("idea-2")["lifecycle"] == "running"


@proves("CLI-053")
@pytest.mark.parametrize("kind", ["untracked", "changed", "staged", "committed"])
def test_rm_refuses_work_that_is_nowhere_else_until_the_agent_is_named(shared: Host, kind: str) -> None:
    name = f"work-{kind}"
    place = spawned(shared, name)
    file = place / ("index.html" if kind == "changed" else "new.txt")
    file.write_text("precious\n")
    if kind in ("staged", "committed"):
        git(place, "add", "new.txt")
    if kind == "committed":
        git(place, "commit", "-q", "-m", "precious")
    shared.ok("stop", name)

    refused = shared.run("rm", name, "--yes")
    many = shared.run("rm", name, "--yes", "--discard", name, "--discard", "other")
    assert (many.code, "takes one name" in many.err) == (2, True)
    wrong = shared.run("rm", name, "--yes", "--discard", "other")

    assert (refused.code, wrong.code) == (5, 2)
    what = (
        "1 commit of which there is no copy" if kind == "committed" else f"1 uncommitted file ({file.name})"
    )
    assert what in refused.err
    assert f"--discard {name}" in refused.err
    assert file.read_text() == "precious\n"
    shared.ok("rm", name, "--yes", "--discard", name)
    assert not place.exists()


@proves("CLI-054")
def test_undo_brings_back_every_byte_and_gits_view_of_it(shared: Host) -> None:
    place = spawned(shared, "phoenix")
    (place / "committed.txt").write_text("in a commit\n")
    git(place, "add", "committed.txt")
    git(place, "commit", "-q", "-m", "own work")
    (place / "index.html").write_text("changed\n")
    (place / "staged and later changed").write_text("staged\n")
    git(place, "add", "staged and later changed")
    (place / "staged and later changed").write_text("changed again\n")
    (place / "folder").mkdir()
    (place / "folder" / "ünïcode.bin").write_bytes(bytes(range(256)))
    (place / "run.sh").write_text("#!/bin/sh\n")
    (place / "run.sh").chmod(0o755)
    (place / "link").symlink_to("index.html")
    before = (contents(place), git(place, "status", "--porcelain"), git(place, "log", "--format=%H %s"))
    shared.ok("stop", "phoenix")

    removed = shared.ok("rm", "phoenix", "--yes", "--discard", "phoenix")
    gone = (place.exists(), "phoenix" in shared.agents(), "agent/phoenix" in shared.branches())
    shared.ok("undo", "phoenix")

    assert "envmgr undo phoenix" in removed.out
    assert gone == (False, False, False)
    assert (
        contents(place),
        git(place, "status", "--porcelain"),
        git(place, "log", "--format=%H %s"),
    ) == before
    assert shared.agent("phoenix")["lifecycle"] == "stopped"
    assert shared.ok("start", "phoenix").code == 0


@proves("CLI-055")
def test_undo_lists_what_can_be_brought_back_and_refuses_what_cannot(shared: Host) -> None:
    spawned(shared, "listed")
    shared.ok("stop", "listed")
    shared.ok("rm", "listed", "--yes")

    assert "listed" in [s["name"] for s in shared.ok("undo", "--list", "--json").json["snapshots"]]
    spawned(shared, "listed")
    taken, unknown = shared.run("undo", "listed"), shared.run("undo", "never-was")

    assert (taken.code, unknown.code) == (5, 4)
    assert "an agent named listed exists again" in taken.err
    assert "envmgr undo --list" in unknown.err


@proves("CLI-056")
def test_ignored_files_do_not_hold_up_a_removal(shared: Host) -> None:
    place = spawned(shared, "noisy")
    (place / "build.log").write_text("noise\n")
    shared.ok("stop", "noisy")

    assert shared.ok("rm", "noisy", "-y").out == "removed noisy; bring it back with `envmgr undo noisy`\n"
    assert not place.exists()


@proves("CLI-057")
def test_a_failed_spawn_leaves_an_agent_that_can_be_stopped_started_and_removed(shared: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shared.template("fixed", _FIXED.format(port=taken.getsockname()[1]))
        assert shared.run("spawn", "-t", "fixed", "--name", "portless").code == 8
    shared.template("dies", "envmgr: 1\nagent: {kind: command, command: [no-such-program]}\n")
    assert shared.run("spawn", "-t", "dies", "--name", "stillborn").code == 8

    for name in ("portless", "stillborn"):
        shared.ok("stop", name)
        assert shared.agent(name)["lifecycle"] == "stopped"
        shared.ok("rm", name, "-y")


@proves("CLI-058")
def test_down_with_agents_stops_everything_and_a_later_command_finds_it_again() -> None:
    with host() as here:
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "-n", "2", "--name", "pair")
        pid = here.daemon_pid()

        said = here.ok("down", "--agents").out
        eventually(lambda: here.daemon_pid() is None)
        agents = here.agents()

        assert said == "stopped 2 agents; the daemon ends\n"
        assert {agent["lifecycle"] for agent in agents.values()} == {"stopped"}
        assert all(agent["worktree"] for agent in agents.values())
        assert here.daemon_pid() not in (None, pid)


@proves("CLI-058")
def test_down_leaves_errors_of_which_nothing_is_left_as_they_are() -> None:
    with host() as here:
        here.template("dies", _DIES)
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "well")
        assert here.run("spawn", "-t", "dies", "--name", "ill").code == 8
        before = here.agent("ill")

        said = here.ok("down", "--agents").out
        eventually(lambda: here.daemon_pid() is None)
        after = here.agents()
        shown = here.ok("ls", "--no-all", "--json").json["agents"]

        assert said == "stopped 1 agent; the daemon ends\n"
        assert (after["ill"]["lifecycle"], after["ill"]["reason"]) == ("error", before["reason"])
        assert after["well"]["lifecycle"] == "stopped"
        assert [service["state"] for service in before["services"]] == ["stopped", "failed"]
        assert [agent["name"] for agent in shown] == ["ill"]


@proves("CLI-059")
def test_down_and_a_killed_daemon_stop_no_agent() -> None:
    with host() as here:
        here.ok("spawn", "-t", "web", "--name", "survivor")
        before = here.agent("survivor")

        assert here.ok("down").out == "1 agent goes on; the daemon ends\n"
        eventually(lambda: here.daemon_pid() is None)
        after = here.agents()["survivor"]

        assert after["lifecycle"] == "running"
        assert after["generation"] == before["generation"]
        eventually(lambda: here.agents()["survivor"]["services"] == before["services"], within_s=5)
        assert "200" in here.ok(
            "exec", "survivor", "--", "python3", "-c",
            "import os, urllib.request; print(urllib.request.urlopen(os.environ['WEB_URL']).status)",
        ).out  # fmt: skip


@proves("CLI-060")
def test_a_stranger_on_a_port_that_no_service_opened_does_not_hold_up_a_stop(shared: Host) -> None:
    shared.template("lazy", _LAZY)
    shared.ok("spawn", "-t", "lazy", "--name", "lazy")
    port = shared.agent("lazy")["services"][0]["ports"]["x"]

    with socket.create_server(("127.0.0.1", port)):
        shared.ok("stop", "lazy")

    assert shared.agent("lazy")["lifecycle"] == "stopped"


@proves("CLI-061")
def test_files_of_an_agent_have_the_modes_the_person_is_used_to(shared: Host) -> None:
    shared.template("writer", _WRITER)
    place = spawned(shared, "modes", "writer")

    eventually((place / "written").exists)
    usual = (shared.repo / "index.html").stat().st_mode
    assert (place / "index.html").stat().st_mode == usual
    assert (place / "written").stat().st_mode == usual
    assert shared.state.stat().st_mode & 0o777 == 0o700
