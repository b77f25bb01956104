"""`undo` and `snapshots`: what was before the last thing that might have cost work, on real agents and worktrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_cli_snapshots import SERVING, seen, snapshots, spawned, worked_on
from tests.support.git import script
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import agent_when


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


@proves("UNDO-001")
def test_undo_takes_back_a_restore_and_a_second_one_takes_back_the_first(shared: Host) -> None:
    place = worked_on(shared, "otter")
    shared.ok("snapshot", "create", "otter", "old")
    (place / "index.html").write_text("newer\n")
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "newer")
    newer = seen(place)
    shared.ok("stop", "otter")
    shared.ok("snapshot", "restore", "otter", "old", "--yes")
    older = seen(place)

    said = shared.ok("undo", "otter").out
    once = seen(place)
    shared.ok("undo", "otter")

    assert older != newer
    assert (once, seen(place)) == (newer, older)
    assert "otter has its files of before a restore of old; `envmgr undo otter` takes that back" in said


@proves("UNDO-001")
def test_undo_goes_to_any_snapshot_of_an_agent_by_number_or_name(shared: Host) -> None:
    place = worked_on(shared, "picker")
    first = seen(place)
    shared.ok("snapshot", "create", "picker", "first")
    (place / "index.html").write_text("worse\n")
    shared.ok("stop", "picker")

    shared.ok("undo", "picker", "first")
    back = seen(place)
    number = str(snapshots(shared, "picker")[-1]["id"])
    shared.ok("undo", number)
    unknown = shared.run("undo", "picker", "nonsense")

    assert back == first
    assert (place / "index.html").read_text() == "worse\n"
    assert (unknown.code, "nothing to bring back for snapshot nonsense of picker" in unknown.err) == (4, True)


@proves("UNDO-002")
def test_undo_asks_before_it_stops_an_agent_that_runs_and_overwrites_nobodys_files_unnamed(
    shared: Host,
) -> None:
    place = worked_on(shared, "runner")
    shared.ok("snapshot", "create", "runner", "good")
    (place / "index.html").write_text("worse\n")

    shared.run("undo")
    refused = shared.run("undo", "runner", "good")
    untouched = (place / "index.html").read_text()
    shared.ok("undo", "runner", "good", "--restart")

    assert (refused.code, untouched) == (5, "worse\n")
    assert "or add --restart" in refused.err
    assert (place / "index.html").read_text() == "changed\n"
    assert shared.agent("runner")["lifecycle"] == "running"


@proves("UNDO-002")
def test_hooks_that_would_fail_do_not_hinder_saving_or_bringing_back(shared: Host) -> None:
    place = worked_on(shared, "hooked")
    for hook in ("pre-commit", "post-commit", "post-checkout", "reference-transaction"):
        script(shared.repo / ".git" / "hooks" / hook, "exit 1")
    before = seen(place)
    shared.ok("snapshot", "create", "hooked", "good")
    (place / "index.html").write_text("worse\n")
    shared.ok("stop", "hooked")

    shared.ok("undo", "hooked", "good")
    for left in (shared.repo / ".git" / "hooks").iterdir():
        left.unlink()

    assert seen(place) == before


@proves("UNDO-003")
def test_snapshots_tell_why_they_were_taken_and_what_undo_would_do(shared: Host) -> None:
    spawned(shared, "mole")
    shared.ok("snapshot", "create", "mole", "mine")
    shared.ok("stop", "mole")
    shared.ok("snapshot", "restore", "mole", "mine", "--yes")
    here = snapshots(shared, "mole")
    shared.ok("rm", "mole", "--yes")

    gone = snapshots(shared, "mole")
    shown = shared.ok("snapshots", "mole").out
    listed = shared.ok("undo", "mole", "--list").out

    assert [(s["kind"], s["reason"], s["undo"]) for s in here] == [
        ("manual", "", ""),
        ("restore", "a restore of mine", "puts its files back"),
    ]
    assert [(s["kind"], s["reason"], s["undo"]) for s in gone] == [
        ("manual", "", ""),
        ("restore", "a restore of mine", ""),
        ("removal", "rm", "brings the agent back"),
    ]
    assert ("before rm" in shown, "mine" in shown) == (True, True)
    assert ("before rm" in listed, "mine" in listed) == (True, False)
    assert shared.ok("snapshots", "mole", "--json").json["snapshots"] == gone


def _is_mended(here: Host, agent: Any, rung: str, generation: int) -> bool:
    """A respawn is over when the next generation runs; other measures when what was asked for is up again."""
    is_saved = any(s["kind"] == "checkpoint" for s in snapshots(here, agent["name"]))
    is_up = all(service["state"] == "ready" for service in agent["services"])
    is_new = agent["generation"] == generation + (rung == "respawn")
    return is_saved and is_up and is_new and agent["lifecycle"] == "running"


@proves("UNDO-005", "CHECKPOINT-005")
@pytest.mark.parametrize(("rung", "reason"), [("respawn", "respawn"), ("realloc", "reallocation")])
def test_undo_puts_the_files_back_that_an_agent_had_before_a_measure_of_recovery(
    shared: Host, rung: str, reason: str
) -> None:
    name = f"mended-{rung}"
    place = worked_on(shared, name, "serving")
    before = seen(place)
    generation = shared.agent(name)["generation"]
    shared.ok("recover", name, "--from", rung)
    agent_when(shared, name, lambda agent: _is_mended(shared, agent, rung, generation), within_s=30)
    (place / "index.html").write_text("what came after\n")
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "after")
    after = seen(place)

    listed = [s for s in snapshots(shared, name) if s["kind"] == "checkpoint"]
    said = shared.ok("undo", name, "--restart").out
    back = seen(place)
    shared.ok("undo", name, "--restart")

    assert [(s["reason"], s["undo"]) for s in listed] == [(reason, "puts its files back")]
    assert f"{name} has its files of before {reason}" in said
    assert (back, seen(place)) == (before, after)
    assert shared.agent(name)["lifecycle"] == "running"
    shared.ok("stop", name)


@proves("CHECKPOINT-005")
def test_a_measure_whose_checkpoint_cannot_be_taken_is_not_taken(shared: Host) -> None:
    place = spawned(shared, "unsaved")
    git(place, "init", "-q", "inner")
    (place / "inner" / "work").write_text("only here\n")

    shared.ok("recover", "unsaved", "--from", "respawn")
    agent = agent_when(shared, "unsaved", lambda agent: agent["lifecycle"] == "error", within_s=30)

    (incident,) = shared.ok("incidents", "unsaved", "--json").json["incidents"]
    why = "the work of unsaved could not be saved first: inner is a repository of its own"
    assert incident["climbs"][0]["result"].startswith(why)
    assert agent["generation"] == 1
    assert (place / "inner" / "work").read_text() == "only here\n"
    shared.ok("stop", "unsaved")
