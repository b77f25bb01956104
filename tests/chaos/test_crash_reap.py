"""The daemon dies by SIGKILL while it removes what nobody owns; the next pass ends that, and what is an agent's stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from envmgr.model.ids import AgentId, image_name
from envmgr.model.resource import Kind
from tests.chaos.standing import Standing, cut_off
from tests.chaos.trial import Trial
from tests.support.host import git
from tests.support.leftovers import GONE, Leftovers, leftovers
from tests.support.requirements import proves
from tests.support.survive import kill_daemon

# Named volumes are never removed by themselves.
KINDS = tuple(kind.value for kind in Kind if kind is not Kind.VOLUME)
REAP = tuple(f"reap-{when}-{kind}" for kind in KINDS for when in ("before", "after"))
PORT = 19


@contextmanager
def litter(here: Trial) -> Iterator[Leftovers]:
    """One thing of each kind that an agent left who is no more."""
    with leftovers(here.host) as left:
        left.process(here.host.state / "worktrees" / "repo-1" / "gone")
        left.container(left.labels(), network=left.network(left.labels()))
        left.image(left.labels(), name=image_name(AgentId(GONE), "gone"))
        left.session(f"em-{GONE}-g1")
        left.worktree("gone")
        (here.host.state / "worktrees" / ".trash" / "cut-off").mkdir(parents=True)
        with closing(sqlite3.connect(here.host.state / "envmgr.db")) as db, db:
            db.execute("INSERT OR REPLACE INTO lease VALUES (?, 'web', 'http', ?, 0, 1)", (GONE, PORT))
        yield left
    git(here.host.repo, "branch", "-D", "agent/gone")


def leaked(here: Trial) -> set[str]:
    """Kinds of things that nobody owns."""
    ran = here.host.run("audit-resources", "--json")
    found = {thing["kind"] for thing in ran.json["things"] if thing["verdict"] == "orphan"}
    assert ran.code == (3 if found else 0)
    return found


@pytest.fixture(scope="module")
def standing(bystander: frozenset[int]) -> Iterator[Standing]:
    made = Standing(bystander, ENVMGR_REAPER__AGAIN_S="0.1")
    yield made
    made.end()


@pytest.fixture
def here(standing: Standing) -> Iterator[Trial]:
    with standing.agent() as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_left() -> None:
    """The agent outlives tests; its host looks for leaks in the end."""


@proves("CRASH-007", "REAP-016")
@pytest.mark.parametrize("point", REAP)
def test_a_pass_of_the_reaper_cut_off_anywhere_is_ended_by_the_next_one(here: Trial, point: str) -> None:
    with litter(here):
        cut_off(here, point, "reap", "--yes")

        here.host.ok("reap", "--yes")

        assert leaked(here) == set()
        here.well_again(outcome="reaped")
        assert "agent/gone" in here.host.branches(), "branches are a person's"


@proves("CRASH-006", "REAP-016")
def test_the_matrix_holds_every_point_of_the_reaper(here: Trial, tmp_path: Path) -> None:
    with litter(here):
        assert leaked(here) == set(KINDS)
        kill_daemon(here.host)
        here.host.run("reap", "--yes", env={"ENVMGR_CRASH_LOG": str(tmp_path / "points")})
        assert tuple((tmp_path / "points").read_text(encoding="utf-8").split()) == REAP
