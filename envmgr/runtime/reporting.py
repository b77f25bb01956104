"""How those who notice failures say so; who mends them is not known here."""

from __future__ import annotations

from collections.abc import Callable

from envmgr.model.incident import Symptom
from envmgr.runtime.actor import Actor

Report = Callable[[Actor, Symptom], None]
"""Say that something is wrong. Returns at once; may be said again and again for as long as it is so."""


def unheard(actor: Actor, symptom: Symptom) -> None:
    """Nobody mends anything: the default of those who report."""
