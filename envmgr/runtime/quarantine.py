"""What can be neither adopted nor ended: remarked durably, a person is asked, and nothing is started beside it.

That nothing is started is no lock of its own: every start of a unit comes after a verified end of its last launch, and every
spawn after a verified stop. Here it is said why that end did not come.
"""

from __future__ import annotations

from envmgr.errors import StopFailed
from envmgr.model.incident import Part, Symptom
from envmgr.model.stimulus import Quarantined
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reporting import Report
from envmgr.runtime.supervisor import Supervisor

KEEPER = "keeper"
"""Its subject when it is the keeper itself that can be neither asked nor ended."""


async def put(
    supervisor: Supervisor, actor: Actor, inc: Incarnation, error: StopFailed, *, report: Report
) -> None:
    """Units whose processes survived KILL; `error.left` names them."""
    for unit, survivors in error.left.items():
        words = f"{', '.join(survivors)} cannot be ended"
        fact = Quarantined(generation=inc.generation, subject=unit, reason=words)
        await supervisor.apply(actor, fact)
        report(actor, _symptom(unit, f"{unit}: {words}", tuple(survivors), supervisor.systems.now()))


async def put_keeper(
    supervisor: Supervisor, actor: Actor, inc: Incarnation, reason: str, *, report: Report
) -> None:
    """All that a keeper holds, which answers nobody and is not surely the one that may be ended."""
    fact = Quarantined(generation=inc.generation, subject=KEEPER, reason=reason)
    await supervisor.apply(actor, fact)
    report(actor, _symptom("", f"its keeper: {reason}", (reason,), supervisor.systems.now()))


async def lift(supervisor: Supervisor, actor: Actor, inc: Incarnation, subject: str) -> None:
    """It is gone, or answers again. Costs nothing when nothing was in quarantine."""
    if any((c.type, c.subject) == ("Quarantined", subject) for c in actor.state.conditions):
        await supervisor.apply(actor, Quarantined(generation=inc.generation, subject=subject, reason=""))


def _symptom(unit: str, words: str, survivors: tuple[str, ...], at: float) -> Symptom:
    return Symptom(part=Part.SERVICE, subject=unit, words=words, at=at, survivors=survivors)
