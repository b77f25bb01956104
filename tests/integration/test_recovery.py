"""From a symptom to a measure, and whether it helped: with the store and the lifecycle as they are, and measures that obey the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.errors import Unavailable, Unobservable
from envmgr.model.agent import Activity, Lifecycle, Source
from envmgr.model.effect import EffectKind
from envmgr.model.incident import ClimbOutcome, FailureClass, Rung
from envmgr.model.recovery import RungPolicy
from envmgr.model.service import Rate, ServiceKind, ServiceSpec, ServiceState
from envmgr.model.stimulus import (
    ActivityReported,
    SessionRestored,
    SpawnFailed,
    SpawnSucceeded,
    StopRequested,
    StopSucceeded,
)
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.recovery.measures import NotSaved
from tests.support.incarnations import incarnation
from tests.support.recovering import LIMITS, QUICK, daemon, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="exec sleep 600")


@proves("RECOVER-013")
async def test_a_killed_assistant_is_brought_back_and_the_incident_tells_how(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        await lab.assistant_dies()
        await lab.until_calm()
        incident = await lab.incident()

        assert lab.measures.rungs == [Rung.SESSION]
        assert (incident.diagnosis.failure, incident.name) == (FailureClass.ASSISTANT, "otter")
        assert [(c.rung, c.outcome) for c in incident.climbs] == [(Rung.SESSION, ClimbOutcome.HELD)]
        assert (lab.actor.state.lifecycle, lab.actor.state.conditions) == (Lifecycle.RUNNING, ())
        assert lab.effects == []


@proves("RECOVER-013")
async def test_what_is_said_again_and_again_is_one_incident(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=replace(LIMITS, is_on=False)) as lab:
        for _ in range(5):
            await lab.assistant_dies()
            await anyio.wait_all_tasks_blocked()
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        incident = await lab.incident()

        assert (incident.symptoms, lab.measures.taken) == (1, [])


@proves("RECOVER-008", "RECOVER-013")
async def test_a_measure_that_cannot_be_carried_out_is_followed_by_the_next(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        lab.measures.script = [Unavailable("tmux does not start")]
        await lab.assistant_dies()
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)
        incident = await lab.incident()

        assert lab.measures.rungs == [Rung.SESSION, Rung.RESPAWN]
        assert (incident.climbs[0].outcome, incident.climbs[0].result) == (
            ClimbOutcome.FAILED,
            "tmux does not start",
        )
        assert lab.effects == [EffectKind.STOP]


@proves("RECOVER-008")
async def test_a_session_that_dies_again_before_it_was_well_for_long_enough_was_not_mended(
    tmp_path: Path,
) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, stabilize_s=60.0)) as lab:
        await lab.assistant_dies()
        await async_eventually(lambda: len(lab.measures.taken) == 1 and not lab.actor.state.conditions[1:])
        await async_eventually(lambda: lab.actor.climbing is None)
        lab.measures.script = ["hangs"]
        await lab.assistant_dies()
        await lab.until_rung(Rung.RESPAWN)

        assert (await lab.incident()).climbs[0].outcome is ClimbOutcome.FAILED


@proves("RECOVER-002", "RECOVER-014")
async def test_a_stop_cuts_a_measure_off_and_ends_the_incident(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        lab.measures.script = ["hangs"]
        await lab.assistant_dies()
        await lab.measures.began.wait()
        await lab.supervisor.apply(lab.actor, StopRequested())
        lab.actor.give_way()  # as the stop effect does

        async def is_closed() -> bool:
            return (await lab.incident()).closed_at is not None

        lab.conductor.report(lab.actor, lab.death())
        await async_eventually(is_closed)
        assert [c.outcome for c in (await lab.incident()).climbs] == [ClimbOutcome.GIVEN_UP]
        assert (lab.actor.state.lifecycle, lab.actor.state.rung) == (Lifecycle.STOPPING, None)
        assert await lab.inc.systems.store.read(lambda tx: tx.owed()) == []


@proves("RECOVER-004")
async def test_a_person_is_told_once_and_what_is_mended_by_hand_runs_on(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, rungs=())) as lab:
        await lab.assistant_dies()
        await lab.until_rung(Rung.PERSON)
        for _ in range(3):
            lab.conductor.report(lab.actor, lab.death())
            await anyio.wait_all_tasks_blocked()

        assert lab.effects == [EffectKind.TELL]
        assert lab.actor.state.lifecycle.value == "error"

        await lab.supervisor.apply(lab.actor, SessionRestored(generation=1))
        await lab.until_calm()
        assert lab.actor.state.lifecycle.value == "running"
        assert lab.effects == [EffectKind.TELL]


@proves("RECOVER-010")
async def test_work_that_cannot_be_saved_is_put_at_no_more_risk(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        lab.measures.script = [NotSaved("the disk is full")]
        await lab.assistant_dies()
        await lab.until_rung(Rung.PERSON)

        assert lab.measures.rungs == [Rung.SESSION]
        assert "could not be saved" in lab.actor.state.reason


@proves("RECOVER-010")
async def test_an_agent_that_waits_for_an_answer_keeps_its_session(tmp_path: Path) -> None:
    asks = ActivityReported(
        generation=1, activity=Activity.AWAITING_INPUT, source=Source.HOOK, detail="Notification"
    )
    async with recovering(tmp_path, API) as lab:
        await lab.supervisor.apply(lab.actor, asks)
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
        lab.conductor.report(lab.actor, lab.failure("api", out_of_memory=True))
        await lab.until_waiting()
        assert lab.measures.taken == []


@proves("RECOVER-015")
async def test_what_does_not_answer_is_asked_again_and_costs_no_rung(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=replace(LIMITS, patience_s=60.0)) as lab:
        lab.measures.script = [Unobservable("tmux does not answer")]
        await lab.assistant_dies()
        await lab.until_calm()

        assert lab.measures.rungs == [Rung.SESSION, Rung.SESSION]
        assert [c.rung for c in (await lab.incident()).climbs] == [Rung.SESSION]


@proves("RECOVER-016")
async def test_a_service_whose_restart_policy_gave_up_is_taken_one_rung_higher(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        lab.conductor.restarted(lab.actor, lab.failure("api"), "restarted after 1 s")
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
        lab.measures.script = ["hangs"]
        lab.conductor.report(lab.actor, lab.failure("api", is_exhausted=True))
        await lab.until_rung(Rung.REALLOCATE)
        climbs = (await lab.incident()).climbs

        assert [(c.rung, c.outcome) for c in climbs] == [
            (Rung.SERVICE, ClimbOutcome.FAILED),
            (Rung.REALLOCATE, ClimbOutcome.RUNNING),
        ]


@proves("RECOVER-013")
async def test_what_became_well_by_itself_needs_no_measure(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        lab.conductor.report(lab.actor, lab.failure("api", is_exhausted=True))
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        await anyio.wait_all_tasks_blocked()

        assert (lab.measures.taken, lab.actor.state.rung) == ([], None)


# --- daemons come and go --------------------------------------------------------------------------------------


@proves("RECOVER-009", "RECOVER-017")
async def test_budgets_survive_a_restart_of_the_daemon(tmp_path: Path) -> None:
    once = RungPolicy(budget=Rate(count=1, window_s=1800.0))
    async with incarnation(tmp_path) as inc:
        inc.spec = replace(inc.spec, recovery=replace(QUICK, session=once))
        async with daemon(inc) as lab:
            await lab.assistant_dies()
            await lab.until_calm()
        async with daemon(inc) as lab:
            lab.measures.script = ["hangs"]
            await lab.assistant_dies()
            await lab.until_rung(Rung.RESPAWN)


class Killed(BaseException):
    """The daemon, at a crash point."""


POINTS = [
    "recover-recorded",
    "recover-chosen",
    "recover-owed",
    "recover-before-act",
    "recover-acted",
    "recover-settled",
    "recover-held",
]


@proves("RECOVER-017")
@pytest.mark.parametrize("point", POINTS)
async def test_a_recovery_goes_on_wherever_the_daemon_was_killed(tmp_path: Path, point: str) -> None:
    def reach(reached: str) -> None:
        if reached == point:
            raise Killed

    async with incarnation(tmp_path) as inc:
        inc.spec = replace(inc.spec, recovery=QUICK)
        with pytest.raises(BaseExceptionGroup) as ended:
            await _lose_the_assistant(inc, reach)
        assert ended.group_contains(Killed)

        async with daemon(inc) as lab:
            await lab.until_calm()
            incident = await lab.incident()

        assert incident.climbs[-1].outcome is ClimbOutcome.HELD
        assert {c.rung for c in incident.climbs} == {Rung.SESSION}
        assert len(lab.measures.taken) == (0 if point in ("recover-settled", "recover-held") else 1)


async def _lose_the_assistant(inc: Incarnation, reach: Callable[[str], None]) -> None:
    """In a daemon that is killed over it."""
    async with daemon(inc, reach=reach) as lab:
        await lab.assistant_dies()
        await anyio.sleep_forever()


@proves("RECOVER-004", "RECOVER-005")
async def test_a_respawn_whose_second_half_fails_leaves_the_incident_open_for_a_person(
    tmp_path: Path,
) -> None:
    unspawned = SpawnFailed(generation=2, step="session", reason="tmux hangs")
    async with recovering(tmp_path, policy=replace(QUICK, rungs=(Rung.RESPAWN,))) as lab:
        lab.measures.script = ["prepared"]
        await lab.assistant_dies()
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)
        await lab.supervisor.apply(lab.actor, StopSucceeded(generation=1))
        await lab.supervisor.apply(lab.actor, unspawned)

        async def asks() -> bool:
            return (await lab.incident()).climbs[-1].rung is Rung.PERSON

        await async_eventually(asks)
        assert (await lab.incident()).climbs[0].outcome is ClimbOutcome.FAILED
        assert (await lab.incident()).closed_at is None
        assert lab.actor.state.lifecycle is Lifecycle.ERROR


@proves("RECOVER-005")
async def test_a_respawn_that_is_well_for_long_enough_has_held(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, rungs=(Rung.RESPAWN,))) as lab:
        lab.measures.script = ["prepared"]
        await lab.assistant_dies()
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)
        await lab.supervisor.apply(lab.actor, StopSucceeded(generation=1))
        lab.inc.generation = 2
        await lab.supervisor.apply(lab.actor, SpawnSucceeded(generation=2, holds=frozenset({"session"})))
        await lab.until_calm()

        assert [c.rung for c in (await lab.incident()).climbs] == [Rung.RESPAWN]
        assert lab.actor.state.generation == 2


@proves("RECOVER-007", "RECOVER-016")
async def test_the_third_restart_over_the_same_words_is_not_waited_for(tmp_path: Path) -> None:
    words = ("Traceback (most recent call last):", '  File "api.py", line 3', "ValueError: bad")
    async with recovering(tmp_path, API) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
        restart = lab.actor.pending["api"] = anyio.CancelScope()
        for _ in range(3):
            lab.conductor.restarted(lab.actor, lab.failure("api", output=words), "restarted")
        await lab.until_rung(Rung.PERSON)

        assert restart.cancel_called
        assert "third time" in lab.actor.state.reason


@proves("RECOVER-013")
async def test_a_service_that_ends_while_a_measure_is_taken_is_not_forgotten(tmp_path: Path) -> None:
    async with recovering(tmp_path, API) as lab:
        lab.measures.script = ["hangs"]
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        await lab.assistant_dies()
        await lab.measures.began.wait()
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended")
        lab.conductor.report(lab.actor, lab.failure("api", is_exhausted=True))
        await anyio.wait_all_tasks_blocked()
        assert len(await lab.incidents()) == 1
        lab.actor.give_way()

        async def is_known() -> bool:
            return {i.subject for i in await lab.incidents()} == {"", "api"}

        await async_eventually(is_known)
