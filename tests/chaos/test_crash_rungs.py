"""The daemon dies by SIGKILL at every point of every measure of the ladder; the next one goes on with it, and takes none twice."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import envmgr
from tests.chaos.standing import Standing, cut_off
from tests.chaos.test_crash_reap import REAP
from tests.chaos.trial import WORLD, Trial, at_work
from tests.support.requirements import proves
from tests.support.survive import daemon_is_gone, kill_daemon
from tests.support.wait import eventually

PARTS = ("assistant", "people", "begun", "services", "session", "verify", "release")
STEPS = ("ports", "worktree", "services", "assistant", "readiness")
CHOSEN = ("recover-recorded", "recover-chosen")
BEGUN = ("recover-owed", "recover-before-act")
SAVED = ("checkpoint-noted", "checkpoint-taken")
CHANGE = tuple(f"change-{point}" for point in ("committed", "after-gone", "between", "before-end"))
DONE = ("recover-acted", "recover-settled")
HELD = ("recover-held",)
SERVICE = (*BEGUN, *CHANGE, *DONE, *HELD)
SESSION = (
    *(*BEGUN, *SAVED),
    *(f"rung-session-{point}" for point in ("begun", "ended", "opened", "started", "done")),
    *(*DONE, *HELD),
)
REALLOCATE = (
    *(*BEGUN, *SAVED, "rung-realloc-noted", "rung-realloc-claimed"),
    *(*CHANGE, "rung-realloc-moved", *DONE, *HELD),
)
ENDING = (
    *("rung-respawn-noted", "rung-respawn-prepared", *DONE, "stop-accepted"),
    *(f"stop-{when}-{part}" for part in PARTS for when in ("before", "after")),
    *("stop-before-commit", "stop-committed"),
)
BEGINNING = (
    "spawn-accepted",
    *(f"{when}-{step}" for step in STEPS for when in ("before", "after")),
    "spawn-before-commit",
)
ANEW = (*ENDING, *BEGINNING, "spawn-committed", *HELD)
RESPAWN = (*BEGUN, *SAVED, *ANEW)
REBUILD = (*CHOSEN, *BEGUN, "rung-respawn-rebuilding", *ANEW)
GRAVE = ("session", "realloc", "respawn", "person")
FAILING = ("recover-failed", "recover-not-held")
RESEND = ("rung-session-resending",)
"""Of an assistant with a conversation; tests/e2e/test_claude_resume.py has it."""

# While there is a file `broken`, its service does not start, and its assistant fails a moment after it was started.
FRAIL = WORLD.replace("command: exec python3", "command: test ! -e broken && exec python3").replace(
    "[sleep, '100000']", '"if test -e broken; then sleep 0.5; exit 3; fi; exec sleep 100000"'
)


@pytest.fixture(scope="module")
def standing(bystander: frozenset[int]) -> Iterator[Standing]:
    made = Standing(bystander)
    yield made
    made.end()


@pytest.fixture
def here(standing: Standing) -> Iterator[Trial]:
    with standing.agent() as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_left() -> None:
    """The agent outlives tests; its host looks for leaks in the end."""


def climbs(here: Trial, *, after_at: float = 0.0) -> Any:
    """Measures begun since then, in order: (rung, outcome)."""
    found = here.host.ok("incidents", "a", "--json").json["incidents"]
    taken = [c for incident in found for c in incident["climbs"] if c["at"] > after_at]
    return [(climb["rung"], climb["outcome"]) for climb in sorted(taken, key=lambda climb: climb["at"])]


def mend(here: Trial, point: str, *words: str, rung: str) -> None:
    """By that measure, which is taken once, and holds.

    What was only written down may be chosen anew. A service that was down when the daemon died is started by its policy.
    """
    began_at, generation = time.time(), here.agent["generation"] + (rung == "respawn")
    cut_off(here, point, *words)
    here.well_again(lambda agent: agent["generation"] == generation, outcome="gone on with", within_s=60)

    def has_held() -> bool:
        taken = [climb for climb in climbs(here, after_at=began_at) if climb[1] != "given_up"]
        assert [climb for climb in taken if climb[0] in (rung, *GRAVE)] == [(rung, "held")]
        return True

    eventually(has_held, within_s=20)


@proves("CRASH-005")
@pytest.mark.parametrize("point", SERVICE)
def test_a_restart_cut_off_anywhere_is_gone_on_with(here: Trial, point: str) -> None:
    mend(here, point, "recover", "a", "--from", "service", rung="service")


@proves("CRASH-005")
@pytest.mark.parametrize("point", SESSION)
def test_a_session_recreation_cut_off_anywhere_is_gone_on_with(here: Trial, point: str) -> None:
    mend(here, point, "recover", "a", "--from", "session", rung="session")


@proves("CRASH-005")
@pytest.mark.parametrize("point", REALLOCATE)
def test_a_reallocation_cut_off_anywhere_is_gone_on_with(here: Trial, point: str) -> None:
    mend(here, point, "recover", "a", "--from", "realloc", rung="realloc")


@proves("CRASH-005")
@pytest.mark.parametrize("point", RESPAWN)
def test_a_respawn_cut_off_anywhere_is_gone_on_with(here: Trial, point: str) -> None:
    mend(here, point, "recover", "a", "--from", "respawn", rung="respawn")


@proves("CRASH-005")
@pytest.mark.parametrize("point", [*CHOSEN, "rung-respawn-rebuilding"])
def test_a_rebuilding_cut_off_is_gone_on_with(bystander: frozenset[int], point: str) -> None:
    with at_work(bystander) as here:
        lose_worktree(here)
        mend(here, point, "ls", rung="respawn")


@proves("CRASH-005")
@pytest.mark.parametrize(("point", "rung"), [("recover-failed", "service"), ("recover-not-held", "session")])
def test_a_measure_that_failed_just_before_the_end_is_followed_by_the_next_one(
    bystander: frozenset[int], point: str, rung: str
) -> None:
    with at_work(bystander, FRAIL) as here:
        broken = here.worktree / "broken"
        broken.touch()
        cut_off(here, point, "recover", "a", "--from", rung)
        broken.unlink()

        here.well_again(outcome="the next rung", within_s=60)
        eventually(lambda: climbs(here)[-1][1] == "held", within_s=20)
        assert (rung, "failed") in climbs(here)


@proves("CRASH-006")
@pytest.mark.parametrize(
    ("rung", "points"),
    [("service", SERVICE), ("session", SESSION), ("realloc", REALLOCATE), ("respawn", RESPAWN)],
)
def test_the_matrix_holds_every_point_of_a_measure(
    here: Trial, tmp_path: Path, rung: str, points: tuple[str, ...]
) -> None:
    assert reached_by(here, tmp_path / "points", "recover", "a", "--from", rung) == points


@proves("CRASH-006")
def test_the_matrix_holds_every_point_of_a_rebuilding(bystander: frozenset[int], tmp_path: Path) -> None:
    with at_work(bystander) as here:
        lose_worktree(here)
        assert reached_by(here, tmp_path / "points", "ls") == REBUILD


@proves("CRASH-008")
def test_every_point_that_the_source_names_is_in_a_matrix() -> None:
    known = {*SERVICE, *SESSION, *REALLOCATE, *RESPAWN, *REBUILD, *FAILING, *RESEND, *REAP}
    source = "".join(path.read_text(encoding="utf-8") for path in Path(envmgr.__file__).parent.rglob("*.py"))
    named = re.findall(r'reach\(f?"((?:recover|rung|checkpoint|reap)-[^"{]*)', source)
    assert len(named) > 20
    assert [name for name in named if not any(point.startswith(name) for point in known)] == []


def lose_worktree(here: Trial) -> None:
    """While no daemon looks."""
    here.host.ok("snapshot", "create", "a")
    kill_daemon(here.host)
    shutil.rmtree(here.worktree)


def reached_by(here: Trial, listing: Path, *words: str) -> tuple[str, ...]:
    """The points that a measure reaches, in order, until it has held."""
    if not daemon_is_gone(here.host):
        kill_daemon(here.host)
    here.host.run(*words, env={"ENVMGR_CRASH_LOG": str(listing)})
    eventually(lambda: listing.exists() and HELD[0] in listing.read_text(encoding="utf-8"), within_s=60)
    here.well_again(outcome="all reached")
    return tuple(listing.read_text(encoding="utf-8").split())
