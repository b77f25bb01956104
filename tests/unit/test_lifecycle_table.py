"""One scenario for each row of the lifecycle table: what is expected stands here a second time, by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import pytest

from envmgr.core.lifecycle import TABLE, decide
from envmgr.errors import IllegalTransition
from envmgr.model.agent import Activity, Lifecycle, Source
from envmgr.model.change import Drift
from envmgr.model.effect import EffectKind
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceState
from envmgr.model.stimulus import (
    ActivityReported,
    AssistantExited,
    DriftSeen,
    HostRestarted,
    LimitSeen,
    ObservationLost,
    ObservationRegained,
    Quarantined,
    RecoverRequested,
    RemovalFailed,
    Removed,
    RemoveRequested,
    RespawnPrepared,
    RungChosen,
    RungFailed,
    RungHeld,
    ServiceChanged,
    SessionLost,
    SessionRestored,
    SpawnFailed,
    SpawnRequested,
    SpawnSucceeded,
    Stimulus,
    StopLeaked,
    StopRequested,
    StopSucceeded,
)
from tests.support.requirements import proves
from tests.support.states import GENERATION, HELD, NOW, agent

SPAWNING, RUNNING, STOPPING, STOPPED, ERROR = (
    Lifecycle.SPAWNING,
    Lifecycle.RUNNING,
    Lifecycle.STOPPING,
    Lifecycle.STOPPED,
    Lifecycle.ERROR,
)
ANYWHERE = (SPAWNING, RUNNING, STOPPING, STOPPED, ERROR)

SPAWN, STOP, REMOVE = SpawnRequested(), StopRequested(), RemoveRequested()
SPAWNED = SpawnSucceeded(generation=GENERATION, holds=HELD)
SPAWN_FAILED = SpawnFailed(generation=GENERATION, step="worktree", reason="disk full")
STOP_DONE = StopSucceeded(generation=GENERATION)
STOP_LEFT = StopLeaked(generation=GENERATION, survivors=("sleep (pid 7)",), holds=frozenset({"services"}))
REMOVED = Removed(generation=GENERATION)
NOT_REMOVED = RemovalFailed(generation=GENERATION, reason="git is busy")
EXITED = AssistantExited(generation=GENERATION, code=1)
LOST = SessionLost(generation=GENERATION, reason="seen absent twice")
WORKS = ActivityReported(
    generation=GENERATION, activity=Activity.WORKING, source=Source.HOOK, detail="UserPromptSubmit"
)
DOWN = ServiceChanged(generation=GENERATION, service="api", state=ServiceState.FAILED, detail="exited with 1")
OVER = LimitSeen(generation=GENERATION, subject="memory", reason="uses 900 MB of 512 MB")
UNSEEN = ObservationLost(generation=GENERATION, subject="tmux", reason="no answer")
DRIFTED = DriftSeen(generation=GENERATION, drift=Drift.CONFIG, reason="the template says something else")
STUCK = Quarantined(generation=GENERATION, subject="api", reason="sleep (pid 7) cannot be ended")
REBOOTED = HostRestarted(generation=GENERATION, restores=True)
RECOVER = RecoverRequested(incident=7, rung=Rung.SESSION, reason="asked for by a person")
CHOSEN = RungChosen(generation=GENERATION, incident=7, rung=Rung.SESSION, reason="the assistant is gone")
PREPARED = RespawnPrepared(generation=GENERATION, incident=7)
RESTORED = SessionRestored(generation=GENERATION)
HELD_OUT = RungHeld(generation=GENERATION, incident=7)
GAVE_WAY = RungFailed(generation=GENERATION, incident=7, reason="it ended again")
SEEN = ObservationRegained(generation=GENERATION, subject="tmux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is expected: acts (effects and events), or is refused, or is ignored, with words of the reason."""

    at: Lifecycle
    on: Stimulus
    to: Lifecycle
    does: tuple[EffectKind, ...] = ()
    says: tuple[str, ...] = ()
    refused: str = ""
    ignored: str = ""

    def __str__(self) -> str:
        return f"{self.at.value}-{type(self.on).__name__}"


def ignored(on: Stimulus, at: Iterable[Lifecycle], why: str) -> list[Row]:
    return [Row(at=state, on=on, to=state, ignored=why) for state in at]


