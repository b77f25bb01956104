"""Which rung comes next: by class, by what was tried, by what is left of the budgets, and never by more than that."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.ladder import HELPS, Act, Case, Choice, choose, delay_s, remembered
from envmgr.model.ids import AgentId
from envmgr.model.incident import (
    Climb,
    ClimbOutcome,
    Diagnosis,
    Evidence,
    FailureClass,
    Incident,
    Part,
    Rung,
)
from envmgr.model.recovery import MEASURES, RecoveryPolicy, RungPolicy
from envmgr.model.service import Rate
from tests.support.requirements import proves

NOW = 100_000.0
ENTRIES = {
    FailureClass.CONFIGURATION: Rung.PERSON,
    **dict.fromkeys(
        (FailureClass.DEPENDENCY, FailureClass.NETWORK, FailureClass.ENGINE, FailureClass.HOST), Rung.WAIT
    ),
}


def incident(
    failure: FailureClass, *climbs: Climb, source: str = "exit", symptoms: int = 1, entry: Rung | None = None
) -> Incident:
    mildest = ENTRIES.get(failure) or (HELPS[failure] or (Rung.PERSON,))[0]
    diagnosis = Diagnosis(
        failure=failure,
        entry=mildest if entry is None else entry,
        confidence=0.9,
        evidence=(Evidence(source=source, text="seen"),),
        fingerprint="f",
    )
    return Incident(
        agent=AgentId("0tter000"),
        name="otter",
        generation=1,
        part=Part.SERVICE,
        subject="api",
        words="it ended",
        diagnosis=diagnosis,
        opened_at=NOW,
        id=7,
        climbs=climbs,
        symptoms=symptoms,
    )


def failed(rung: Rung) -> Climb:
    return Climb(rung=rung, at=NOW, because="x", outcome=ClimbOutcome.FAILED)


def held(rung: Rung) -> Climb:
    return Climb(rung=rung, at=NOW, because="x", outcome=ClimbOutcome.HELD)


def case(of: Incident, *acts: Act, **more: object) -> Case:
    plain = Case(incident=of, policy=RecoveryPolicy(), acts=acts, now=NOW)
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def acts(rung: Rung, count: int, *, ago_s: float = 1.0) -> list[Act]:
    return [Act(rung=rung, at=NOW - ago_s, subject="api")] * count


@proves("RECOVER-007")
@pytest.mark.parametrize(
    ("failure", "rung"),
    [
        (FailureClass.CRASH, Rung.SERVICE),
        (FailureClass.HANG, Rung.SERVICE),
        (FailureClass.UNKNOWN, Rung.SERVICE),
        (FailureClass.MEMORY, Rung.REALLOCATE),
        (FailureClass.DISK, Rung.REALLOCATE),
        (FailureClass.DESCRIPTORS, Rung.REALLOCATE),
        (FailureClass.PORT_CONFLICT, Rung.REALLOCATE),
        (FailureClass.SESSION, Rung.SESSION),
        (FailureClass.ASSISTANT, Rung.SESSION),
        (FailureClass.WORKSPACE, Rung.RESPAWN),
        (FailureClass.CONFIGURATION, Rung.PERSON),
        (FailureClass.DEPENDENCY, Rung.WAIT),
        (FailureClass.NETWORK, Rung.WAIT),
        (FailureClass.ENGINE, Rung.WAIT),
        (FailureClass.HOST, Rung.WAIT),
    ],
)
def test_each_class_enters_at_the_mildest_rung_that_can_help(failure: FailureClass, rung: Rung) -> None:
    assert choose(case(incident(failure))).rung is rung
    assert len(HELPS) == len(FailureClass)


@proves("RECOVER-007")
@pytest.mark.parametrize("failure", [c for c, entry in ENTRIES.items() if entry is Rung.WAIT])
def test_what_is_still_down_is_started_once_its_cause_elsewhere_has_gone(failure: FailureClass) -> None:
    assert choose(case(incident(failure), is_cause_gone=True, is_exhausted=True)).rung is Rung.SERVICE


@proves("RECOVER-008")
@pytest.mark.parametrize(
    ("failure", "way"),
    [
        (FailureClass.CRASH, [Rung.SERVICE, Rung.REALLOCATE, Rung.RESPAWN, Rung.PERSON]),
        (FailureClass.SESSION, [Rung.SESSION, Rung.RESPAWN, Rung.PERSON]),
        (FailureClass.PORT_CONFLICT, [Rung.REALLOCATE, Rung.PERSON]),
        (FailureClass.HANG, [Rung.SERVICE, Rung.RESPAWN, Rung.PERSON]),
    ],
)
def test_a_rung_that_did_not_help_is_followed_by_the_next_that_can(
    failure: FailureClass, way: list[Rung]
) -> None:
    climbs: tuple[Climb, ...] = ()
    taken: list[Rung] = []
    while not taken or taken[-1] is not Rung.PERSON:
        taken.append(choose(case(incident(failure, *climbs))).rung)
        climbs = (*climbs, failed(taken[-1]))

    assert taken == way


@proves("RECOVER-008")
def test_after_a_rung_that_held_the_ladder_is_entered_anew_but_its_budget_is_not_refilled() -> None:
    again = incident(FailureClass.SESSION, failed(Rung.SESSION), held(Rung.RESPAWN))

    assert choose(case(again)).rung is Rung.SESSION
    assert choose(case(again, *acts(Rung.SESSION, 3))).rung is Rung.RESPAWN


@proves("RECOVER-009")
@pytest.mark.parametrize(
    ("failure", "rung", "count", "window_s"),
    [
        (FailureClass.CRASH, Rung.SERVICE, 5, 600),
        (FailureClass.SESSION, Rung.SESSION, 3, 1800),
        (FailureClass.PORT_CONFLICT, Rung.REALLOCATE, 2, 3600),
        (FailureClass.WORKSPACE, Rung.RESPAWN, 2, 6 * 3600),
    ],
)
def test_the_numbers_of_the_budgets(failure: FailureClass, rung: Rung, count: int, window_s: float) -> None:
    fresh = incident(failure)

    assert choose(case(fresh, *acts(rung, count - 1))).rung is rung
    assert choose(case(fresh, *acts(rung, count))).rung > rung
    assert choose(case(fresh, *acts(rung, count, ago_s=window_s))).rung is rung


@proves("RECOVER-009")
def test_restarts_of_another_service_are_counted_apart() -> None:
    others = [replace(act, subject="web") for act in acts(Rung.SERVICE, 5)]

    assert choose(case(incident(FailureClass.CRASH), *others)).rung is Rung.SERVICE


@proves("RECOVER-009")
def test_thirty_measures_within_an_hour_are_enough_of_any_kind() -> None:
    many = [Act(rung=Rung.SERVICE, at=NOW - 1000.0, subject=f"s{n}") for n in range(30)]

    assert choose(case(incident(FailureClass.SESSION), *many)).rung is Rung.PERSON


@proves("RECOVER-009")
def test_what_no_budget_can_see_any_more_is_forgotten() -> None:
    kept = remembered(
        RecoveryPolicy(), [*acts(Rung.RESPAWN, 1, ago_s=6 * 3600), *acts(Rung.RESPAWN, 1)], now=NOW
    )

    assert kept == tuple(acts(Rung.RESPAWN, 1))


@proves("RECOVER-007")
def test_the_same_words_for_the_third_time_say_that_the_code_is_broken_unless_it_is_being_edited() -> None:
    same = incident(FailureClass.CRASH, source="log", symptoms=3)

    assert choose(case(same)).rung is Rung.PERSON
    assert "third time" in choose(case(same)).because
    assert choose(case(same, is_mid_edit=True)).rung is Rung.WAIT
    assert choose(case(incident(FailureClass.CRASH, symptoms=3))).rung is Rung.SERVICE
    assert choose(case(incident(FailureClass.CRASH, source="log", symptoms=2))).rung is Rung.SERVICE


@proves("RECOVER-007")
def test_a_second_failure_that_nobody_can_explain_asks_a_person_earlier() -> None:
    dark = incident(FailureClass.UNKNOWN, failed(Rung.SERVICE))

    assert choose(case(dark)).rung is Rung.REALLOCATE
    assert choose(case(dark, is_unknown_again=True)).rung is Rung.PERSON


@proves("RECOVER-008")
def test_a_restart_policy_that_has_given_up_is_not_asked_again() -> None:
    assert choose(case(incident(FailureClass.CRASH), is_exhausted=True)).rung is Rung.REALLOCATE


@proves("RECOVER-010")
def test_nothing_is_done_while_something_else_must_come_first() -> None:
    dead = incident(FailureClass.SESSION)

    assert choose(case(dead, pause="safe mode")) == Choice(rung=Rung.WAIT, because="safe mode")
    assert choose(case(dead, is_talking=True)).rung is Rung.WAIT
    assert choose(case(incident(FailureClass.CRASH), is_talking=True)).rung is Rung.SERVICE


@proves("RECOVER-010")
def test_a_template_may_drop_rungs_and_a_lost_checkpoint_forbids_the_upper_ones() -> None:
    dead = incident(FailureClass.SESSION)
    unsaved = dict.fromkeys((Rung.SESSION, Rung.REALLOCATE, Rung.RESPAWN), "the work could not be saved")

    assert choose(case(dead, policy=RecoveryPolicy(rungs=(Rung.RESPAWN,)))).rung is Rung.RESPAWN
    assert choose(case(dead, policy=RecoveryPolicy(rungs=()))).rung is Rung.PERSON
    assert choose(case(dead, forbidden=unsaved)).rung is Rung.PERSON
    assert "could not be saved" in choose(case(dead, forbidden=unsaved)).because


@proves("RECOVER-007")
def test_a_choice_says_why_no_milder_one() -> None:
    because = choose(case(incident(FailureClass.CRASH), is_exhausted=True)).because

    assert because == "crash of api: it ended; service: tried, or known not to help"


@proves("RECOVER-011")
def test_delays_before_the_measures_spread_and_double() -> None:
    def wait(rung: Rung, *done: Act, draw: float = 0.0) -> float:
        return delay_s(RecoveryPolicy(), rung, done, now=NOW, draw=draw)

    assert [wait(rung) for rung in MEASURES] == [0.0, 2.0, 5.0, 30.0]
    assert wait(Rung.SESSION, draw=1.0) == 2.5
    assert [wait(Rung.RESPAWN, *acts(Rung.RESPAWN, n)) for n in (1, 2, 3, 9)] == [30.0, 60.0, 120.0, 600.0]
    assert wait(Rung.RESPAWN, *acts(Rung.RESPAWN, 3, ago_s=7 * 3600)) == 30.0


# --- whatever happens -----------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(list(FailureClass)),
        st.floats(min_value=0.0, max_value=1200.0),
        st.sampled_from([ClimbOutcome.FAILED, ClimbOutcome.HELD]),
        st.booleans(),
    ),
    max_size=60,
)


@proves("RECOVER-008", "RECOVER-009")
@given(STEPS)
def test_whatever_fails_budgets_hold_and_rungs_only_rise_until_one_holds(
    steps: list[tuple[FailureClass, float, ClimbOutcome, bool]],
) -> None:
    policy = RecoveryPolicy(
        any=Rate(count=8, window_s=3600.0),
        service=RungPolicy(budget=Rate(count=2, window_s=600.0)),
    )
    now, done, climbs = NOW, list[Act](), dict[FailureClass, tuple[Climb, ...]]()
    for failure, passed_s, outcome, is_exhausted in steps:
        now += passed_s
        mine = climbs.get(failure, ())
        asked = Case(
            incident=incident(failure, *mine), policy=policy, acts=done, now=now, is_exhausted=is_exhausted
        )
        chosen = choose(asked)
        assert chosen.because
        if chosen.rung in MEASURES:
            done.append(Act(rung=chosen.rung, at=now, subject="api"))
            climbs[failure] = (*mine, Climb(rung=chosen.rung, at=now, because="x", outcome=outcome))
        for rung, budget in ((rung, policy.of(rung).budget) for rung in MEASURES):
            assert sum(a.rung is rung and a.at > now - budget.window_s for a in done) <= budget.count
        assert sum(a.at > now - 3600.0 for a in done) <= 8
        _rises(climbs.get(failure, ()))


def _rises(climbs: tuple[Climb, ...]) -> None:
    for before, after in pairwise(climbs):
        assert before.outcome is ClimbOutcome.HELD or after.rung > before.rung
