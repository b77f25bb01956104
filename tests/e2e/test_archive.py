"""The archive: what a session was, kept when it ends, and a removed agent's workspace brought back from it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_snapshots import seen, spawned, worked_on
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon
from tests.support.wait import eventually

SECRET = "hunter2-of-the-west"
TALKS = """\
envmgr: 1
secrets: {TOKEN: {from: env, name: MY_TOKEN}}
services:
  talker: {command: 'echo "begun with $TOKEN"; i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.05; done'}
agent: {kind: command, command: 'echo "hello from the assistant"; exec sleep 1000'}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host(MY_TOKEN=SECRET) as here:
        here.sleeper()
        here.template("talks", TALKS)
        (here.repo / ".gitignore").write_text("*.log\n")
        git(here.repo, "add", ".gitignore")
        git(here.repo, "commit", "-q", "-m", "ignore")
        here.ok("daemon", "start")
        yield here


def entries(here: Host, *words: str) -> list[Any]:
    found: list[Any] = here.ok("archive", "list", *words, "--json").json["entries"]
    return found


def archived(here: Host, name: str, *, count: int = 1) -> Any:
    """The newest entry, as soon as there are so many."""

    def look() -> Any:
        listed = here.run("archive", "list", name, "--json")
        found = listed.json["entries"] if listed.code == 0 else []
        assert len(found) == count, (found, here.daemon_log())
        return found[-1]

    return eventually(look, within_s=10)


def wrote(here: Host, name: str) -> None:
    """The talker has said something."""
    eventually(lambda: "line 3" in here.ok("logs", name, "talker").out, within_s=10)


@proves("ARCHIVE-001")
def test_a_stop_archives_logs_screen_events_work_and_template(shared: Host) -> None:
    place = spawned(shared, "teller", "talks")
    (place / "own.txt").write_text("own\n")
    git(place, "add", "own.txt")
    git(place, "commit", "-q", "-m", "own work")
    (place / "draft").write_text("draft\n")
    wrote(shared, "teller")
    shared.ok("stop", "teller")

    entry = archived(shared, "teller")
    folder = Path(entry["folder"])
    shown = shared.ok("archive", "show", "teller", "--json").json

    assert (entry["entry"], entry["generation"], entry["missing"]) == ("teller@1", 1, [])
    assert entry["reason"].startswith("stop asked by a person")
    assert [c["subject"] for c in shown["commits"]] == ["own work"]
    assert (shown["commits"][0]["files"], shown["uncommitted"]) == (["own.txt"], ["draft"])
    assert git(shared.repo, "show", f"{entry['ref']}:draft") == "draft\n"
    assert "line 3" in shared.ok("archive", "show", "teller", "--logs", "talker", "-n", "0").out
    assert "hello from the assistant" in shared.ok("archive", "show", "teller@1", "--logs", "agent").out
    assert json.loads((folder / "template.json").read_text())["name"] == "teller"
    assert (folder / "template" / "0-talks.yaml").read_text() == TALKS
    assert entry["events"] > 10
    assert (
        "bring it back with `envmgr archive restore teller@1`" in shared.ok("archive", "show", "teller").out
    )


@proves("ARCHIVE-002")
def test_no_secret_is_in_the_archive_and_only_the_owner_reads_it(shared: Host) -> None:
    spawned(shared, "careful", "talks")
    wrote(shared, "careful")
    shared.ok("stop", "careful")

    folder = Path(archived(shared, "careful")["folder"])
    text = shared.ok("archive", "show", "careful", "--logs", "talker", "-n", "0").out
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert text.startswith("begun with ********\n")
    assert [p for p in files if SECRET.encode() in p.read_bytes()] == []
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (folder, folder.parent)} == {0o700}


@proves("ARCHIVE-002")
def test_what_may_hold_a_secret_that_nobody_knows_any_more_is_not_kept() -> None:
    with host(MY_TOKEN=SECRET) as here:
        here.template("talks", TALKS)
        spawned(here, "amnesiac", "talks")
        wrote(here, "amnesiac")
        kill_daemon(here)
        del here.env["MY_TOKEN"]
        here.ok("stop", "amnesiac")

        entry = archived(here, "amnesiac")

        assert entry["recordings"] == []
        assert (
            "logs and screens: values of secrets, which must not be kept, cannot be known"
            in entry["missing"][0]
        )
        assert entry["ref"]


