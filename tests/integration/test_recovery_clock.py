"""Somebody sets the wall clock while something is mended: what is noticed is judged by the order in which it happened."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.model.incident import ClimbOutcome, Part, Rung, Symptom
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime.outcomes import Outcome
from tests.support.recovering import LIMITS, QUICK, Lab, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0
API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="exec sleep 600")


def set_clock(lab: Lab, ahead_s: float) -> None:
    """The wall clock; the steady one goes on as it went."""
    lab.supervisor.systems = replace(lab.supervisor.systems, now=lambda: time.time() + ahead_s)


@proves("RECOVER-026")
async def test_a_death_after_the_clock_was_set_back_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        set_clock(lab, HOUR_S)
        await lab.assistant_dies()
        await lab.until_calm()
        set_clock(lab, 0.0)
        await lab.assistant_dies()
        await async_eventually(lambda: lab.measures.rungs == [Rung.SESSION] * 2)


@proves("RECOVER-026")
async def test_a_loss_before_the_clock_was_set_forward_is_still_one(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=replace(LIMITS, is_on=False)) as lab:
        lost = Symptom(part=Part.WORKSPACE, words="the worktree has lost its .git", at=time.time())
        set_clock(lab, HOUR_S)
        lab.conductor.report(lab.actor, lost)
        await lab.until_waiting()


@proves("RECOVER-016", "RECOVER-026")
async def test_restarts_by_the_policy_are_recorded_when_the_clock_was_set_back(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        set_clock(lab, HOUR_S)
        lab.conductor.restarted(lab.actor, lab.failure("api"), "restarted after 1 s")
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        set_clock(lab, 0.0)
        lab.conductor.restarted(lab.actor, lab.failure("api"), "restarted after 2 s")

        async def both_are_told() -> bool:
            return [c.because for c in (await lab.incident()).climbs] == [
                "its restart policy: restarted after 1 s",
                "its restart policy: restarted after 2 s",
            ]

        await async_eventually(both_are_told)


@proves("RECOVER-013", "RECOVER-026")
async def test_an_incident_that_is_over_is_closed_although_the_clock_was_set_back(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=QUICK, limits=replace(LIMITS, close_after_s=0.2)) as lab:
        set_clock(lab, HOUR_S)
        await lab.assistant_dies()
        await lab.until_calm()
        set_clock(lab, 0.0)

        async def is_closed() -> bool:
            return (await lab.incident()).closed_at is not None

        await async_eventually(is_closed)
        assert [c.outcome for c in (await lab.incident()).climbs] == [ClimbOutcome.HELD]
