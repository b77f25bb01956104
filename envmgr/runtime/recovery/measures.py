"""What the ladder needs of its measures, and of those who notice failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from envmgr.errors import Unavailable
from envmgr.model.incident import Incident, Rung, Symptom
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation

Report = Callable[[Actor, Symptom], None]
"""Say that something is wrong. Returns at once; may be said again and again for as long as it is so."""


def unheard(actor: Actor, symptom: Symptom) -> None:
    """Nobody mends anything: the default of those who report."""


class NotSaved(Unavailable):
    """The work could not be saved before a measure that might cost some, so it was not taken; nor are the others that might."""

    code = "unavailable.not_saved"


class Measures(Protocol):
    """Rungs 1 to 4. Called with `actor.busy` held, and cancelled when a person asks for a stop; may be called twice for one climb.

    A call that was cut off by a crash is repeated by the next daemon.
    """

    async def take(self, actor: Actor, inc: Incarnation, incident: Incident, rung: Rung) -> str:
        """Do it; returns what was done, for people. Whether it helped is watched afterwards.

        A respawn is only prepared here: checkpoint, and what the next generation has to know. Stop and spawn follow as effects
        of the fact that it is prepared.

        Raises:
            NotSaved: It might cost work, and that could not be saved.
            EnvmgrError: It could not be done; the next rung is chosen.
        """

    async def foresee(self, actor: Actor, inc: Incarnation, rung: Rung) -> str:
        """What `take` would do, for people; changes nothing."""
