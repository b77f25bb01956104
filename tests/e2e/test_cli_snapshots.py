"""`snapshot` and `fork` on worktrees: what was is again, nothing is lost on the way, forks have lives of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_remove import contents
from tests.support.host import Host, git, host
from tests.support.requirements import proves

SERVING = """\
envmgr: 1
services:
  web: {command: "exec python3 -m http.server $PORT --bind 127.0.0.1", ports: [http], ready: {tcp: {port: http}}}
agent: {kind: command, command: [sleep, '1000']}
"""
_NAMED = """\
envmgr: 1
env: {DATABASE: "%s-${agent.slug}"}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.template("serving", SERVING)
        (here.repo / ".gitignore").write_text("*.log\n")
        git(here.repo, "add", ".gitignore")
        git(here.repo, "commit", "-q", "-m", "ignore")
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, template: str = "sleeper") -> Path:
    here.ok("spawn", "-t", template, "--name", name)
    return Path(here.agent(name)["worktree"])


def worked_on(here: Host, name: str, template: str = "sleeper") -> Path:
    """With a commit, staged, changed, untracked and ignored files."""
    place = spawned(here, name, template)
    (place / "own.txt").write_text("own\n")
    git(place, "add", "own.txt")
    git(place, "commit", "-q", "-m", "own work")
    (place / "staged.txt").write_text("staged\n")
    git(place, "add", "staged.txt")
    (place / "index.html").write_text("changed\n")
    (place / "new folder").mkdir()
    (place / "new folder" / "untracked").write_text("new\n")
    (place / "build.log").write_text("ignored\n")
    return place


def seen(place: Path) -> tuple[object, str, str]:
    """Files, git's view of them, and the commits."""
    files = {name: what for name, what in contents(place).items() if not name.endswith(".log")}
    return files, git(place, "status", "--porcelain"), git(place, "log", "--format=%H")


def snapshots(here: Host, *words: str) -> list[Any]:
    found: list[Any] = here.ok("snapshot", "list", *words, "--json").json["snapshots"]
    return found


@proves("DATA-010")
def test_a_restore_brings_everything_back_and_can_be_taken_back_itself(shared: Host) -> None:
    place = worked_on(shared, "otter")
    before = seen(place)
    said = shared.ok("snapshot", "create", "otter", "good").out
    (place / "index.html").write_text("worse\n")
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "worse")
    (place / "later").write_text("later\n")
    (place / "build.log").write_text("later\n")
    after = seen(place)
    shared.ok("stop", "otter")

    shared.ok("snapshot", "restore", "otter", "good", "--yes")
    restored, kept = seen(place), (place / "build.log").read_text()
    taken = snapshots(shared, "otter")[-1]
    shared.ok("snapshot", "restore", "otter", str(taken["id"]), "--yes")

    assert "(good) of otter: files of agent/otter" in said
    assert (restored, kept) == (before, "later\n")
    assert (taken["kind"], taken["label"]) == ("restore", "")
    assert seen(place) == after
    assert shared.ok("start", "otter").code == 0


@proves("DATA-011")
def test_a_running_agent_is_saved_as_it_runs_and_restored_only_with_a_restart(shared: Host) -> None:
    place = worked_on(shared, "runner", "serving")
    ports = shared.agent("runner")["services"][0]["ports"]
    before = seen(place)
    shared.ok("snapshot", "create", "runner", "now")
    running = shared.agent("runner")
    (place / "index.html").write_text("worse\n")

    unsure = shared.run("snapshot", "restore", "runner", "now")
    refused = shared.run("snapshot", "restore", "runner", "now", "--yes")
    restored = shared.ok("snapshot", "restore", "runner", "now", "--yes", "--restart")

    assert (running["lifecycle"], running["generation"]) == ("running", 1)
    assert (unsure.code, refused.code) == (2, 5)
    assert "hint:  Say `envmgr snapshot restore runner now --yes`." in unsure.err
    assert "or add --restart" in refused.err
    assert (
        "runner is as it was in snapshot now; take it back with `envmgr snapshot restore runner"
        in restored.out
    )
    assert seen(place) == before
    agent = shared.agent("runner")
    assert (agent["lifecycle"], agent["generation"]) == ("running", 2)
    assert agent["services"][0]["ports"] == ports
    shared.ok("stop", "runner")


