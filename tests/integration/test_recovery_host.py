"""What the host and a person have to say to recovery: many agents at once, safe mode, and words that come first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.errors import IllegalTransition, Unavailable
from envmgr.model.agent import Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.ids import AgentId
from envmgr.model.incident import ClimbOutcome, Diagnosis, FailureClass, Incident, Part, Rung
from envmgr.model.spec import AgentSpec
from envmgr.model.stimulus import StopRequested, StopSucceeded
from envmgr.runtime.recovery import ledger
from envmgr.runtime.recovery.gate import Gate
from tests.support.incarnations import incarnation
from tests.support.recovering import LIMITS, QUICK, daemon, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


def _trouble_of(agent: str, failure: FailureClass = FailureClass.ENGINE) -> Incident:
    known = Diagnosis(failure=failure, entry=Rung.PERSON, confidence=1.0, evidence=(), fingerprint="f")
    return Incident(
        agent=AgentId(agent), name=agent, generation=1, part=Part.SERVICE, subject="web", words="it ended",
        diagnosis=known, opened_at=1.0,
    )  # fmt: skip


@proves("RECOVER-021")
async def test_in_safe_mode_nothing_is_mended_or_spawned_until_a_person_says_so(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        await lab.conductor.gate.enter_safe_mode("20 measures within an hour")
        await lab.assistant_dies()
        await lab.until_waiting()
        assert lab.measures.taken == []
        with pytest.raises(Unavailable, match="safe mode: 20 measures") as refused:
            await lab.supervisor.spawn(_any_spec(lab.inc.spec), repo=lab.inc.repo, environment={}, cause="")
        assert "safe-mode off" in refused.value.hint

        await lab.conductor.gate.leave_safe_mode(by="a person")
        await lab.until_calm()
        assert lab.measures.rungs == [Rung.SESSION]


def _any_spec(spec: AgentSpec) -> AgentSpec:
    return replace(spec, name="badger")


@proves("RECOVER-017", "RECOVER-021")
async def test_safe_mode_and_breakers_survive_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        async with daemon(inc) as lab:
            for _ in range(3):
                await lab.conductor.gate.noticed(AgentId("a"), FailureClass.ENGINE)
            await lab.conductor.gate.enter_safe_mode("too much")
            before = lab.conductor.gate.state
        async with daemon(inc) as lab:
            assert lab.conductor.gate.state == before
            assert lab.supervisor.safe_mode == "too much"
            assert lab.conductor.gate.state.breakers["engine"].opened_at is not None


@proves("RECOVER-021")
async def test_three_failures_that_need_a_person_lead_to_safe_mode_which_ends_after_its_time(
    tmp_path: Path,
) -> None:
    async with recovering(tmp_path, limits=replace(LIMITS, safe_mode_s=0.2)) as lab:
        for agent in ("a", "b", "c"):
            await lab.conductor.gate.asks_person(_trouble_of(agent))
        lab.conductor.wake()
        await async_eventually(lambda: lab.supervisor.safe_mode == "3 agents within 10 min need a person")
        await async_eventually(lambda: lab.supervisor.safe_mode == "")


@proves("RECOVER-020")
async def test_while_many_agents_have_one_trouble_this_one_waits_for_the_first(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate = lab.conductor.gate
        for name in ("a", "b", "c"):
            await gate.noticed(AgentId(name), FailureClass.ASSISTANT)
        await gate.goes(AgentId("a"), FailureClass.ASSISTANT)
        assert "another one is mended first" in gate.refuses(lab.inc.id, FailureClass.ASSISTANT, ())

        await gate.is_well(AgentId("a"), FailureClass.ASSISTANT)
        assert gate.refuses(lab.inc.id, FailureClass.ASSISTANT, ()) == ""


@proves("RECOVER-020", "RECOVER-021")
async def test_however_many_agents_share_a_trouble_all_are_mended_once(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate, many = Gate(lab.supervisor, LIMITS), [AgentId(f"a{number}") for number in range(30)]
        for agent in many:
            await gate.noticed(agent, FailureClass.ASSISTANT)
        for number, agent in enumerate(many):
            assert gate.refuses(agent, FailureClass.ASSISTANT, ()) == ""
            await gate.goes(agent, FailureClass.ASSISTANT)
            await gate.is_well(agent, FailureClass.ASSISTANT)
            await gate.look([(one, FailureClass.ASSISTANT.value) for one in many[number + 1 :]])

        assert lab.supervisor.safe_mode == ""


@proves("RECOVER-020")
async def test_an_agent_that_waits_for_a_person_keeps_no_trouble_of_many_open(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, rungs=())) as lab:
        steady_s = 0.0
        lab.inc.systems = lab.supervisor.systems = replace(
            lab.inc.systems, steady=lambda: time.time() + steady_s
        )
        await lab.conductor.gate.noticed(AgentId("another"), FailureClass.ASSISTANT)
        await lab.assistant_dies()
        await lab.until_rung(Rung.PERSON)
        assert lab.conductor.gate.state.fleet.failure == "assistant"

        steady_s = 61.0  # the minute within which nobody else may show it
        await async_eventually(lambda: lab.conductor.gate.state.fleet.failure == "")


@proves("RECOVER-021")
async def test_mistakes_of_agents_themselves_lead_to_no_safe_mode(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate = Gate(lab.supervisor, LIMITS)
        for agent, failure in (("a", FailureClass.MEMORY), ("b", FailureClass.CONFIGURATION)):
            await gate.asks_person(_trouble_of(agent, failure))
        await gate.asks_person(_trouble_of("c"))
        await gate.look([])

        assert [agent for agent, _ in gate.state.persons] == ["c"]
        assert lab.supervisor.safe_mode == ""


@proves("RECOVER-021")
async def test_safe_mode_that_has_ended_is_judged_by_what_happens_from_then_on(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate = Gate(lab.supervisor, replace(LIMITS, safe_mode_s=0.0))
        for agent in ("a", "b", "c"):
            await gate.asks_person(_trouble_of(agent))
        await gate.look([])
        assert lab.supervisor.safe_mode != ""
        await gate.look([])
        await gate.look([])

        assert lab.supervisor.safe_mode == ""


@proves("RECOVER-021")
async def test_safe_mode_that_a_person_wanted_lasts_until_a_person_s_word(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate = Gate(lab.supervisor, replace(LIMITS, safe_mode_s=0.0))
        await gate.enter_safe_mode("20 measures within an hour")
        await gate.enter_safe_mode("a person switched it on", by_person=True)

        gate = Gate(lab.supervisor, replace(LIMITS, safe_mode_s=0.0))
        await gate.load()
        await gate.enter_safe_mode("20 measures within an hour")
        await gate.look([])
        assert lab.supervisor.safe_mode == "a person switched it on"

        await gate.leave_safe_mode(by="a person")
        assert lab.supervisor.safe_mode == ""


@proves("RECOVER-017", "RECOVER-021")
async def test_safe_mode_that_could_not_be_stored_holds_and_is_stored_later(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        gate = Gate(lab.supervisor, LIMITS)
        with _full(tmp_path / "state.db"), pytest.raises(sqlite3.Error):
            await gate.enter_safe_mode("too much")
        assert (lab.supervisor.safe_mode, gate.is_on) == ("too much", True)
        await gate.look([])

        gate = Gate(lab.supervisor, LIMITS)
        await gate.load()
        assert gate.state.safe is not None


@contextmanager
def _full(file: Path) -> Iterator[None]:
    """Settings cannot be written."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON setting BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        yield
        other.execute("DROP TRIGGER full")


