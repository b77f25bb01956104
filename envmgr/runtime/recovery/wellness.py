"""Whether an agent is well: what is critical is ready, and its session lives. Not seeing is neither."""

from __future__ import annotations

from envmgr.core.replicas import FRONTS, expand
from envmgr.model.incident import Incident, Part
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.quarantine import KEEPER, WORKTREE
from envmgr.runtime.recovery.records import is_for_person

_GONE = ("AssistantExited", "SessionLost")
_WELL = (ServiceState.READY, ServiceState.DONE)
_DOWN = (ServiceState.FAILED, ServiceState.STOPPED)


def trouble(actor: Actor, inc: Incarnation, incident: Incident) -> Seen[str]:
    """What is not well, in words; Absent when everything critical is, Unknown when that cannot be seen.

    What had ended before the incident began, and is not its subject, is no business of a measure against it: nobody promised
    to bring that back, and its own incident tells of it.
    """
    for condition in actor.state.conditions:
        if condition.type in _GONE:
            return Present(condition.reason)
    doubts = ""
    for unit in _weighty(inc):
        if unit.name != incident.subject and _was_down(actor, unit.name, incident.opened_at):
            continue
        outcome = actor.services.get(unit.name, Outcome(state=ServiceState.UNKNOWN))
        if outcome.state is ServiceState.UNKNOWN:
            doubts = f"{unit.name} was not seen yet"
        elif outcome.state not in _WELL:
            return Present(
                f"{unit.name} is {outcome.state.value}" + (f": {outcome.detail}" if outcome.detail else "")
            )
    if any((c.type, c.subject) == ("Unobservable", "tmux") for c in actor.state.conditions):
        doubts = "the terminal server does not answer"
    return Unknown(doubts) if doubts else Absent()


def is_down(actor: Actor, incident: Incident) -> bool | None:
    """Whether what failed is still so, as its last observation says; None when that says nothing. What hangs has failed too."""
    if incident.part in (Part.ASSISTANT, Part.SESSION):
        return has_lost_session(actor)
    if incident.part is not Part.SERVICE:
        return None
    outcome = actor.services.get(incident.subject)
    if outcome is None or outcome.state not in (*_WELL, *_DOWN):
        return None
    return outcome.state in _DOWN


def is_left(actor: Actor, incident: Incident) -> bool:
    """It is about a service whose loss is only remarked, and a person was told: the agent itself goes on."""
    return is_for_person(incident) and is_minor(actor, incident)


def is_minor(actor: Actor, incident: Incident) -> bool:
    """Whether it is about a service without which the agent is whole."""
    return any(unit.name == incident.subject and not unit.critical for unit in expand(actor.spec.services))


def is_quarantined(actor: Actor, incident: Incident) -> bool:
    """Whether what stood in the way still does."""
    subjects = (incident.subject,) if incident.subject else (KEEPER, WORKTREE)
    return any(c.type == "Quarantined" and c.subject in subjects for c in actor.state.conditions)


def has_lost_session(actor: Actor) -> bool:
    """Its assistant has ended, or its terminal session is gone."""
    return any(condition.type in _GONE for condition in actor.state.conditions)


def failed_units(actor: Actor) -> list[str]:
    """Services that have ended by themselves or never began."""
    return [name for name, outcome in actor.services.items() if outcome.state is ServiceState.FAILED]


def is_in_hand(actor: Actor) -> bool:
    """Somebody is starting something: what is not ready yet may become so."""
    return bool(actor.in_hand or actor.pending or actor.changing)


def roots_are_well(actor: Actor, inc: Incarnation, unit: str) -> bool:
    """Whether everything that a unit depends on is well."""
    known = next((one for one in inc.services if one.name == unit), None)
    names = [edge.service for edge in known.depends_on] if known else []
    states = [actor.services.get(name, Outcome(state=ServiceState.UNKNOWN)).state for name in names]
    return all(state in _WELL for state in states)


def _was_down(actor: Actor, unit: str, before_at: float) -> bool:
    found = (c for c in actor.state.conditions if (c.type, c.subject) == ("ServiceDown", unit))
    return any(condition.since < before_at for condition in found)


def _weighty(inc: Incarnation) -> list[ServiceSpec]:
    """Instances are weighed by what stands in front of them."""
    fronts = {unit.name for unit in inc.services if unit.kind in FRONTS}
    return [
        unit
        for unit in inc.services
        if unit.critical and unit.kind is not ServiceKind.TASK and unit.replica_of not in fronts
    ]
