"""The daemon dies while it saves, restores or seeds; the next one finishes it or takes it back, and nothing half is taken for whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker.errors
import psutil
import pytest

from envmgr.model.ids import LABEL_PURPOSE, LABEL_STATE, volume_name
from tests.chaos.test_crash_matrix import crash
from tests.e2e.test_data_volumes import SEEDED, STORE, container_of, got, put, snapshot_files, spawned
from tests.support.docker import BASE, engine, existing, nothing_in_engine
from tests.support.engine_proxy import door
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import agent_when, kill_daemon, settled
from tests.support.wait import eventually

SAVING = ("save-noted", "save-paused", "save-volume", "save-copied")
RESTORING = ("restore-noted", "restore-worktree", "restore-volume", "restore-finished")


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made, nothing_in_engine({LABEL_STATE: str(made.state)}):
        made.template("plain", STORE % "")
        yield made
        for name in made.agents():
            made.ok("rm", name, "--stop", "--yes", "--discard", name)


def worked_on(here: Host, *, crash_at: str) -> Path:
    """Two states of files and volume; the first is saved as `old`, the second is there. The daemon dies at the point."""
    place = spawned(here, "a")
    put(here, "a", "old")
    (place / "index.html").write_text("old\n")
    here.ok("snapshot", "create", "a", "old")
    put(here, "a", "new")
    (place / "index.html").write_text("new\n")
    (place / "later").write_text("later\n")
    here.ok("stop", "a")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": crash_at})
    return place


def state_of(here: Host, place: Path) -> tuple[str, str, bool]:
    here.ok("start", "a")
    return got(here, "a"), (place / "index.html").read_text(), (place / "later").exists()


@proves("DATA-040")
@pytest.mark.parametrize("point", RESTORING)
def test_a_restore_cut_off_anywhere_is_finished_and_can_be_taken_back(here: Host, point: str) -> None:
    place = worked_on(here, crash_at=point)
    crash(here, point, "snapshot", "restore", "a", "old", "--yes")

    here.ok("ls")
    agent_when(here, "a", lambda agent: not agent["conditions"], within_s=20)

    assert state_of(here, place) == ("old", "old\n", False)
    last = here.ok("snapshot", "list", "a", "--json").json["snapshots"][-1]
    here.ok("snapshot", "restore", "a", str(last["id"]), "--yes", "--restart")
    assert (got(here, "a"), (place / "index.html").read_text(), (place / "later").exists()) == (
        "new",
        "new\n",
        True,
    )


@proves("DATA-041")
def test_an_agent_that_is_half_restored_does_not_start_until_it_is_whole(here: Host) -> None:
    place = worked_on(here, crash_at="restore-worktree")
    (saved,) = snapshot_files(here)
    crash(here, "restore-worktree", "snapshot", "restore", "a", "old", "--yes")
    saved.unlink()

    here.ok("ls")
    half = agent_when(here, "a", lambda agent: "lost" in str(agent["conditions"]), within_s=20)
    refused = here.run("start", "a")
    before = here.ok("snapshot", "list", "a", "--json").json["snapshots"][-1]
    needed = here.run("snapshot", "rm", str(before["id"]), "--yes")
    here.ok("snapshot", "restore", "a", str(before["id"]), "--yes")

    assert [c["type"] for c in half["conditions"]] == ["HalfRestored"]
    assert (refused.code, needed.code) == (5, 5)
    assert "a is half restored: snapshot" in refused.err
    assert "needed to finish or to take it back" in needed.err
    assert state_of(here, place) == ("new", "new\n", True)


@proves("DATA-042")
@pytest.mark.parametrize("point", SAVING)
def test_a_snapshot_cut_off_anywhere_leaves_nothing_and_containers_go_on(here: Host, point: str) -> None:
    spawned(here, "a")
    put(here, "a", "kept")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": point})

    crash(here, point, "snapshot", "create", "a")
    here.ok("ls")

    assert snapshot_files(here) == []
    assert here.ok("snapshot", "list", "--json").json["snapshots"] == []
    eventually(
        lambda: engine().containers.get(container_of(here, "a", "store")).status == "running", within_s=5
    )
    assert got(here, "a") == "kept"
    here.ok("snapshot", "create", "a", "whole")


@proves("DATA-046")
def test_what_a_killed_daemon_left_of_a_copy_keeps_nobody_from_removing_the_agent(here: Host) -> None:
    spawned(here, "a")
    put(here, "a", "kept")
    volume = volume_name(here.agent("a")["id"], "data")
    labels = engine().containers.get(container_of(here, "a", "store")).labels
    here.ok("stop", "a")
    kill_daemon(here)
    carrier = engine().api.create_container(
        BASE,
        "true",
        labels={**labels, LABEL_PURPOSE: "copy"},
        host_config=engine().api.create_host_config(binds=[f"{volume}:/v"]),
    )["Id"]

    here.ok("rm", "a", "--yes")

    assert carrier not in [each["Id"] for each in engine().api.containers(all=True)]


@proves("DATA-047")
def test_a_silent_engine_keeps_no_daemon_from_starting_and_is_tidied_later(
    here: Host, tmp_path: Path
) -> None:
    with door(tmp_path / "d") as entrance:
        spawned(here, "a")
        put(here, "a", "kept")
        agent = here.agent("a")["id"]
        kill_daemon(here)
        here.env["DOCKER_HOST"] = entrance.url
        here.run("ls", env={"ENVMGR_CRASH_AT": "save-paused"})
        crash(here, "save-paused", "snapshot", "create", "a")
        name = f"envmgr-{agent}-g1-store"
        paused = engine().containers.get(name).status

        entrance.jam()
        began_at = time.monotonic()
        here.ok("ls")
        took_s = time.monotonic() - began_at
        entrance.clear()

        eventually(lambda: engine().containers.get(name).status == "running", within_s=30)
        assert paused == "paused"
        assert took_s < 12
        here.ok("rm", "a", "--stop", "--yes", "--discard", "a")


def seeded(here: Host) -> str:
    """What the running seed has written so far."""
    for found in existing({LABEL_STATE: str(here.state)}):
        if "seed-data" in found:
            with suppress(docker.errors.APIError):  # it is there, and does not run yet
                container = engine().containers.get(found.removeprefix("container: "))
                return str(container.exec_run(["cat", "/seed/file"]).output.decode()).strip()
    return ""


@proves("DATA-036")
def test_a_seed_cut_off_is_never_taken_for_filled(here: Host) -> None:
    here.template("slow", SEEDED % '{script: "echo half > file; sleep 5; echo whole > file"}')
    here.ok("daemon", "start")
    daemon = psutil.Process(here.daemon_pid())
    spawning = here.start("spawn", "-t", "slow", "--name", "a")
    eventually(lambda: seeded(here) == "half", within_s=30)

    daemon.kill()
    spawning.communicate(timeout=30)
    cut_off = settled(here, "a")
    here.ok("start", "a")

    assert cut_off["lifecycle"] == "error"
    assert got(here, "a") == "whole"