ROWS = [
    Row(at=STOPPED, on=SPAWN, to=SPAWNING, does=(EffectKind.SPAWN,), says=("agent.spawning",)),
    Row(at=ERROR, on=SPAWN, to=SPAWNING, does=(EffectKind.SPAWN,), says=("agent.spawning",)),
    Row(at=SPAWNING, on=SPAWN, to=SPAWNING, refused="is spawning"),
    Row(at=RUNNING, on=SPAWN, to=RUNNING, refused="is running already"),
    Row(at=STOPPING, on=SPAWN, to=STOPPING, refused="is stopping"),
    Row(
        at=SPAWNING,
        on=STOP,
        to=STOPPING,
        does=(EffectKind.CANCEL_SPAWN, EffectKind.STOP),
        says=("agent.stopping",),
    ),
    Row(at=RUNNING, on=STOP, to=STOPPING, does=(EffectKind.STOP,), says=("agent.stopping",)),
    Row(at=ERROR, on=STOP, to=STOPPING, does=(EffectKind.STOP,), says=("agent.stopping",)),
    Row(at=STOPPED, on=STOP, to=STOPPED, ignored="it is stopped"),
    Row(at=STOPPING, on=STOP, to=STOPPING, ignored="it is stopping already"),
    Row(at=STOPPED, on=REMOVE, to=STOPPED, does=(EffectKind.REMOVE,), says=("agent.removing",)),
    Row(at=ERROR, on=REMOVE, to=ERROR, does=(EffectKind.REMOVE,), says=("agent.removing",)),
    Row(at=SPAWNING, on=REMOVE, to=SPAWNING, refused="is spawning"),
    Row(at=RUNNING, on=REMOVE, to=RUNNING, refused="is running"),
    Row(at=STOPPING, on=REMOVE, to=STOPPING, refused="is stopping"),
    Row(at=SPAWNING, on=SPAWNED, to=RUNNING, says=("agent.running",)),
    *ignored(SPAWNED, [STOPPING], "cancelled"),
    *ignored(SPAWNED, [RUNNING, STOPPED, ERROR], "no spawn is under way"),
    Row(at=SPAWNING, on=SPAWN_FAILED, to=ERROR, does=(EffectKind.TELL,), says=("agent.error",)),
    *ignored(SPAWN_FAILED, [STOPPING], "cancelled"),
    *ignored(SPAWN_FAILED, [RUNNING, STOPPED, ERROR], "no spawn is under way"),
    Row(at=STOPPING, on=STOP_DONE, to=STOPPED, says=("agent.stopped",)),
    *ignored(STOP_DONE, [SPAWNING, RUNNING, STOPPED, ERROR], "no stop is under way"),
    Row(at=STOPPING, on=STOP_LEFT, to=ERROR, does=(EffectKind.TELL,), says=("agent.error",)),
    *ignored(STOP_LEFT, [SPAWNING, RUNNING, STOPPED, ERROR], "no stop is under way"),
    Row(at=STOPPED, on=REMOVED, to=STOPPED, says=("agent.removed",)),
    Row(at=ERROR, on=REMOVED, to=ERROR, says=("agent.removed",)),
    *ignored(REMOVED, [SPAWNING, RUNNING, STOPPING], "only when stopped"),
    Row(at=STOPPED, on=NOT_REMOVED, to=STOPPED, says=("agent.removal_failed",)),
    Row(at=ERROR, on=NOT_REMOVED, to=ERROR, says=("agent.removal_failed",)),
    *ignored(NOT_REMOVED, [SPAWNING, RUNNING, STOPPING], "only when stopped"),
    Row(at=RUNNING, on=EXITED, to=RUNNING, says=("assistant.exited",)),
    *ignored(EXITED, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=LOST, to=RUNNING, says=("session.lost",)),
    *ignored(LOST, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=SPAWNING, on=WORKS, to=SPAWNING, says=("agent.activity",)),
    Row(at=RUNNING, on=WORKS, to=RUNNING, says=("agent.activity",)),
    *ignored(WORKS, [STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=DOWN, to=RUNNING, says=("service.failed",)),
    *ignored(DOWN, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=UNSEEN, to=RUNNING),
    *ignored(UNSEEN, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    *ignored(SEEN, [RUNNING], "it was observable"),
    *ignored(SEEN, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=DRIFTED, to=RUNNING, says=("agent.drifted",)),
    *ignored(DRIFTED, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=OVER, to=RUNNING, says=("limit.exceeded",)),
    *ignored(OVER, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=STUCK, to=RUNNING, says=("agent.quarantined",)),
    *ignored(STUCK, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=REBOOTED, to=STOPPING, does=(EffectKind.STOP,), says=("agent.stopping",)),
    *ignored(REBOOTED, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=RECOVER, to=RUNNING, does=(EffectKind.CLIMB,), says=("agent.recovering",)),
    Row(at=STOPPED, on=RECOVER, to=STOPPED, refused="is stopped"),
    Row(at=ERROR, on=RECOVER, to=ERROR, refused="does not run"),
    Row(at=SPAWNING, on=RECOVER, to=SPAWNING, refused="is spawning"),
    Row(at=STOPPING, on=RECOVER, to=STOPPING, refused="is stopping"),
    Row(at=RUNNING, on=CHOSEN, to=RUNNING, does=(EffectKind.CLIMB,), says=("agent.recovering",)),
    *ignored(CHOSEN, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    *ignored(PREPARED, [RUNNING], "no recovery is under way"),
    *ignored(PREPARED, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    Row(at=RUNNING, on=RESTORED, to=RUNNING, says=("session.restored",)),
    *ignored(RESTORED, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    *ignored(HELD_OUT, [RUNNING], "no recovery is under way"),
    *ignored(HELD_OUT, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
    *ignored(GAVE_WAY, [RUNNING], "no recovery is under way"),
    *ignored(GAVE_WAY, [SPAWNING, STOPPING, STOPPED, ERROR], "only while running"),
]


@proves("LIFE-001")
def test_the_table_knows_every_stimulus_in_every_lifecycle_and_nothing_else() -> None:
    assert set(TABLE) == {(lifecycle, stimulus) for lifecycle in Lifecycle for stimulus in get_args(Stimulus)}


@proves("LIFE-001")
def test_every_row_of_the_table_has_exactly_one_scenario_here() -> None:
    assert Counter((row.at, type(row.on)) for row in ROWS) == Counter(dict.fromkeys(TABLE, 1))


@proves("LIFE-001")
@pytest.mark.parametrize("row", [r for r in ROWS if not r.refused and not r.ignored], ids=str)
def test_a_stimulus_that_fits_leads_to_its_state_effects_and_events(row: Row) -> None:
    decision = decide(agent(row.at), row.on, NOW)

    generation = GENERATION + (row.on == SPAWN)
    assert (decision.state.lifecycle, decision.state.generation) == (row.to, generation)
    assert [(e.kind, e.generation) for e in decision.effects] == [(kind, generation) for kind in row.does]
    assert [(e.kind, e.generation) for e in decision.events] == [(kind, generation) for kind in row.says]
    assert decision.ignored == ""
    assert decision.state != agent(row.at) or decision.forget or row.on == RESTORED


@proves("LIFE-001", "LIFE-002")
@pytest.mark.parametrize("row", [r for r in ROWS if r.refused], ids=str)
def test_a_request_that_does_not_fit_is_refused_with_the_next_move(row: Row) -> None:
    with pytest.raises(IllegalTransition, match=f"^otter {row.refused}") as refused:
        decide(agent(row.at), row.on, NOW)

    assert "`envmgr" in refused.value.hint
    assert "otter" in refused.value.hint


@proves("LIFE-001", "LIFE-003")
@pytest.mark.parametrize("row", [r for r in ROWS if r.ignored], ids=str)
def test_a_stimulus_that_no_longer_matters_changes_nothing_and_says_why(row: Row) -> None:
    decision = decide(agent(row.at), row.on, NOW)

    assert row.ignored in decision.ignored
    assert decision.state == agent(row.at)
    assert (decision.effects, decision.events, decision.forget) == ((), (), False)


@proves("LIFE-003")
@pytest.mark.parametrize("lifecycle", ANYWHERE)
@pytest.mark.parametrize("away", [-1, 1])
@pytest.mark.parametrize(
    "fact",
    [kind for kind in get_args(Stimulus) if "generation" in kind.__dataclass_fields__],
    ids=lambda kind: kind.__name__,
)
def test_a_fact_of_another_generation_changes_nothing_wherever_the_agent_is(
    lifecycle: Lifecycle, away: int, fact: type[Stimulus]
) -> None:
    mine = next(row.on for row in ROWS if type(row.on) is fact)
    values = {name: getattr(mine, name) for name in fact.__dataclass_fields__}

    decision = decide(agent(lifecycle), fact(**values | {"generation": GENERATION + away}), NOW)

    assert decision.ignored == f"it is about generation {GENERATION + away}, the agent is at {GENERATION}"
    assert (decision.state, decision.effects, decision.events) == (agent(lifecycle), (), ())
