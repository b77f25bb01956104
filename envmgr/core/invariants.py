"""What must hold after every decision; run by tests, and by the daemon with `ENVMGR_VALIDATE=1`."""

from __future__ import annotations

from envmgr.core.lifecycle import Decision
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.stimulus import Stimulus


def broken(before: AgentState, stimulus: Stimulus, decision: Decision) -> list[str]:
    """The invariants that this decision breaks, as sentences; empty when all hold."""
    after = decision.state
    tells = sum(e.kind is EffectKind.TELL for e in decision.effects)
    entered_error = before.lifecycle is not Lifecycle.ERROR and after.lifecycle is Lifecycle.ERROR
    checks = {
        "a stopped agent holds nothing": after.lifecycle is not Lifecycle.STOPPED or not after.holds,
        "activity is known only while spawning or running": after.activity is None
        or after.lifecycle in (Lifecycle.SPAWNING, Lifecycle.RUNNING, Lifecycle.STOPPING),
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
    }
    return [sentence for sentence, holds in checks.items() if not holds]