@proves("DATA-012")
def test_a_restore_that_git_refuses_changes_nothing_and_lets_the_agent_run_on(shared: Host) -> None:
    place = worked_on(shared, "rebaser")
    shared.ok("snapshot", "create", "rebaser", "good")
    git(place, "stash", "-q", "-u")
    git(shared.repo, "checkout", "-q", "-b", "other", "main")
    (shared.repo / "own.txt").write_text("theirs\n")
    git(shared.repo, "add", "own.txt")
    git(shared.repo, "commit", "-q", "-m", "theirs")
    git(shared.repo, "checkout", "-q", "main")
    shared.ok("exec", "rebaser", "--", "sh", "-c", "git rebase -q other || true")
    before = seen(place)

    refused = shared.run("snapshot", "restore", "rebaser", "good", "--yes", "--restart")

    assert refused.code == 5
    assert "a rebase is under way" in refused.err
    assert seen(place) == before
    assert shared.agent("rebaser")["lifecycle"] == "running"
    assert [s["kind"] for s in snapshots(shared, "rebaser")] == ["manual"]
    shared.ok("stop", "rebaser")


@proves("DATA-013")
def test_names_of_snapshots_are_unique_per_agent_and_wrong_ones_are_explained(shared: Host) -> None:
    spawned(shared, "namer")
    shared.ok("snapshot", "create", "namer", "first")

    again = shared.run("snapshot", "create", "namer", "first")
    number = shared.run("snapshot", "create", "namer", "42")
    unknown = shared.run("snapshot", "restore", "namer", "second", "--yes")
    nobody = shared.run("snapshot", "list", "nobody")

    assert (again.code, number.code, unknown.code, nobody.code) == (5, 2, 4, 4)
    assert "`envmgr snapshot rm namer/first`" in again.err
    assert "It has first" in unknown.err
    shared.ok("snapshot", "rm", "namer/first", "--yes")
    assert snapshots(shared, "namer") == []
    assert shared.run("snapshot", "rm", "namer/first", "--yes").code == 4
    shared.ok("stop", "namer")


@proves("DATA-014")
def test_snapshots_outlive_their_agent_and_serve_it_when_it_is_back(shared: Host) -> None:
    place = worked_on(shared, "phoenix")
    before = seen(place)
    shared.ok("snapshot", "create", "phoenix", "egg")
    (place / "index.html").write_text("worse\n")
    shared.ok("stop", "phoenix")

    removed = shared.ok("rm", "phoenix", "--yes", "--discard", "phoenix").out
    listed = [(s["kind"], s["label"]) for s in snapshots(shared, "phoenix")]
    shared.ok("undo", "phoenix")
    shared.ok("snapshot", "restore", "phoenix", "egg", "--yes")

    assert "its 1 snapshot stays (`envmgr snapshot list phoenix`)" in removed
    assert listed == [("manual", "egg"), ("removal", "")]
    assert seen(place) == before


@proves("DATA-015")
def test_a_deleted_snapshot_takes_its_ref_along(shared: Host) -> None:
    spawned(shared, "tidy")
    saved = shared.ok("snapshot", "create", "tidy", "--json").json
    assert git(shared.repo, "for-each-ref", saved["ref"])

    shared.ok("snapshot", "rm", str(saved["id"]), "--yes")

    assert git(shared.repo, "for-each-ref", saved["ref"]) == ""
    shared.ok("stop", "tidy")


