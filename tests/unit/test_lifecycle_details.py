"""What a decision leaves in the agent: reasons, what it holds, what was asked for, remarks and evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.activity import FRESH_S
from envmgr.core.lifecycle import decide
from envmgr.errors import IllegalTransition
from envmgr.model.agent import Activity, AgentState, Condition, Desired, Evidence, Lifecycle, Source
from envmgr.model.change import Drift
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    ActivityReported,
    AssistantExited,
    DriftSeen,
    LimitSeen,
    ObservationLost,
    ObservationRegained,
    RemovalFailed,
    Removed,
    RemoveRequested,
    ServiceChanged,
    SessionLost,
    SpawnFailed,
    SpawnRequested,
    SpawnSucceeded,
    StopLeaked,
    StopRequested,
    StopSucceeded,
)
from tests.support.requirements import proves
from tests.support.states import BORN, GENERATION, HELD, NOW, agent

RUNNING = agent(Lifecycle.RUNNING)


def tell(text: str) -> Effect:
    return Effect(kind=EffectKind.TELL, generation=GENERATION, detail=f"otter: {text}")


# --- spawn ---------------------------------------------------------------------------------------------------


@proves("LIFE-006")
def test_a_spawn_begins_a_new_generation_without_the_remarks_of_the_one_before() -> None:
    failed = replace(
        agent(Lifecycle.ERROR),
        desired=Desired.STOPPED,
        conditions=(Condition(type="SessionLost", reason="gone", since=BORN),),
    )

    decision = decide(failed, SpawnRequested(), NOW)

    assert decision.state == replace(
        failed,
        lifecycle=Lifecycle.SPAWNING,
        generation=GENERATION + 1,
        desired=Desired.RUNNING,
        conditions=(),
        reason="spawn requested",
        since=NOW,
    )
    assert decision.effects == (Effect(kind=EffectKind.SPAWN, generation=GENERATION + 1),)
    assert decision.events == (
        NewEvent(
            kind="agent.spawning",
            agent=failed.id,
            generation=GENERATION + 1,
            data={"reason": "spawn requested", "from": "error"},
        ),
    )


@proves("LIFE-002", "LIFE-011")
@pytest.mark.parametrize("request_", [SpawnRequested(), RemoveRequested()])
def test_what_still_holds_something_is_stopped_before_it_is_spawned_again_or_removed(
    request_: SpawnRequested | RemoveRequested,
) -> None:
    leaky = replace(agent(Lifecycle.ERROR), holds=frozenset({"session", "ports"}))

    with pytest.raises(IllegalTransition, match="still holds ports, session") as refused:
        decide(leaky, request_, NOW)

    assert refused.value.hint == "Run `envmgr stop otter` first."


@proves("LIFE-002")
def test_an_agent_that_is_being_removed_is_not_spawned() -> None:
    leaving = replace(agent(Lifecycle.STOPPED), desired=Desired.REMOVED)

    with pytest.raises(IllegalTransition, match="being removed"):
        decide(leaving, SpawnRequested(), NOW)


@proves("LIFE-011")
def test_a_finished_spawn_records_what_the_agent_holds() -> None:
    decision = decide(agent(Lifecycle.SPAWNING), SpawnSucceeded(generation=GENERATION, holds=HELD), NOW)

    assert decision.state == replace(
        agent(Lifecycle.SPAWNING),
        lifecycle=Lifecycle.RUNNING,
        holds=HELD,
        since=NOW,
        reason="all steps done",
    )


@proves("LIFE-010")
def test_a_failed_spawn_names_the_step_and_the_reason_and_that_nothing_is_left() -> None:
    fact = SpawnFailed(generation=GENERATION, step="services", reason="api exited with 1")

    decision = decide(agent(Lifecycle.SPAWNING), fact, NOW)

    reason = "step services failed: api exited with 1; nothing was left behind"
    assert decision.state == replace(
        agent(Lifecycle.SPAWNING), lifecycle=Lifecycle.ERROR, since=NOW, reason=reason
    )
    assert decision.effects == (tell(reason),)


@proves("LIFE-010", "LIFE-011")
def test_a_failed_spawn_holds_and_names_what_could_not_be_undone() -> None:
    fact = SpawnFailed(
        generation=GENERATION, step="session", reason="tmux hangs", leaked=("session (hangs)",)
    )

    decision = decide(agent(Lifecycle.SPAWNING), fact, NOW)

    reason = "step session failed: tmux hangs; could not undo: session (hangs)"
    assert decision.state == replace(
        agent(Lifecycle.SPAWNING),
        lifecycle=Lifecycle.ERROR,
        holds=frozenset({"session (hangs)"}),
        conditions=(Condition(type="Leaked", reason="session (hangs)", since=NOW),),
        since=NOW,
        reason=reason,
    )
    assert decision.effects == (tell(reason),)


# --- stop and removal ----------------------------------------------------------------------------------------


@proves("LIFE-001")
def test_a_stop_says_who_asked_and_remembers_that_the_agent_is_to_stay_stopped() -> None:
    decision = decide(RUNNING, StopRequested(by="a person"), NOW)

    assert decision.state == replace(
        RUNNING,
        lifecycle=Lifecycle.STOPPING,
        desired=Desired.STOPPED,
        since=NOW,
        reason="stop asked by a person",
    )


@proves("LIFE-011")
def test_a_verified_stop_leaves_nothing_held_no_activity_and_no_remark() -> None:
    stopping = replace(
        agent(Lifecycle.STOPPING),
        activity=Activity.WORKING,
        evidence=RUNNING.evidence,
        conditions=(Condition(type="ServiceDown", subject="api", reason="exited", since=BORN),),
    )

    decision = decide(stopping, StopSucceeded(generation=GENERATION), NOW)

    assert decision.state == replace(
        stopping,
        lifecycle=Lifecycle.STOPPED,
        activity=None,
        evidence=None,
        conditions=(),
        holds=frozenset(),
        since=NOW,
        reason="as before; verified: nothing of it is left running",
    )


@proves("LIFE-010", "LIFE-011")
def test_a_stop_with_survivors_is_an_error_that_names_them_and_keeps_what_they_hold() -> None:
    fact = StopLeaked(
        generation=GENERATION,
        survivors=("services: sleep (pid 7)", "verify: port 20000"),
        holds=frozenset({"services", "verify"}),
    )

    decision = decide(agent(Lifecycle.STOPPING), fact, NOW)

    survivors = "services: sleep (pid 7), verify: port 20000"
    assert decision.state == replace(
        agent(Lifecycle.STOPPING),
        lifecycle=Lifecycle.ERROR,
        holds=frozenset({"services", "verify"}),
        conditions=(Condition(type="Leaked", reason=survivors, since=NOW),),
        since=NOW,
        reason=f"stop-failed: {survivors}",
    )
    assert decision.effects == (tell(f"stop-failed: {survivors}"),)


@proves("LIFE-011")
def test_a_later_stop_releases_what_an_error_still_holds() -> None:
    leaky = replace(agent(Lifecycle.ERROR), holds=frozenset({"session"}))

    stopping = decide(leaky, StopRequested(), NOW).state
    stopped = decide(stopping, StopSucceeded(generation=GENERATION), NOW).state

    assert (stopped.lifecycle, stopped.holds) == (Lifecycle.STOPPED, frozenset())


@proves("LIFE-012")
def test_a_removal_is_remembered_until_it_is_done_and_then_the_agent_is_forgotten() -> None:
    asked = decide(agent(Lifecycle.STOPPED), RemoveRequested(), NOW)
    done = decide(asked.state, Removed(generation=GENERATION), NOW)

    assert asked.state.desired is Desired.REMOVED
    assert asked.forget is False
    assert done.forget is True
    assert done.events[0].data == {"name": "otter"}


@proves("LIFE-012")
def test_a_failed_removal_keeps_the_agent_stopped_with_the_reason_and_may_be_asked_again() -> None:
    asked = decide(agent(Lifecycle.STOPPED), RemoveRequested(), NOW).state

    failed = decide(asked, RemovalFailed(generation=GENERATION, reason="unpushed work"), NOW).state
    again = decide(failed, RemoveRequested(), NOW + 1)

    assert failed.desired is Desired.STOPPED
    assert failed.conditions == (Condition(type="RemovalFailed", reason="unpushed work", since=NOW),)
    assert again.state.conditions == ()
    assert [e.kind for e in again.effects] == [EffectKind.REMOVE]


@proves("LIFE-012")
@pytest.mark.parametrize("lifecycle", [Lifecycle.STOPPED, Lifecycle.ERROR])
def test_a_removal_that_is_asked_for_twice_is_done_once(lifecycle: Lifecycle) -> None:
    leaving = decide(agent(lifecycle), RemoveRequested(), NOW).state

    decision = decide(leaving, RemoveRequested(), NOW + 1)

    assert decision.ignored == "it is being removed already"
    assert (decision.state, decision.effects) == (leaving, ())


@proves("LIFE-012")
def test_a_stop_does_not_cut_into_a_removal_that_is_under_way() -> None:
    leaving = replace(agent(Lifecycle.ERROR), desired=Desired.REMOVED)

    decision = decide(leaving, StopRequested(), NOW)

    assert decision.ignored == "it is being removed"
    assert decision.state == leaving


# --- the assistant and its session -----------------------------------------------------------------------------


@proves("LIFE-001")
def test_an_assistant_that_ends_well_leads_to_a_verified_stop_and_nobody_is_told() -> None:
    decision = decide(RUNNING, AssistantExited(generation=GENERATION, code=0), NOW)

    assert decision.state == replace(
        RUNNING,
        lifecycle=Lifecycle.STOPPING,
        desired=Desired.STOPPED,
        activity=None,
        evidence=None,
        since=NOW,
        reason="the assistant exited with status 0",
    )
    assert decision.effects == (Effect(kind=EffectKind.STOP, generation=GENERATION),)


@proves("LIFE-010")
@pytest.mark.parametrize(
    ("fact", "how"),
    [
        (AssistantExited(generation=GENERATION, code=1), "status 1"),
        (AssistantExited(generation=GENERATION, code=None), "status unknown"),
        (AssistantExited(generation=GENERATION, code=None, signal="SIGKILL"), "signal SIGKILL"),
    ],
)
def test_an_assistant_that_ends_badly_is_a_remark_and_its_environment_runs_on(
    fact: AssistantExited, how: str
) -> None:
    decision = decide(RUNNING, fact, NOW)

    reason = f"the assistant exited with {how}"
    assert decision.state == replace(
        RUNNING,
        activity=None,
        evidence=None,
        conditions=(Condition(type="AssistantExited", reason=reason, since=NOW),),
    )
    assert decision.effects == ()
    assert decide(decision.state, fact, NOW + 1).ignored == "already recorded"


@proves("LIFE-010")
def test_a_lost_session_is_a_remark_that_says_what_was_seen() -> None:
    decision = decide(RUNNING, SessionLost(generation=GENERATION, reason="the server is gone"), NOW)

    assert decision.state == replace(
        RUNNING,
        activity=None,
        evidence=None,
        conditions=(Condition(type="SessionLost", reason="the server is gone", since=NOW),),
    )
    assert decision.effects == ()


# --- conditions ------------------------------------------------------------------------------------------------


def service(
    state: ServiceState, detail: str = "", *, name: str = "api", critical: bool = True
) -> ServiceChanged:
    return ServiceChanged(generation=GENERATION, service=name, state=state, detail=detail, critical=critical)


@proves("LIFE-009")
@pytest.mark.parametrize(("critical", "word"), [(True, "ServiceDown"), (False, "ServiceDegraded")])
@pytest.mark.parametrize("lost", [ServiceState.FAILED, ServiceState.STOPPED])
@pytest.mark.parametrize("back", [ServiceState.READY, ServiceState.DONE])
def test_a_lost_service_is_a_remark_until_it_is_back(
    critical: bool,  # noqa: FBT001 - a parameter of the test
    word: str,
    lost: ServiceState,
    back: ServiceState,
) -> None:
    down = decide(RUNNING, service(lost, "exited with 1", critical=critical), NOW).state
    up = decide(down, service(back, critical=critical), NOW + 1)

    assert down == replace(
        RUNNING, conditions=(Condition(type=word, subject="api", reason="exited with 1", since=NOW),)
    )
    assert up.state == RUNNING
    assert [e.kind for e in up.events] == [f"service.{back.value}"]


@proves("LIFE-009")
def test_a_remark_keeps_the_moment_it_began_and_takes_the_newest_reason() -> None:
    first = decide(RUNNING, service(ServiceState.FAILED, "exited with 1"), NOW).state

    second = decide(first, service(ServiceState.FAILED, "exited with 2"), NOW + 60).state

    assert second.conditions == (
        Condition(type="ServiceDown", subject="api", reason="exited with 2", since=NOW),
    )


@proves("LIFE-009")
def test_remarks_on_two_services_do_not_touch_each_other() -> None:
    both = decide(
        decide(RUNNING, service(ServiceState.FAILED, name="api"), NOW).state,
        service(ServiceState.FAILED, name="db"),
        NOW,
    ).state

    left = decide(both, service(ServiceState.READY, name="api"), NOW).state

    assert [c.subject for c in both.conditions] == ["api", "db"]
    assert [c.subject for c in left.conditions] == ["db"]


@proves("LIFE-009")
def test_good_news_of_a_healthy_service_is_no_news() -> None:
    decision = decide(RUNNING, service(ServiceState.READY), NOW)

    assert (decision.state, decision.events) == (RUNNING, ())


@proves("LIFE-009")
@pytest.mark.parametrize("state", [ServiceState.WAITING, ServiceState.STARTING, ServiceState.UNKNOWN])
def test_a_service_on_its_way_says_nothing_about_health(state: ServiceState) -> None:
    assert decide(RUNNING, service(state), NOW).ignored == f"{state.value} says nothing about health"


@proves("LIFE-009")
def test_what_cannot_be_observed_is_remarked_once_and_concludes_nothing() -> None:
    lost = ObservationLost(generation=GENERATION, subject="tmux", reason="no answer")

    blind = decide(RUNNING, lost, NOW).state
    still = decide(blind, lost, NOW + 1)
    seeing = decide(blind, ObservationRegained(generation=GENERATION, subject="tmux"), NOW + 2).state

    assert blind == replace(
        RUNNING,
        conditions=(Condition(type="Unobservable", subject="tmux", reason="no answer", since=NOW),),
    )
    assert still.ignored == "already recorded"
    assert seeing == RUNNING


# --- activity --------------------------------------------------------------------------------------------------


def says(activity: Activity, source: Source, detail: str = "seen") -> ActivityReported:
    return ActivityReported(generation=GENERATION, activity=activity, source=source, detail=detail)


@proves("LIFE-007")
@pytest.mark.parametrize("before", Activity)
@pytest.mark.parametrize("after", Activity)
def test_any_activity_may_follow_any_other_and_the_lifecycle_does_not_move(
    before: Activity, after: Activity
) -> None:
    state = replace(RUNNING, activity=before)

    decision = decide(state, says(after, Source.HOOK, "Stop"), NOW)

    assert decision.state == replace(
        state,
        activity=after,
        evidence=Evidence(source=Source.HOOK, detail="Stop", at=NOW),
        activity_since=NOW if before is not after else BORN,
    )
    assert [dict(e.data) for e in decision.events] == (
        [{"activity": after.value, "source": "hook", "detail": "Stop"}] if before is not after else []
    )


@proves("LIFE-007")
@pytest.mark.parametrize("activity", Activity)
def test_a_stop_is_possible_in_every_activity(activity: Activity) -> None:
    decision = decide(replace(RUNNING, activity=activity), StopRequested(), NOW)

    assert decision.state.lifecycle is Lifecycle.STOPPING


def _known(source: Source) -> AgentState:
    return replace(
        RUNNING, activity=Activity.WORKING, evidence=Evidence(source=source, detail="known", at=NOW)
    )


WORSE = [(Source.HOOK, Source.STREAM), (Source.STREAM, Source.PROCESS), (Source.PROCESS, Source.SCREEN)]


@proves("LIFE-008")
@pytest.mark.parametrize(("better", "worse"), WORSE)
def test_a_guess_never_beats_fresh_better_evidence(better: Source, worse: Source) -> None:
    decision = decide(_known(better), says(Activity.READY, worse), NOW + FRESH_S - 0.1)

    assert decision.ignored == "better or equal evidence is recorded"


@proves("LIFE-008")
@pytest.mark.parametrize(("better", "worse"), WORSE)
def test_a_guess_counts_once_better_evidence_has_grown_old(better: Source, worse: Source) -> None:
    later = NOW + FRESH_S

    decision = decide(_known(better), says(Activity.READY, worse), later)

    assert decision.state.activity is Activity.READY
    assert decision.state.evidence == Evidence(source=worse, detail="seen", at=later)


@proves("LIFE-008")
@pytest.mark.parametrize(("better", "worse"), WORSE)
def test_better_evidence_counts_at_once(better: Source, worse: Source) -> None:
    decision = decide(_known(worse), says(Activity.AWAITING_INPUT, better), NOW)

    assert decision.state.activity is Activity.AWAITING_INPUT


@proves("LIFE-008")
@pytest.mark.parametrize("source", Source)
def test_news_from_the_same_source_counts_at_once(source: Source) -> None:
    decision = decide(_known(source), says(Activity.READY, source), NOW)

    assert decision.state.activity is Activity.READY


@proves("LIFE-008")
def test_a_screen_that_still_says_the_same_is_no_news() -> None:
    decision = decide(_known(Source.SCREEN), says(Activity.WORKING, Source.SCREEN), NOW + 10)

    assert decision.ignored


@proves("LIFE-008")
def test_the_same_hook_again_renews_the_evidence_without_an_event() -> None:
    decision = decide(_known(Source.HOOK), says(Activity.WORKING, Source.HOOK), NOW + 10)

    assert decision.state.evidence == Evidence(source=Source.HOOK, detail="seen", at=NOW + 10)
    assert (decision.state.activity_since, decision.events) == (BORN, ())


@proves("LIFE-008")
def test_evidence_from_a_clock_that_jumped_back_does_not_shut_out_what_is_seen_now() -> None:
    decision = decide(_known(Source.HOOK), says(Activity.READY, Source.SCREEN), NOW - 3600)

    assert decision.state.activity is Activity.READY


# --- drift -----------------------------------------------------------------------------------------------------------


def drift(reason: str, sort: Drift = Drift.CONFIG) -> DriftSeen:
    return DriftSeen(generation=GENERATION, drift=sort, reason=reason)


@proves("RELOAD-006")
def test_drift_is_a_remark_with_its_newest_reason_until_it_is_gone() -> None:
    first = decide(agent(Lifecycle.RUNNING), drift("restart api"), NOW)
    again = decide(first.state, drift("restart api"), NOW + 1)
    more = decide(first.state, drift("recreate db"), NOW + 2)
    gone = decide(more.state, drift(""), NOW + 3)

    assert again.ignored == "already recorded"
    assert [(c.type, c.subject, c.reason, c.since) for c in more.state.conditions] == [
        ("Drifted", "config", "recreate db", NOW)
    ]
    assert gone.state.conditions == ()
    assert [e.kind for d in (first, more, gone) for e in d.events] == [
        "agent.drifted",
        "agent.drifted",
        "agent.in_line",
    ]
    assert [*first.effects, *more.effects, *gone.effects] == []


@proves("RELOAD-006")
def test_the_sorts_of_drift_do_not_touch_each_other_and_no_drift_is_no_news() -> None:
    one = decide(agent(Lifecycle.RUNNING), drift("x", Drift.RUNTIME), NOW)
    both = decide(one.state, drift("y", Drift.ENVIRONMENT), NOW)

    assert {c.subject for c in both.state.conditions} == {"runtime", "environment"}
    assert decide(both.state, drift(""), NOW).ignored == "there was no drift"


# --- limits ----------------------------------------------------------------------------------------------------------


def limit(reason: str) -> LimitSeen:
    return LimitSeen(generation=GENERATION, subject="api.cpus", reason=reason)


@proves("LIMIT-006")
def test_what_exceeds_a_limit_that_is_not_enforced_is_a_remark_until_it_is_over() -> None:
    first = decide(agent(Lifecycle.RUNNING), limit("uses 2.0 of 1 processors"), NOW)
    again = decide(first.state, limit("uses 1.9 of 1 processors"), NOW + 1)
    gone = decide(first.state, limit(""), NOW + 2)

    assert [(c.type, c.subject) for c in first.state.conditions] == [("OverLimit", "api.cpus")]
    assert again.ignored == "already recorded"
    assert [e.kind for d in (first, gone) for e in d.events] == ["limit.exceeded", "limit.kept"]
    assert gone.state.conditions == ()
    assert decide(gone.state, limit(""), NOW + 3).ignored == "it was within its limit"
    assert [*first.effects, *gone.effects] == []
