"""Decide what a stimulus does to an agent: one table of (lifecycle, stimulus), all rows written down.

Pure: the same inputs give the same decision. Requests that do not fit raise IllegalTransition and change
nothing; facts never raise: a late or meaningless one is ignored, and the decision says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envmgr.core import living, recovering, remarks
from envmgr.core.decision import Decision, Handler, ignore, ignored, refused
from envmgr.core.recovering import while_frozen
from envmgr.model.agent import AgentState, Lifecycle
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

_ALL = tuple(Lifecycle)


def decide(state: AgentState, stimulus: Stimulus, now: float) -> Decision:
    """The next state, the effects owed and the events to record.

    Args:
        now: Unix time, for `since` stamps.

    Raises:
        IllegalTransition: A request that the present state does not allow.
    """
    generation = getattr(stimulus, "generation", state.generation)
    if generation != state.generation:
        return ignore(state, f"it is about generation {generation}, the agent is at {state.generation}")
    return TABLE[state.lifecycle, type(stimulus)](state, stimulus, now)


_SPAWNING_REFUSES = refused("is spawning", "Wait for it, or run `envmgr stop {name}`.")
_STOPPING_REFUSES = refused("is stopping", "Wait until it is stopped: `envmgr show {name}`.")
_RUNNING_REFUSES_SPAWN = refused("is running already", "See it with `envmgr attach {name}`.")
_RUNNING_REFUSES_REMOVE = refused("is running", "Run `envmgr stop {name}` first.")
_NOT_SPAWNING = ignored("no spawn is under way")
_NOT_STOPPING = ignored("no stop is under way")
_NOT_REMOVING = ignored("removal happens only when stopped")
_NOT_RUNNING = ignored("it matters only while running")
_CANCELLED = ignored("the spawn was cancelled; the stop plan cleans up")


def _watched(handler: Handler) -> Mapping[Lifecycle, Handler]:
    """What is noticed counts while it runs, and while it waits for a person."""
    return dict.fromkeys(_ALL, _NOT_RUNNING) | {
        Lifecycle.RUNNING: handler,
        Lifecycle.ERROR: while_frozen(handler),
    }


_ROWS: Mapping[type[Any], Mapping[Lifecycle, Handler]] = {
    SpawnRequested: {
        Lifecycle.STOPPED: living.spawn,
        Lifecycle.ERROR: living.spawn,
        Lifecycle.SPAWNING: _SPAWNING_REFUSES,
        Lifecycle.RUNNING: _RUNNING_REFUSES_SPAWN,
        Lifecycle.STOPPING: _STOPPING_REFUSES,
    },
    StopRequested: {
        Lifecycle.STOPPED: living.stay_stopped,
        Lifecycle.ERROR: living.stop,
        Lifecycle.SPAWNING: living.stop,
        Lifecycle.RUNNING: living.stop,
        Lifecycle.STOPPING: living.stop_for_good,
    },
    RemoveRequested: {
        Lifecycle.STOPPED: living.remove,
        Lifecycle.ERROR: living.remove,
        Lifecycle.SPAWNING: _SPAWNING_REFUSES,
        Lifecycle.RUNNING: _RUNNING_REFUSES_REMOVE,
        Lifecycle.STOPPING: _STOPPING_REFUSES,
    },
    SpawnSucceeded: dict.fromkeys(_ALL, _NOT_SPAWNING)
    | {Lifecycle.SPAWNING: living.spawned, Lifecycle.STOPPING: _CANCELLED},
    SpawnFailed: dict.fromkeys(_ALL, _NOT_SPAWNING)
    | {Lifecycle.SPAWNING: living.spawn_failed, Lifecycle.STOPPING: _CANCELLED},
    StopSucceeded: dict.fromkeys(_ALL, _NOT_STOPPING) | {Lifecycle.STOPPING: living.stopped},
    StopLeaked: dict.fromkeys(_ALL, _NOT_STOPPING) | {Lifecycle.STOPPING: living.stop_leaked},
    Removed: dict.fromkeys(_ALL, _NOT_REMOVING)
    | {Lifecycle.STOPPED: living.removed, Lifecycle.ERROR: living.removed},
    RemovalFailed: dict.fromkeys(_ALL, _NOT_REMOVING)
    | {Lifecycle.STOPPED: living.removal_failed, Lifecycle.ERROR: living.removal_failed},
    AssistantExited: _watched(recovering.assistant_exited),
    SessionLost: _watched(recovering.session_lost),
    ActivityReported: {**_watched(remarks.activity_seen), Lifecycle.SPAWNING: remarks.activity_seen},
    ServiceChanged: _watched(remarks.service),
    ObservationLost: _watched(remarks.unobservable),
    ObservationRegained: _watched(remarks.observable),
    DriftSeen: _watched(remarks.drift),
    LimitSeen: _watched(remarks.limit),
    Quarantined: _watched(remarks.quarantined),
    HostRestarted: _watched(living.host_restarted),
    RecoverRequested: {
        Lifecycle.STOPPED: refused("is stopped", "Start it: `envmgr start {name}`."),
        Lifecycle.ERROR: recovering.recover,
        Lifecycle.SPAWNING: _SPAWNING_REFUSES,
        Lifecycle.RUNNING: recovering.recover,
        Lifecycle.STOPPING: _STOPPING_REFUSES,
    },
    RungChosen: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: recovering.rung_chosen},
    RespawnPrepared: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: recovering.respawn_prepared},
    SessionRestored: _watched(recovering.session_restored),
    RungHeld: _watched(recovering.rung_held),
    RungFailed: dict.fromkeys(_ALL, _NOT_RUNNING) | {Lifecycle.RUNNING: recovering.rung_failed},
}

TABLE: Mapping[tuple[Lifecycle, type[Any]], Handler] = {
    (lifecycle, stimulus): handler for stimulus, row in _ROWS.items() for lifecycle, handler in row.items()
}
"""Every pair of lifecycle and stimulus; a missing one is a bug, and a test says so."""
