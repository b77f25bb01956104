"""Recovery that is hindered, asked for again, or goes on in another daemon: nothing is forgotten, and nothing is judged by what was before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.model.agent import Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.incident import ClimbOutcome, Part, Rung, Symptom
from envmgr.model.service import Rate, ServiceKind, ServiceSpec, ServiceState
from envmgr.model.stimulus import Quarantined
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.quarantine import KEEPER
from tests.support.incarnations import incarnation
from tests.support.recovering import LIMITS, QUICK, Lab, daemon, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="exec sleep 600")


@proves("RECOVER-025")
async def test_a_store_that_fails_as_a_measure_is_chosen_costs_neither_the_measure_nor_the_next_one(
    tmp_path: Path,
) -> None:
    reached: list[str] = []
    async with incarnation(tmp_path) as inc:
        inc.spec = replace(inc.spec, recovery=QUICK)
        await _execute(tmp_path, _NO_ROOM_ONCE)
        async with daemon(inc, reach=reached.append) as lab:
            await lab.assistant_dies()
            await lab.until_calm()
            assert reached.count("recover-recorded") == 2
            assert lab.measures.rungs == [Rung.SESSION]

            with anyio.fail_after(5):
                await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="test")


_NO_ROOM_ONCE = """CREATE TRIGGER full BEFORE UPDATE ON agent
WHEN (SELECT json_array_length(incident, '$.climbs') FROM incident) = 1
BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"""


async def _execute(folder: Path, statement: str) -> None:
    def execute() -> None:
        with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as database:
            database.execute(statement)

    await anyio.to_thread.run_sync(execute)


# --- asked for again ------------------------------------------------------------------------------------------


@proves("RECOVER-006", "RECOVER-026")
async def test_what_was_said_while_a_person_was_waited_for_is_no_failure_of_the_person_s_measure(
    tmp_path: Path,
) -> None:
    policy = replace(QUICK, session=replace(QUICK.session, budget=Rate(count=0, window_s=60.0)))
    policy = replace(policy, rungs=(Rung.SESSION,), stabilize_s=0.3)
    async with recovering(tmp_path, policy=policy, limits=replace(LIMITS, cool_down_s=60.0)) as lab:
        await lab.assistant_dies()
        await lab.until_rung(Rung.PERSON)
        for _ in range(3):
            lab.conductor.report(lab.actor, lab.death())
            await anyio.wait_all_tasks_blocked()
        await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="test")
        await lab.until_calm()

        assert [(c.rung, c.outcome) for c in (await lab.incident()).climbs] == [
            (Rung.PERSON, ClimbOutcome.GIVEN_UP),
            (Rung.SESSION, ClimbOutcome.HELD),
        ]
        assert lab.effects == [EffectKind.TELL]
        assert lab.actor.state.lifecycle is Lifecycle.RUNNING


@proves("RECOVER-026")
async def test_a_measure_is_watched_from_its_own_end_on(tmp_path: Path) -> None:
    async with recovering(tmp_path, API, policy=replace(QUICK, stabilize_s=1.0)) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        await lab.assistant_dies()
        await async_eventually(lambda: bool(lab.measures.taken) and lab.actor.climbing is None)
        started_at = anyio.current_time()
        await async_eventually(lambda: anyio.current_time() - started_at > 0.7)
        await lab.conductor.by_hand.recover(lab.actor, Rung.SERVICE, cause="test")
        await lab.until_calm()
        asked_for = (await lab.incidents())[0].climbs[-1]

        assert (asked_for.rung, asked_for.outcome) == (Rung.SERVICE, ClimbOutcome.HELD)
        assert asked_for.ended_at is not None
        assert asked_for.ended_at - asked_for.at >= 1.0


@proves("RECOVER-014")
async def test_a_person_who_asks_while_the_ladder_is_choosing_gets_the_only_measure(tmp_path: Path) -> None:
    requests: list[Rung] = [Rung.SESSION]

    def reach(point: str) -> None:
        if point == "recover-recorded" and requests:
            asking.start_soon(ask, requests.pop())

    async def ask(rung: Rung) -> None:
        await lab.conductor.by_hand.recover(lab.actor, rung, cause="test")

    async with incarnation(tmp_path) as inc, anyio.create_task_group() as asking:
        inc.spec = replace(inc.spec, recovery=replace(QUICK, session=replace(QUICK.session, delay_s=60.0)))
        async with daemon(inc, reach=reach) as lab:
            await lab.assistant_dies()
            await lab.until_calm()

            assert [(c.rung, c.outcome) for c in (await lab.incident()).climbs] == [
                (Rung.SESSION, ClimbOutcome.GIVEN_UP),
                (Rung.SESSION, ClimbOutcome.HELD),
            ]
            assert lab.measures.rungs == [Rung.SESSION]
            assert await inc.systems.store.read(lambda tx: tx.owed()) == []


# --- what a person is asked about -----------------------------------------------------------------------------


async def _for_s(seconds: float) -> None:
    until = anyio.current_time() + seconds
    await async_eventually(lambda: anyio.current_time() > until)


async def _is_asked_once(lab: Lab) -> bool:
    """Also many looks later."""
    await lab.until_rung(Rung.PERSON)
    await _for_s(10 * LIMITS.cool_down_s)
    climbs = [(c.rung, c.outcome) for c in (await lab.incident()).climbs]
    return climbs == [(Rung.PERSON, ClimbOutcome.RUNNING)] and lab.effects == [EffectKind.TELL]


@proves("RECOVER-004")
async def test_an_agent_without_its_worktree_waits_until_that_is_there_again(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, rungs=())) as lab:
        gone = Symptom(part=Part.WORKSPACE, words="its worktree has lost its .git", at=lab.inc.systems.now())
        lab.conductor.report(lab.actor, gone)
        assert await _is_asked_once(lab)

        await anyio.Path(lab.inc.path, ".git").mkdir()
        await lab.until_calm()
        assert lab.actor.state.lifecycle is Lifecycle.RUNNING


@proves("RECOVER-004")
async def test_an_agent_whose_keeper_is_in_quarantine_waits_until_that_is_lifted(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        words = "it neither answers nor ends"
        await lab.supervisor.apply(lab.actor, Quarantined(generation=1, subject=KEEPER, reason=words))
        now = lab.inc.systems.now()
        lab.conductor.report(lab.actor, Symptom(part=Part.SERVICE, words=words, at=now, survivors=(words,)))
        assert await _is_asked_once(lab)

        await lab.supervisor.apply(lab.actor, Quarantined(generation=1, subject=KEEPER, reason=""))
        await lab.until_calm()


@proves("RECOVER-027")
async def test_a_service_that_is_not_critical_is_left_to_a_person_while_the_agent_goes_on(
    tmp_path: Path,
) -> None:
    async with recovering(tmp_path, replace(API, critical=False)) as lab:
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="ended with status 127")
        for _ in range(3):
            lab.conductor.report(lab.actor, lab.failure("api", exit_code=127, is_exhausted=True))
            await _for_s(3 * LIMITS.look_s)

        async def is_told() -> bool:
            return [c.rung for i in await lab.incidents() for c in i.climbs] == [Rung.SERVICE, Rung.PERSON]

        await async_eventually(is_told)
        events = await lab.inc.systems.store.read(lambda tx: tx.last_events(agent=lab.inc.id, limit=50))
        assert [event.kind for event in events].count("notice") == 1
        assert (lab.actor.state.lifecycle, lab.actor.state.rung) == (Lifecycle.RUNNING, None)

        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        await lab.until_calm()


# --- the end --------------------------------------------------------------------------------------------------


@proves("RECOVER-013")
async def test_a_hang_that_the_restart_policy_mended_is_over_after_some_time_of_health(
    tmp_path: Path,
) -> None:
    async with recovering(tmp_path, API, limits=replace(LIMITS, close_after_s=0.1)) as lab:
        hangs = lab.failure("api", exit_code=None, is_hang=True, words="api runs and does not answer")
        lab.actor.services["api"] = Outcome(state=ServiceState.FAILED, detail="does not answer")
        lab.conductor.restarted(lab.actor, hangs, "it hung")
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        await _for_s(2 * QUICK.stabilize_s)
        assert (await lab.incident()).climbs[-1].outcome is ClimbOutcome.RUNNING

        lab.actor.services["api"] = Outcome(state=ServiceState.READY)
        await async_eventually(lambda: not lab.conductor.incidents.all())
        assert [(c.rung, c.outcome) for c in (await lab.incident()).climbs] == [
            (Rung.SERVICE, ClimbOutcome.HELD)
        ]
