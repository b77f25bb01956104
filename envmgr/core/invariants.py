"""What must hold after every decision; run by tests, and by the daemon with `ENVMGR_VALIDATE=1`."""

from __future__ import annotations

from envmgr.core.decision import Decision
from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.incident import Rung
from envmgr.model.stimulus import RecoverRequested, Stimulus, StopRequested


def broken(before: AgentState, stimulus: Stimulus, decision: Decision) -> list[str]:
    """The invariants that this decision breaks, as sentences; empty when all hold."""
    after = decision.state
    tells = sum(e.kind is EffectKind.TELL for e in decision.effects)
    entered_error = before.lifecycle is not Lifecycle.ERROR and after.lifecycle is Lifecycle.ERROR
    checks = {
        "a stopped agent holds nothing": after.lifecycle is not Lifecycle.STOPPED or not after.holds,
        "activity is known only while something runs": after.activity is None
        or after.lifecycle in (Lifecycle.SPAWNING, Lifecycle.RUNNING, Lifecycle.STOPPING)
        or after.rung is Rung.PERSON,
        "effects are about the agent's generation": all(
            e.generation == after.generation for e in decision.effects
        ),
        "the generation grows by at most one, and only by a spawn": after.generation - before.generation
        == (1 if any(e.kind is EffectKind.SPAWN for e in decision.effects) else 0),
        "entering error tells a person exactly once": tells == int(entered_error),
        "an ignored stimulus changes nothing": not decision.ignored
        or (after == before and not decision.effects and not decision.events),
        "identity never changes": (after.id, after.name) == (before.id, before.name),
        "a change of lifecycle is recorded": after.lifecycle is before.lifecycle or bool(decision.events),
        "a rung is set only while running, in a respawn, or, the last one, in error": _is_placed(after),
        "a rung and its incident go together": (after.rung is None) == (after.incident == 0),
        "within an incident only a person takes a lower rung": isinstance(stimulus, RecoverRequested)
        or before.incident != after.incident
        or (after.rung or 0) >= (before.rung or 0),
        "a stop ends every recovery": not isinstance(stimulus, StopRequested)
        or bool(decision.ignored)
        or after.rung is None,
    }
    return [sentence for sentence, holds in checks.items() if not holds]


def _is_placed(state: AgentState) -> bool:
    match state.lifecycle:
        case Lifecycle.RUNNING:
            return state.rung is not Rung.PERSON
        case Lifecycle.SPAWNING | Lifecycle.STOPPING:
            return state.rung is None or (state.rung is Rung.RESPAWN and state.desired is Desired.RUNNING)
        case Lifecycle.ERROR:
            return state.rung in (None, Rung.PERSON)
    return state.rung is None
