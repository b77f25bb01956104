"""From the checked keys about recovery to the plain values of `model`."""

from __future__ import annotations

from envmgr.config.templates.recovery_schema import Recovery
from envmgr.model.incident import Rung
from envmgr.model.recovery import RecoveryPolicy, RungPolicy


def recovery_policy(said: Recovery) -> RecoveryPolicy:
    """Measures in the order of the ladder, however they are written."""
    words = {rung.word: rung for rung in Rung}
    budgets, delays = said.budgets, said.delays
    return RecoveryPolicy(
        rungs=tuple(sorted({words[word] for word in said.rungs})),
        service=RungPolicy(budget=budgets.service),
        session=RungPolicy(budget=budgets.session, delay_s=delays.session),
        realloc=RungPolicy(budget=budgets.realloc, delay_s=delays.realloc),
        respawn=RungPolicy(budget=budgets.respawn, delay_s=delays.respawn),
        any=budgets.any,
        stabilize_s=said.stabilize,
    )
