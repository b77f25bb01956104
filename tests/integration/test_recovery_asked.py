"""What a person asks of recovery is done to what is wrong now, and no further."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.errors import Unavailable
from envmgr.model.agent import Lifecycle
from envmgr.model.incident import FailureClass, Rung
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime.outcomes import Outcome
from tests.support.recovering import LIMITS, Lab, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="exec sleep 600")
ODD = replace(API, name="odd", critical=False)
DOWN = Outcome(state=ServiceState.FAILED, detail="ended")
WELL = Outcome(state=ServiceState.READY)


async def misconfigure(lab: Lab, unit: str) -> None:
    """Its command is missing: no measure helps, so a person is told."""
    lab.actor.services[unit] = DOWN
    lab.conductor.report(lab.actor, lab.failure(unit, exit_code=127, is_exhausted=True))

    async def is_told() -> bool:
        found = await lab.incidents()
        return bool(found and found[0].climbs) and found[0].climbs[-1].rung is Rung.PERSON

    await async_eventually(is_told)


@proves("RECOVER-033")
async def test_an_agent_that_is_well_is_left_alone(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = WELL
        foretold = await lab.conductor.by_hand.foretell(lab.actor, None)
        assert (foretold.rung, foretold.because) == (Rung.WAIT, "nothing is wrong")
        assert await lab.conductor.by_hand.recover(lab.actor, None, cause="test") is None
        assert (lab.measures.taken, await lab.incidents()) == ([], [])


@proves("RECOVER-033")
async def test_what_nobody_has_reported_is_mended_all_the_same(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, ODD) as lab:
        lab.actor.services |= {"api": DOWN, "odd": WELL}
        taken = await lab.conductor.by_hand.recover(lab.actor, None, cause="test")
        await lab.measures.began.wait()
        assert taken is not None
        assert [(one.rung, one.unit) for one in lab.measures.taken] == [(Rung.SERVICE, "api")]


@proves("RECOVER-033")
async def test_a_lost_session_comes_before_the_service_a_person_was_asked_about(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, limits=replace(LIMITS, cool_down_s=600.0)) as lab:
        await misconfigure(lab, "api")
        await lab.until_rung(Rung.PERSON)
        await lab.assistant_dies()
        await async_eventually(lambda: len(lab.conductor.incidents.all()) == 2)

        await lab.conductor.by_hand.recover(lab.actor, None, cause="test")
        await lab.measures.began.wait()
        assert lab.measures.rungs == [Rung.SESSION]


@proves("RECOVER-033")
async def test_what_a_person_has_mended_since_is_over_at_once(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, limits=replace(LIMITS, is_on=True, cool_down_s=600.0)) as lab:
        lab.actor.spec = replace(lab.actor.spec, recovery=replace(lab.actor.spec.recovery, stabilize_s=600.0))
        await misconfigure(lab, "api")
        await lab.until_rung(Rung.PERSON)
        lab.actor.services["api"] = WELL

        assert await lab.conductor.by_hand.recover(lab.actor, None, cause="test") is None
        assert (lab.actor.state.lifecycle, lab.measures.taken) == (Lifecycle.RUNNING, [])


@proves("RECOVER-032")
async def test_a_service_asked_for_keeps_its_class_and_nothing_follows(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, ODD) as lab:
        lab.actor.services["api"] = WELL
        await misconfigure(lab, "odd")
        lab.measures.script = [Unavailable("odd: no such command")]
        taken = await lab.conductor.by_hand.recover(lab.actor, Rung.SERVICE, cause="test")
        assert taken is not None
        assert taken.diagnosis.failure is FailureClass.CONFIGURATION
        await lab.measures.began.wait()
        await async_eventually(lambda: lab.actor.state.rung is None)

        assert (lab.measures.rungs, lab.actor.state.lifecycle) == ([Rung.SERVICE], Lifecycle.RUNNING)
        assert [c.rung for c in (await lab.incident()).climbs[-2:]] == [Rung.SERVICE, Rung.PERSON]


@proves("RECOVER-032")
async def test_a_restart_asked_for_that_fails_is_no_reason_for_a_respawn(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = DOWN
        lab.conductor.report(lab.actor, lab.failure("api"))
        lab.measures.script = ["hangs", Unavailable("api: ended")]
        await lab.measures.began.wait()
        await lab.conductor.by_hand.recover(lab.actor, Rung.SERVICE, cause="test")
        await lab.until_rung(Rung.PERSON)

        assert lab.measures.rungs == [Rung.SERVICE, Rung.SERVICE]
        assert "did not help" in lab.actor.state.reason


@proves("RECOVER-027")
async def test_a_service_that_is_not_critical_never_costs_the_session(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, ODD) as lab:
        lab.actor.services |= {"api": WELL, "odd": DOWN}
        lab.measures.script = [Unavailable("odd: ended"), Unavailable("odd: ended")]
        lab.conductor.report(lab.actor, lab.failure("odd"))

        async def is_told() -> bool:
            found = await lab.incidents()
            return bool(found and found[0].climbs) and found[0].climbs[-1].rung is Rung.PERSON

        await async_eventually(is_told)
        assert lab.measures.rungs == [Rung.SERVICE, Rung.REALLOCATE]
        assert lab.actor.state.lifecycle is Lifecycle.RUNNING