@proves("ARCHIVE-003")
def test_each_session_has_an_entry_with_its_own_part_of_the_logs(shared: Host) -> None:
    spawned(shared, "serial", "talks")
    wrote(shared, "serial")
    shared.ok("stop", "serial")
    archived(shared, "serial")
    first = shared.ok("archive", "show", "serial@1", "--logs", "talker", "-n", "0").out
    shared.ok("start", "serial")
    wrote(shared, "serial")
    shared.ok("stop", "serial")
    archived(shared, "serial", count=2)

    second = shared.ok("archive", "show", "serial@2", "--logs", "talker", "-n", "0").out

    assert (first.count("begun"), second.count("begun")) == (1, 1)
    assert shared.ok("archive", "show", "serial@1", "--logs", "talker", "-n", "0").out == first


@proves("ARCHIVE-004")
def test_a_removed_agents_workspace_comes_back_from_the_archive(shared: Host) -> None:
    place = worked_on(shared, "phoenix")
    before = seen(place)
    shared.ok("stop", "phoenix")
    (place / "late").write_text("after the stop\n")
    with_late = seen(place)
    shared.ok("rm", "phoenix", "--yes", "--discard", "phoenix")
    (kept,) = entries(shared, "phoenix")

    shared.ok("archive", "restore", "phoenix")
    back = shared.agent("phoenix")

    assert before != with_late
    assert seen(Path(back["worktree"])) == with_late
    assert (back["lifecycle"], back["branch"]) == ("stopped", "agent/phoenix")
    assert kept["reason"].endswith("then rm")
    assert shared.ok("start", "phoenix").code == 0
    assert shared.run("undo", "phoenix").code == 4
    shared.ok("rm", "phoenix", "--stop", "--yes", "--discard", "phoenix")


@proves("ARCHIVE-004")
def test_a_restore_refuses_names_and_branches_that_are_taken_and_takes_others(shared: Host) -> None:
    place = worked_on(shared, "heron")
    before = seen(place)
    shared.ok("stop", "heron")
    archived(shared, "heron")

    taken = shared.run("archive", "restore", "heron")
    branch = shared.run("archive", "restore", "heron", "--name", "heron-2")
    wrong = shared.run("archive", "restore", "heron", "--name", "No Name")
    shared.ok("archive", "restore", "heron@1", "--name", "heron-2", "--branch", "agent/heron-2")
    copy = shared.agent("heron-2")

    assert (taken.code, branch.code, wrong.code) == (5, 5, 2)
    assert "an agent named heron exists" in taken.err
    assert "the branch agent/heron exists" in branch.err
    assert copy["id"] != shared.agent("heron")["id"]
    assert seen(Path(copy["worktree"])) == before
    shared.ok("start", "heron-2")
    shared.ok("rm", "heron-2", "--stop", "--yes", "--discard", "heron-2")


@proves("ARCHIVE-005")
def test_what_is_not_there_is_explained(shared: Host) -> None:
    spawned(shared, "asker", "talks")
    shared.ok("stop", "asker")
    archived(shared, "asker")

    nobody = shared.run("archive", "list", "never-was")
    unknown = shared.run("archive", "show", "asker@7")
    no_log = shared.run("archive", "show", "asker", "--logs", "webb")
    nothing = shared.run("archive", "rm", "--yes")

    assert [r.code for r in (nobody, unknown, no_log, nothing)] == [4, 4, 4, 2]
    assert "the archive has no entry asker@7" in unknown.err
    assert "hint:  It has agent, talker." in no_log.err


@proves("ARCHIVE-005")
def test_an_entry_changed_by_hand_is_named_and_harms_no_other(shared: Host) -> None:
    spawned(shared, "broken", "talks")
    wrote(shared, "broken")
    shared.ok("stop", "broken")
    folder = Path(archived(shared, "broken")["folder"])
    log = folder / "logs" / "talker.gz"
    log.write_bytes(log.read_bytes()[:20])

    damaged = shared.run("archive", "show", "broken", "--logs", "talker")
    (folder / "manifest.json").write_text("{}")
    (listed,) = entries(shared, "broken")

    assert (damaged.code, "cannot be read" in damaged.err) == (7, True)
    assert "its files: the archive's entry" in listed["missing"][0]
    assert shared.ok("archive", "rm", "broken@1", "--yes").code == 0
    assert not folder.exists()


@proves("ARCHIVE-006")
def test_entries_take_their_refs_along_when_they_go(shared: Host) -> None:
    spawned(shared, "leaver")
    shared.ok("stop", "leaver")
    entry = archived(shared, "leaver")
    assert git(shared.repo, "rev-parse", "--verify", entry["ref"])

    unsure = shared.run("archive", "rm", "leaver@1")
    shared.ok("archive", "rm", "leaver@1", "--yes")

    assert unsure.code == 2
    assert not Path(entry["folder"]).exists()
    assert entry["ref"] not in git(shared.repo, "for-each-ref", "--format=%(refname)")
