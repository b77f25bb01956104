"""What nobody owns any more is found, told, and removed after two looks; what is somebody's is never touched."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Host, git, host
from tests.support.leftovers import GONE, Leftovers, exists, leftovers
from tests.support.requirements import proves
from tests.support.survive import agent_when, kill_daemon, sessions, settled
from tests.support.wait import eventually

# Each has an engine, a daemon or two, and some twenty commands to run.
pytestmark = pytest.mark.timeout(180)

_PROJECT = "com.docker.compose.project"
_QUICK = {"ENVMGR_REAPER__YOUNG_S": "0", "ENVMGR_REAPER__AGAIN_S": "0.2", "ENVMGR_REAPER__FIRST_S": "3600"}


@pytest.fixture
def here() -> Iterator[Host]:
    """A host with an agent that runs; its daemon reaps only when asked."""
    with host(**_QUICK) as made:
        made.sleeper()
        made.ok("spawn", "-t", "sleeper", "--name", "otter")
        yield made


@pytest.fixture
def left(here: Host) -> Iterator[Leftovers]:
    with leftovers(here) as made:
        yield made


def audit(here: Host, *args: str, code: int | None = None) -> dict[str, Any]:
    """Things by name."""
    ran = here.run("audit-resources", "--all", "--json", *args)
    assert code is None or ran.code == code, ran.out + ran.err
    return {thing["name"]: thing for thing in ran.json["things"]}


def of_pid(things: dict[str, Any], pid: int) -> Any:
    return next((thing for name, thing in things.items() if name.startswith(f"{pid} ")), None)


def kinds(here: Host, kind: str) -> list[Any]:
    return [event["data"] for event in here.events() if event["kind"] == kind]


# --- dangling objects: only ours and old are removed -----------------------------------------------------------------


@proves("REAP-011", "REAP-012", "R-33")
def test_dangling_objects_are_removed_in_order_and_then_nothing_is_leaked(
    here: Host, left: Leftovers
) -> None:
    pid = left.process(here.state / "worktrees" / "repo-1" / "gone")
    network = left.network(left.labels())
    container = left.container(left.labels(), network=network)
    left.session(f"em-{GONE}-g1")
    worktree = left.worktree("gone")

    found = audit(here, code=3)
    assert {found[name]["verdict"] for name in (network, container, f"em-{GONE}-g1", str(worktree))} == {
        "orphan"
    }
    assert of_pid(found, pid)["verdict"] == "orphan"
    assert exists("container", container)  # a look changes nothing

    ran = here.ok("reap", "--yes", "--json")

    order = [thing["kind"] for thing in ran.json["removed"]]
    assert order == ["process", "container", "network", "session", "worktree"]
    assert not left.is_alive(pid)
    assert not exists("container", container)
    assert not exists("network", network)
    assert sessions(here) == [f"em-{here.agents()['otter']['id']}-g1"]
    assert not worktree.exists()
    assert "agent/gone" in here.branches()  # branches are a person's
    audit(here, code=0)
    assert len(kinds(here, "reaper.removed")) == 5
    assert here.agent("otter")["lifecycle"] == "running"


@proves("REAP-012")
def test_a_dry_run_tells_what_would_go_and_names_choose(here: Host, left: Leftovers) -> None:
    one, two = left.network(left.labels()), left.network(left.labels())

    dry = here.ok("reap", "--dry-run", "--json").json
    assert {thing["name"] for thing in dry["would"]} == {one, two}
    assert exists("network", one)

    assert here.run("reap").code == 2  # destroys: needs a yes
    here.ok("reap", one, "--yes")
    assert (exists("network", one), exists("network", two)) == (False, True)


# --- what is never touched --------------------------------------------------------------------------------------


@proves("REAP-013", "R-33")
def test_things_of_another_installation_are_never_touched(here: Host, left: Leftovers) -> None:
    with host(**_QUICK) as there:
        there.sleeper()
        there.ok("spawn", "-t", "sleeper", "--name", "beaver")
        with leftovers(there) as theirs:
            pid = theirs.process(there.state / "worktrees" / "repo-1" / "gone")
            network = theirs.network(theirs.labels())
            mine = left.network(left.labels())

            found = audit(here, code=3)
            assert found[network]["verdict"] == "foreign"
            assert of_pid(found, pid)["verdict"] == "foreign"
            assert not [
                name for name in found if str(there.state) in name and found[name]["verdict"] == "orphan"
            ]
            here.ok("reap", "--yes")

            assert not exists("network", mine)
            assert exists("network", network)
            assert theirs.is_alive(pid)
            assert there.agent("beaver")["lifecycle"] == "running"
            there.ok("reap", "--yes")
            assert not exists("network", network)
            assert not theirs.is_alive(pid)


@proves("REAP-007")
def test_a_marker_alone_never_kills_and_daemons_for_everybody_are_spared(here: Host, left: Leftovers) -> None:
    elsewhere = left.process(here.state.parent / "elsewhere")
    gone = here.state / "worktrees" / "repo-1" / "gone"
    shared = left.process(gone, words=("bash", "-c", "exec -a 'java GradleDaemon 8.7' sleep 600"))
    plain = left.process(gone)
    eventually(lambda: "GradleDaemon" in Path(f"/proc/{shared}/cmdline").read_text())

    found = audit(here)
    assert of_pid(found, elsewhere)["verdict"] == "unknown"
    assert of_pid(found, shared)["verdict"] == "foreign"
    assert of_pid(found, plain)["verdict"] == "orphan"
    here.ok("reap", "--yes")

    assert [left.is_alive(pid) for pid in (elsewhere, shared, plain)] == [True, True, False]


@proves("REAP-005")
def test_what_its_maker_keeps_is_respected(here: Host, left: Leftovers) -> None:
    kept = left.container(left.labels(keep="true"))

    assert audit(here, code=0)[kept]["verdict"] == "tracked"
    here.ok("reap", "--yes")

    assert exists("container", kept)


@proves("REAP-003")
def test_what_is_young_is_left_alone() -> None:
    with host(**(_QUICK | {"ENVMGR_REAPER__YOUNG_S": "300"})) as there:
        there.ok("ls")
        with leftovers(there) as theirs:
            network = theirs.network(theirs.labels())

            assert audit(there, code=0)[network]["verdict"] == "young"
            assert there.ok("reap", "--yes", "--json").json["removed"] == []
            assert exists("network", network)


@proves("REAP-006")
def test_volumes_and_worktrees_with_work_are_kept_and_the_command_for_a_person_is_told(
    here: Host, left: Leftovers
) -> None:
    volume = left.volume(left.labels())
    dirty, ahead = left.worktree("dirty"), left.worktree("ahead")
    (dirty / "new").write_text("work\n")
    git(ahead, "commit", "-q", "--allow-empty", "-m", "mine")

    found = audit(here, code=3)
    for name in (volume, str(dirty), str(ahead)):
        assert found[name]["quarantined"], found[name]
        assert found[name]["next"]
    assert "1 changed file" in found[str(dirty)]["reason"]
    assert "1 commit of its own" in found[str(ahead)]["reason"]
    text = here.run("audit-resources").out
    assert f"docker volume rm {volume}" in text

    left_over = here.ok("reap", "--yes", "--json").json
    assert left_over["removed"] == []
    assert {thing["name"] for thing in left_over["left"]} == {volume, str(dirty), str(ahead)}
    assert exists("volume", volume)
    assert (dirty / "new").exists()
    git(here.repo, "worktree", "remove", "-f", "-f", str(dirty))
    git(here.repo, "worktree", "remove", "-f", "-f", str(ahead))


@proves("REAP-014")
def test_what_an_agent_of_ours_has_begun_is_found_after_it_by_its_project(
    here: Host, left: Leftovers
) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "brief")
    agent = here.agents()["brief"]["id"]
    here.ok("stop", "brief")
    here.ok("rm", "brief", "--yes")
    ours = left.container({_PROJECT: f"envmgr-{agent}"})
    nobodys = left.container({_PROJECT: "envmgr-0a0a0a0a"})

    found = audit(here, code=3)
    assert found[ours]["verdict"] == "orphan"
    assert found[nobodys]["verdict"] == "foreign"
    here.ok("reap", "--yes")

    assert not exists("container", ours)
    assert exists("container", nobodys)


@proves("REAP-004")
def test_an_engine_that_does_not_answer_is_unknown_and_nothing_there_is_an_orphan() -> None:
    with host(**_QUICK) as there:
        nobodys = there.state.parent / "nobody.sock"
        there.env["DOCKER_HOST"] = f"unix://{nobodys}"
        # A socket that nobody serves: the engine is down, not absent.
        with closing(socket.socket(socket.AF_UNIX)) as dead:
            dead.bind(str(nobodys))
        ran = there.run("audit-resources", "--kind", "container", "--json")
        assert ran.code == 0
        assert [thing["verdict"] for thing in ran.json["things"]] == ["unknown"]


# --- files, sockets, ports ---------------------------------------------------------------------------------------


@proves("REAP-015")
def test_folders_of_agents_that_were_ours_and_dead_sockets_go(here: Host) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "brief")
    agent = here.agents()["brief"]["id"]
    here.ok("stop", "brief")
    here.ok("rm", "brief", "--yes")
    home, stranger = here.state / "agents" / agent, here.state / "agents" / "0a0a0a0a"
    for folder in (home, stranger):
        (folder / "logs").mkdir(parents=True)
        (folder / "logs" / "web.log").write_text("old\n")
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(home / "cc.sock"))
    trash = here.state / "worktrees" / ".trash" / "cut-off"
    trash.mkdir(parents=True)

    found = audit(here, code=3)
    assert found[str(home)]["verdict"] == "orphan"
    assert found[str(home)]["bytes"] > 0
    assert found[str(home / "cc.sock")]["verdict"] == "orphan"
    assert found[str(stranger)]["verdict"] == "foreign"
    here.ok("reap", "--yes")

    assert (home.exists(), stranger.exists(), trash.exists()) == (False, True, False)
    audit(here, code=0)


# --- by itself ------------------------------------------------------------------------------------------------------


@proves("REAP-008", "REAP-009")
def test_the_daemon_reaps_by_itself_after_two_looks_and_so_many_a_pass() -> None:
    quick = {"FIRST_S": "0", "GRACE_S": "1", "YOUNG_S": "0", "PERIOD_S": "0.5", "AT_MOST": "1"}
    with host(**{f"ENVMGR_REAPER__{key}": value for key, value in quick.items()}) as there:
        there.ok("ls")
        with leftovers(there) as theirs:
            one, two = theirs.network(theirs.labels()), theirs.network(theirs.labels())
            eventually(lambda: not exists("network", one) and not exists("network", two), within_s=30)

            def told() -> list[Any]:
                return [event for event in there.events() if event["kind"] == "reaper.removed"]

            eventually(lambda: len(told()) == 2, within_s=10)
            removed = told()
        assert removed[1]["at"] - removed[0]["at"] >= 0.4  # one a pass


@proves("REAP-008")
def test_what_was_seen_once_is_not_touched() -> None:
    quick = {"FIRST_S": "0", "GRACE_S": "0", "YOUNG_S": "0", "PERIOD_S": "3600"}
    with host(**{f"ENVMGR_REAPER__{key}": value for key, value in quick.items()}) as there:
        there.ok("ls")
        with leftovers(there) as theirs:
            volume, network = theirs.volume(theirs.labels()), theirs.network(theirs.labels())
            kill_daemon(there)
            there.ok("ls")
            # What a person must see to is told at the first look: so we know that there was one.
            eventually(lambda: volume in json.dumps(kinds(there, "reaper.quarantined")), within_s=20)
            assert exists("network", network)
            assert kinds(there, "reaper.removed") == []


# --- crashes ----------------------------------------------------------------------------------------------------


@proves("REAP-016")
@pytest.mark.parametrize("point", ["reap-before-container", "reap-after-container", "reap-before-worktree"])
def test_a_pass_that_was_killed_is_ended_by_the_next_one(point: str) -> None:
    with host(**_QUICK) as there:
        there.ok("ls")
        with leftovers(there) as theirs:
            network = theirs.network(theirs.labels())
            container = theirs.container(theirs.labels(), network=network)
            worktree = theirs.worktree("gone")
            kill_daemon(there)
            there.env["ENVMGR_CRASH_AT"] = point
            there.ok("ls")
            assert there.run("reap", "--yes").code != 0
            del there.env["ENVMGR_CRASH_AT"]

            there.ok("reap", "--yes")

            assert not exists("container", container)
            assert not exists("network", network)
            assert not worktree.exists()
            audit(there, code=0)


@proves("REAP-016")
def test_an_agent_that_is_up_loses_nothing_to_a_reaper_that_is_killed(here: Host, left: Leftovers) -> None:
    left.network(left.labels())
    kill_daemon(here)
    here.env["ENVMGR_CRASH_AT"] = "reap-after-network"
    here.ok("ls")
    assert here.run("reap", "--yes").code != 0
    del here.env["ENVMGR_CRASH_AT"]

    settled(here, "otter")
    assert agent_when(here, "otter", lambda agent: agent["lifecycle"] == "running")
    audit(here, code=0)


# --- room -----------------------------------------------------------------------------------------------------------


@proves("REAP-017")
def test_when_the_disk_is_full_room_is_made_and_told() -> None:
    quick = {
        "FIRST_S": "0",
        "GRACE_S": "0",
        "PERIOD_S": "0.5",
        "DISK_PERCENT": "0.001",
        "FREE_BYTES": str(10**18),
    }
    with host(**{f"ENVMGR_REAPER__{key}": value for key, value in quick.items()}) as there:
        there.env["ENVMGR_MAINTENANCE__ENABLED"] = "false"
        old = there.state / "agents" / "x" / "logs" / "web.log.1"
        old.parent.mkdir(parents=True)
        old.write_text("x" * 100_000)
        os.utime(old, (1.0, 1.0))
        there.ok("ls")

        eventually(lambda: kinds(there, "host.room_made"), within_s=20)

        assert not old.exists()
        made = kinds(there, "host.room_made")[0]
        assert "% full" in made["reason"]
        assert any(step.startswith("logs: 1, 100000 bytes") for step in made["steps"]), made
        checks = there.run("doctor", "--json").json["checks"]
        assert [check["ok"] for check in checks if check["check"] == "room"] == [False]


@proves("MAINT-001")
def test_maintain_tells_what_it_did_and_what_it_would_do(here: Host) -> None:
    old = here.state / "agents" / here.agents()["otter"]["id"] / "logs" / "web.log.3"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text("x" * 1000)
    os.utime(old, (1.0, 1.0))

    dry = here.ok("maintain", "logs", "--dry-run", "--json").json
    assert [(task["task"], task["count"], task["bytes"]) for task in dry["tasks"]] == [("logs", 1, 1000)]
    assert old.exists()
    assert "vacuum" in here.ok("maintain").out
    assert not old.exists()
    assert kinds(here, "maintenance.done")[0]["bytes"] == 1000
    assert here.run("maintain", "sweep").code == 2
