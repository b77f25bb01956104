"""What the ladder needs of its measures."""

from __future__ import annotations

from typing import Protocol

from envmgr.errors import Unavailable
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery.measure import Measure


class NotSaved(Unavailable):
    """The work could not be saved before a measure that might cost some, so it was not taken; nor are the others that might."""

    code = "unavailable.not_saved"


class Measures(Protocol):
    """Rungs 1 to 4. They take `actor.busy` themselves, are cancelled when a person asks for a stop, and may run twice for one climb.

    A respawn is only prepared: checkpoint, and what the next generation has to know. Stop and spawn follow as effects of the fact
    `RespawnPrepared`, which the conductor states.
    """

    async def act(self, actor: Actor, measure: Measure) -> str:
        """Do it; returns what was done, for people. Whether it helped is watched afterwards.

        Raises:
            Unobservable: Something does not answer; nothing was done, and it is asked for again later.
            NotSaved: It might cost work, and that could not be saved.
            EnvmgrError: It could not be done; the next rung is chosen.
        """
