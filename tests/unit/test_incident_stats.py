"""What past incidents say of a template."""

from __future__ import annotations

from dataclasses import replace

from envmgr.core.incident_stats import RungStats, stats
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
from tests.support.requirements import proves

CRASH = Incident(
    agent=AgentId("0tter000"),
    name="otter",
    generation=1,
    part=Part.SERVICE,
    subject="api",
    words="it ended",
    diagnosis=Diagnosis(
        failure=FailureClass.CRASH,
        entry=Rung.SERVICE,
        confidence=0.9,
        evidence=(Evidence(source="exit", text="status 1"),),
        fingerprint="f",
    ),
    opened_at=100.0,
    template="web",
)


def climb(rung: Rung, outcome: ClimbOutcome, at: float = 110.0) -> Climb:
    return Climb(rung=rung, at=at, because="x", outcome=outcome)


@proves("RECOVER-023")
def test_the_time_to_recovery_and_the_success_of_each_measure_are_told_by_template() -> None:
    failed = climb(Rung.SERVICE, ClimbOutcome.FAILED)
    held = replace(climb(Rung.RESPAWN, ClimbOutcome.HELD, 120.0), ended_at=130.0)
    incidents = [
        replace(CRASH, climbs=(failed, held)),
        replace(CRASH, climbs=(climb(Rung.SERVICE, ClimbOutcome.HELD),)),
        replace(CRASH, climbs=(failed, climb(Rung.PERSON, ClimbOutcome.RUNNING))),
        replace(CRASH, template="other"),
    ]

    web, other = stats(incidents)

    assert (web.template, web.incidents, web.mended, web.mttr_s) == ("web", 3, 2, 20.0)
    assert web.rungs == (
        RungStats(rung=Rung.SERVICE, taken=3, held=1),
        RungStats(rung=Rung.RESPAWN, taken=1, held=1),
    )
    assert (other.template, other.mended, other.mttr_s, other.rungs) == ("other", 0, None, ())


@proves("RECOVER-023")
def test_the_same_failure_in_several_agents_is_a_problem_of_the_template() -> None:
    again = replace(CRASH, name="badger", agent=AgentId("badger00"))
    different = replace(again, diagnosis=replace(CRASH.diagnosis, fingerprint="g"))

    (together,) = stats([CRASH, CRASH, again])
    (apart,) = stats([CRASH, CRASH, different])

    assert together.problems == ("api fails in the same way (crash) in 2 agents: badger, otter",)
    assert apart.problems == ()


@proves("RECOVER-023")
def test_agents_that_somebody_killed_have_no_problem_of_their_template_in_common() -> None:
    killed = [replace(CRASH, name=name, words="web ended with signal SIGKILL") for name in ("a", "b")]
    silent = [
        replace(one, diagnosis=replace(one.diagnosis, evidence=(), fingerprint="SIGKILL")) for one in killed
    ]
    lost = [replace(CRASH, name=name, part=Part.SESSION) for name in ("a", "b")]

    assert stats([*silent, *lost])[0].problems == ()
