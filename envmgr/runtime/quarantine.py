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

KEEPER, WORKTREE = "keeper", "worktree"
"""Subjects that are no services: a keeper that can be neither asked nor ended, a worktree that is somebody else's."""


async def put(
    supervisor: Supervisor, actor: Actor, inc: Incarnation, error: StopFailed, *, report: Report
) -> None:
    """Units whose processes survived KILL; `error.left` names them."""
    for unit, survivors in error.left.items():
        words = f"{', '.join(survivors)} cannot be ended"
        fact = Quarantined(generation=inc.generation, subject=unit, reason=words)
        await supervisor.apply(actor, fact)
        now = supervisor.systems.steady()
        symptom = Symptom(
            part=Part.SERVICE, subject=unit, words=f"{unit}: {words}", at=now, survivors=tuple(survivors)
        )
        report(actor, symptom)


async def put_part(
    supervisor: Supervisor, actor: Actor, inc: Incarnation, subject: str, reason: str, *, report: Report
) -> None:
    """A part that is no service: KEEPER or WORKTREE."""
    await supervisor.apply(actor, Quarantined(generation=inc.generation, subject=subject, reason=reason))
    part = Part.WORKSPACE if subject == WORKTREE else Part.SERVICE
    now = supervisor.systems.steady()
    report(actor, Symptom(part=part, words=f"{subject}: {reason}", at=now, survivors=(reason,)))


async def lift(supervisor: Supervisor, actor: Actor, inc: Incarnation, subject: str) -> None:
    """It is gone, or answers again. Costs nothing when nothing was in quarantine."""
    if any((c.type, c.subject) == ("Quarantined", subject) for c in actor.state.conditions):
        await supervisor.apply(actor, Quarantined(generation=inc.generation, subject=subject, reason=""))