# --- a person ---------------------------------------------------------------------------------------------------


@proves("RECOVER-006")
async def test_a_person_s_measure_is_taken_at_once_and_counts_in_no_budget(tmp_path: Path) -> None:
    slow = replace(QUICK, session=replace(QUICK.session, delay_s=600.0))
    async with recovering(tmp_path, policy=slow) as lab:
        incident = await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="test")
        await lab.until_calm()
        acts = await lab.inc.systems.store.read(lambda tx: ledger.acts(tx, lab.inc.id))

        assert (lab.measures.rungs, acts) == ([Rung.SESSION], ())
        assert incident is not None
        assert incident.words == "asked for by a person"


@proves("RECOVER-006", "RECOVER-014")
async def test_a_person_s_measure_cuts_off_the_one_under_way(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        lab.measures.script = ["hangs", "prepared"]
        await lab.assistant_dies()
        await lab.measures.began.wait()
        await lab.conductor.by_hand.recover(lab.actor, Rung.RESPAWN, cause="test")
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)

        outcomes = [(c.rung, c.outcome) for c in (await lab.incident()).climbs]
        assert outcomes == [(Rung.SESSION, ClimbOutcome.GIVEN_UP), (Rung.RESPAWN, ClimbOutcome.RUNNING)]


@proves("RECOVER-006")
async def test_what_would_be_done_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=replace(LIMITS, is_on=False)) as lab:
        await lab.assistant_dies()
        await lab.until_waiting()
        before = await lab.incidents()
        foretold = await lab.conductor.by_hand.foretell(lab.actor, None)

        assert foretold.rung is Rung.SESSION
        assert "the assistant exited with signal SIGKILL" in foretold.because
        assert foretold.left[1] == (Rung.SESSION, 3, 3)
        assert lab.measures.taken == []
        assert await lab.incidents() == before


@proves("RECOVER-006", "RECOVER-009")
async def test_a_person_fills_the_budgets_again(tmp_path: Path) -> None:
    once = replace(QUICK, session=replace(QUICK.session, budget=replace(QUICK.session.budget, count=1)))
    async with recovering(tmp_path, policy=once) as lab:
        await lab.assistant_dies()
        await lab.until_calm()
        assert (await lab.conductor.by_hand.foretell(lab.actor, None)).left[1] == (Rung.SESSION, 0, 1)
        await lab.conductor.by_hand.refill(lab.actor)
        assert (await lab.conductor.by_hand.foretell(lab.actor, None)).left[1] == (Rung.SESSION, 1, 1)


@proves("RECOVER-006")
async def test_a_stopped_agent_is_started_and_not_recovered(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        await lab.supervisor.apply(lab.actor, StopRequested())
        await lab.supervisor.apply(lab.actor, StopSucceeded(generation=1))
        with pytest.raises(IllegalTransition, match="is stopped"):
            await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="test")

        assert await lab.incidents() == []


@proves("RECOVER-010")
async def test_a_daemon_that_ends_begins_nothing(tmp_path: Path) -> None:
    async with recovering(tmp_path) as lab:
        lab.conductor.rest()
        await lab.assistant_dies()
        await async_eventually(lambda: bool(lab.conductor.incidents.all()))
        await anyio.wait_all_tasks_blocked()

        assert (lab.measures.taken, lab.effects) == ([], list[EffectKind]())
