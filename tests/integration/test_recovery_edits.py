"""Agents break the code they work on, and mend it: what recovery does meanwhile, and what it leaves alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.errors import Unavailable
from envmgr.model.agent import Lifecycle
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from tests.support.git import git, make_repository
from tests.support.incarnations import incarnation
from tests.support.recovering import LIMITS, QUICK, Lab, daemon
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="exec sleep 600")
WORDS = "SyntaxError: invalid syntax"
SOON = replace(LIMITS, edits_s=0.05)


@asynccontextmanager
async def worktree(folder: Path) -> AsyncIterator[Incarnation]:
    """An agent whose worktree is git's, with one file that was edited some hours ago."""
    async with incarnation(folder, API) as inc:
        assert inc.worktree is not None
        repo = make_repository(folder / "repo", {"app.py": "1"})
        git(repo, "worktree", "add", "-q", "-b", "otter", str(inc.path))
        inc.worktree = replace(inc.worktree, base=git(inc.path, "rev-parse", "HEAD").strip())
        inc.spec = replace(inc.spec, recovery=QUICK)
        edit(inc, ago_s=10_000.0)
        yield inc


def edit(inc: Incarnation, *, ago_s: float = 0.0) -> None:
    file = inc.path / "app.py"
    file.write_text(f"edited {ago_s}", encoding="utf-8")
    at = inc.systems.now() - ago_s
    os.utime(file, (at, at))


async def breaks(lab: Lab, words: str = WORDS, *, times: int = 3) -> None:
    """As often as makes broken code of it."""
    lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
    for _ in range(times - 1):
        lab.conductor.restarted(lab.actor, lab.failure("api", output=(words,)), "again")
    lab.conductor.report(lab.actor, lab.failure("api", output=(words,), is_exhausted=True))


@proves("RECOVER-028")
async def test_code_that_was_broken_and_is_mended_runs_again_by_itself(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        await breaks(lab)
        await lab.until_rung(Rung.PERSON)
        assert "the code that is broken" in lab.actor.state.reason
        assert lab.measures.taken == []

        lab.measures.script = [Unavailable("api: still a typo")]
        edit(inc)
        await async_eventually(lambda: lab.measures.rungs == [Rung.SERVICE])
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.ERROR)

        lab.measures.script = ["started"]
        edit(inc)
        await async_eventually(lambda: lab.measures.rungs == [Rung.SERVICE, Rung.SERVICE])
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.RUNNING)
        assert len(lab.effects) == 1  # a person was told once


@proves("RECOVER-028")
async def test_while_it_is_edited_each_change_is_tried_once_and_nobody_is_asked(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        edit(inc, ago_s=20.0)
        await breaks(lab)
        await lab.until_waiting_for("last minute")
        assert lab.measures.taken == []

        lab.measures.script = [Unavailable("api: still a typo")]
        edit(inc)
        await async_eventually(lambda: lab.measures.rungs == [Rung.SERVICE])
        await lab.until_waiting_for("last minute")
        for _ in range(10):
            await lab.conductor.look()
        assert lab.measures.rungs == [Rung.SERVICE]
        assert lab.actor.state.lifecycle is Lifecycle.RUNNING


@proves("RECOVER-028")
async def test_the_time_of_edits_is_looked_at_anew(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        edit(inc, ago_s=57.0)
        await breaks(lab)
        await lab.until_waiting_for("last minute")
        await lab.until_rung(Rung.PERSON)
        assert lab.measures.taken == []


@proves("RECOVER-028")
async def test_an_edit_that_is_taken_back_is_a_change_too(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        edit(inc, ago_s=20.0)
        await breaks(lab)
        await lab.until_waiting_for("last minute")
        git(inc.path, "checkout", "-q", "app.py")
        await async_eventually(lambda: lab.measures.rungs == [Rung.SERVICE])


@proves("RECOVER-029")
async def test_words_of_broken_code_lead_to_no_other_port_and_no_respawn(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        await breaks(lab, times=2)
        await lab.until_rung(Rung.PERSON)
        assert lab.measures.taken == []


# --- one failure at a time ------------------------------------------------------------------------------------


async def fails_twice(lab: Lab) -> None:
    """Killed once, which its policy follows; then its code is broken."""
    lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
    killed = lab.failure("api", exit_code=None, exit_signal="SIGKILL")
    lab.conductor.restarted(lab.actor, killed, "again")
    await async_eventually(lambda: len(lab.conductor.incidents.all()) == 1)
    await breaks(lab)


@proves("RECOVER-030")
async def test_a_service_that_fails_in_another_way_has_one_open_incident(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        edit(inc, ago_s=20.0)
        await fails_twice(lab)
        await lab.until_waiting_for("last minute")
        newer, older = await lab.incidents()

        assert (newer.closed_at, older.closed_at is not None) == (None, True)
        assert older.climbs[-1].result == f"it failed in another way: incident {newer.id}"


@proves("RECOVER-030")
async def test_a_person_who_was_asked_about_another_failure_is_asked_no_more(tmp_path: Path) -> None:
    async with worktree(tmp_path) as inc, daemon(inc, limits=SOON) as lab:
        await breaks(lab)
        await lab.until_rung(Rung.PERSON)
        edit(inc, ago_s=20.0)
        await breaks(lab, "ImportError: cannot import name x")

        await lab.until_waiting_for("last minute")
        assert (lab.actor.state.lifecycle, lab.actor.state.rung) == (Lifecycle.RUNNING, None)


@proves("RECOVER-030", "RECOVER-029")
async def test_a_daemon_that_finds_an_older_failure_of_a_broken_service_does_not_press_it(
    tmp_path: Path,
) -> None:
    async with worktree(tmp_path) as inc:
        async with daemon(inc, limits=replace(SOON, is_on=False)) as lab:
            await breaks(lab, times=2)
            await lab.until_waiting_for("switched off")
            older = replace(lab.conductor.incidents.all()[0], id=0, seen_at=1.0, climbs=())
            silent = replace(older.diagnosis, evidence=older.diagnosis.evidence[-1:], fingerprint="other")
            older = replace(older, diagnosis=silent, symptoms=1)
            await inc.systems.store.write(lambda tx: tx.add_incident(older))
        async with daemon(inc, limits=SOON) as lab:
            lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
            await lab.until_rung(Rung.PERSON)

            assert lab.measures.taken == []
            assert [one.closed_at is None for one in await lab.incidents()] == [False, True]