@proves("DATA-020")
def test_forks_begin_with_the_work_of_the_agent_and_go_ways_of_their_own(shared: Host) -> None:
    place = worked_on(shared, "best", "serving")
    before = seen(place)

    forked = shared.ok("fork", "best", "-n", "2").out
    agents = [shared.agent(name) for name in ("best-fork-1", "best-fork-2")]
    places = [Path(agent["worktree"]) for agent in agents]
    copies = [seen(fork) for fork in places]
    (places[0] / "index.html").write_text("first idea\n")
    (places[1] / "index.html").write_text("second idea\n")

    assert copies == [before, before]
    assert seen(place) == before
    assert [agent["lifecycle"] for agent in agents] == ["running", "running"]
    assert [agent["branch"] for agent in agents] == ["agent/best-fork-1", "agent/best-fork-2"]
    ports = {a["services"][0]["ports"]["http"] for a in (shared.agent("best"), *agents)}
    assert len(ports) == 3
    assert agents[0]["origin"].startswith("best, snapshot ")
    assert "forked     from best, snapshot " in shared.ok("show", "best-fork-1").out
    assert "best-fork-1" in forked
    assert (place / "index.html").read_text() == "changed\n"


@proves("DATA-021")
def test_the_snapshot_of_a_fork_lives_as_long_as_the_forks(shared: Host) -> None:
    spawned(shared, "mother")
    shared.ok("fork", "mother", "-n", "2", "--name", "child")
    (saved,) = snapshots(shared, "mother")

    refused = shared.run("snapshot", "rm", str(saved["id"]), "--yes")
    shared.ok("rm", "child-1", "--stop", "--yes")
    still = [s["kind"] for s in snapshots(shared, "mother")]
    shared.ok("rm", "child-2", "--stop", "--yes")

    assert refused.code == 5
    assert "is what child-1, child-2 began from" in refused.err
    assert still == ["fork"]
    assert snapshots(shared, "mother") == []
    shared.ok("undo", "child-2")
    assert shared.agent("child-2")["origin"] == ""
    shared.ok("start", "child-2")
    shared.ok("stop", "child-2", "mother")


@proves("DATA-022")
def test_a_fork_that_cannot_come_up_leaves_nothing(shared: Host) -> None:
    spawned(shared, "parent")
    git(shared.repo, "branch", "agent/taken")

    failed = shared.run("fork", "parent", "--name", "taken")

    assert failed.code == 8
    assert "the branch agent/taken exists already" in failed.err
    assert shared.agent("taken")["lifecycle"] == "error"
    shared.ok("rm", "taken", "--yes")
    assert snapshots(shared, "parent") == []
    assert shared.run("fork", "parent", "--name", "parent").code == 5
    assert shared.run("fork", "parent", "--prompt", " ").code == 2
    shared.ok("stop", "parent")


@proves("DATA-023")
def test_a_fork_has_its_own_name_wherever_the_template_uses_it(shared: Host) -> None:
    shared.template("named", _NAMED % "data")
    spawned(shared, "origin", "named")
    shared.ok("fork", "origin", "--name", "second")
    assert shared.ok("env", "second", "--json").json["env"]["DATABASE"] == "data-second"

    shared.template("named", _NAMED % "other")
    refused = shared.run("fork", "origin", "--name", "third")
    shared.ok("stop", "origin", "second")

    assert refused.code == 3
    assert "it uses the agent's name" in refused.err
    assert "third" not in shared.agents()


@proves("DATA-023")
def test_a_fork_is_like_its_agent_also_when_the_template_has_changed(shared: Host) -> None:
    shared.template(
        "early", "envmgr: 1\nenv: {WHICH: early}\nagent: {kind: command, command: [sleep, '1000']}\n"
    )
    spawned(shared, "older", "early")
    shared.template(
        "early", "envmgr: 1\nenv: {WHICH: late}\nagent: {kind: command, command: [sleep, '1000']}\n"
    )

    shared.ok("fork", "older")

    assert shared.ok("env", "older-fork-1", "--json").json["env"]["WHICH"] == "early"
    assert shared.agent("older-fork-1")["branch"] == "agent/older-fork-1"
    shared.ok("stop", "older", "older-fork-1")
