"""The daemon dies while it brings an agent back or puts files back; doing it again, or nothing, ends it well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.test_crash_matrix import crash
from tests.e2e.test_cli_snapshots import seen, snapshots, worked_on
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import agent_when, kill_daemon

RETURN = ("return-noted", "return-worktree")


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.sleeper()
        (made.repo / ".gitignore").write_text("*.log\n")
        git(made.repo, "add", ".gitignore")
        git(made.repo, "commit", "-q", "-m", "ignore")
        yield made


def removed(here: Host, *, crash_at: str) -> tuple[Path, object]:
    """An agent with work of all kinds is gone; the next daemon dies at the point."""
    place = worked_on(here, "a")
    before = seen(place)
    here.ok("rm", "a", "--stop", "--yes", "--discard", "a")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": crash_at})
    return place, before


@proves("UNDO-004")
@pytest.mark.parametrize("point", RETURN)
def test_an_undo_of_a_removal_that_was_cut_off_is_finished_by_doing_it_again(here: Host, point: str) -> None:
    place, before = removed(here, crash_at=point)
    crash(here, point, "undo", "a")

    here.ok("undo", "a")

    assert seen(place) == before
    here.ok("start", "a")


@proves("UNDO-004")
def test_an_undo_of_a_removal_that_was_cut_off_after_its_commit_is_done(here: Host) -> None:
    place, before = removed(here, crash_at="return-recorded")
    crash(here, "return-recorded", "undo", "a")

    assert here.agent("a")["lifecycle"] == "stopped"
    assert seen(place) == before
    assert here.run("undo", "a").code == 4


@proves("UNDO-004")
@pytest.mark.parametrize("point", ["restore-noted", "restore-worktree"])
def test_an_undo_on_an_agent_that_is_there_is_finished_by_the_next_daemon(here: Host, point: str) -> None:
    place = worked_on(here, "a")
    here.ok("snapshot", "create", "a", "old")
    old = seen(place)
    (place / "index.html").write_text("new\n")
    new = seen(place)
    here.ok("stop", "a")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": point})
    crash(here, point, "undo", "a", "old")

    here.ok("ls")
    agent_when(here, "a", lambda agent: not agent["conditions"], within_s=20)
    finished = seen(place)
    here.ok("undo", "a")

    assert (finished, seen(place)) == (old, new)
    assert [s["kind"] for s in snapshots(here, "a")] == ["manual", "restore", "restore"]
