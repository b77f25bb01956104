"""The daemon dies while it archives a session: there is no entry or a whole one, and nothing stands in anybody's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.test_crash_matrix import ARCHIVE, crash
from tests.e2e.test_archive import archived
from tests.e2e.test_cli_snapshots import seen, worked_on
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import is_alive, kill_daemon, settled
from tests.support.wait import eventually

EACH = pytest.mark.parametrize("point", ARCHIVE)


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.sleeper()
        (made.repo / ".gitignore").write_text("*.log\n")
        git(made.repo, "add", ".gitignore")
        git(made.repo, "commit", "-q", "-m", "ignore")
        yield made


def refs(here: Host) -> list[str]:
    found = git(here.repo, "for-each-ref", "--format=%(refname)", "refs/envmgr/").split()
    return [
        ref for ref in found if not ref.endswith("/handoff")
    ]  # what a session left for the next is no archive


def folders(here: Host) -> list[str]:
    return [path.name for path in (here.state / "archive").iterdir()]


@proves("ARCHIVE-007")
@EACH
def test_a_session_whose_archiving_was_cut_off_is_archived_by_the_next_daemon(here: Host, point: str) -> None:
    worked_on(here, "a")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": point})
    daemon = here.daemon_pid()
    here.run("stop", "a")
    eventually(lambda: daemon is not None and not is_alive(daemon), within_s=20)

    here.ok("ls")
    assert settled(here, "a")["lifecycle"] == "stopped"
    entry = archived(here, "a")

    assert entry["missing"] == []
    assert (folders(here), refs(here)) == ([Path(entry["folder"]).name], [entry["ref"]])
    here.ok("start", "a")


@proves("ARCHIVE-007")
@EACH
def test_a_removal_that_died_while_it_archived_is_finished_and_can_be_undone(here: Host, point: str) -> None:
    place = worked_on(here, "a")
    before = seen(place)
    here.ok("stop", "a")
    archived(here, "a")
    kill_daemon(here)
    here.run("ls", env={"ENVMGR_CRASH_AT": point})
    crash(here, point, "rm", "a", "--yes", "--discard", "a")

    eventually(lambda: here.agents() == {}, within_s=20)
    entry = archived(here, "a")

    assert git(here.repo, "rev-parse", "--verify", entry["ref"])
    assert Path(entry["folder"]).is_dir()
    here.ok("undo", "a")
    assert seen(place) == before
