"""Which rung of the recovery ladder comes next, and why none below it.

Pure: the caller says what is known of the incident, what was done before and what time it is, and keeps the history. Times are those of
a steady clock: a wall clock that is set neither refills a budget nor empties one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from envmgr.core.counting import counted
from envmgr.model.incident import Climb, ClimbOutcome, FailureClass, Incident, Rung
from envmgr.model.recovery import MEASURES, RecoveryPolicy
from envmgr.model.service import Rate

_ACTS = (Rung.SERVICE, Rung.REALLOCATE, Rung.RESPAWN)
HELPS: Mapping[FailureClass, tuple[Rung, ...]] = {
    FailureClass.CRASH: _ACTS,
    FailureClass.HANG: (Rung.SERVICE, Rung.RESPAWN),
    FailureClass.DEPENDENCY: (Rung.SERVICE,),
    FailureClass.MEMORY: (Rung.REALLOCATE, Rung.RESPAWN),
    FailureClass.DISK: (Rung.REALLOCATE,),
    FailureClass.DESCRIPTORS: (Rung.REALLOCATE, Rung.RESPAWN),
    FailureClass.PORT_CONFLICT: (Rung.REALLOCATE,),
    FailureClass.NETWORK: (Rung.SERVICE,),
    FailureClass.ENGINE: (Rung.SERVICE,),
    FailureClass.CONFIGURATION: (),
    FailureClass.SESSION: (Rung.SESSION, Rung.RESPAWN),
    FailureClass.ASSISTANT: (Rung.SESSION, Rung.RESPAWN),
    FailureClass.WORKSPACE: (Rung.RESPAWN,),
    FailureClass.HOST: (Rung.SERVICE,),
    FailureClass.UNKNOWN: _ACTS,
}
"""The measures that can help against each class; a class without any needs a person at once."""

WAITED_OUT = (FailureClass.DEPENDENCY, FailureClass.NETWORK, FailureClass.ENGINE, FailureClass.HOST)
"""Classes whose cause is elsewhere: nothing is done until it has gone, and then only what is still down is started."""

_SAME_FAILURE = 3
_RESPAWN_DELAY_CAP_S = 600.0
_JITTER = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An automatic measure that was taken. `at` is steady time; `subject` the unit, for rung 1."""

    rung: Rung
    at: float
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the ladder is asked about.

    Attributes:
        acts: Automatic measures of this agent, oldest first.
        now: Steady time.
        is_exhausted: The restart policy has given up, or there is none that would.
        is_mid_edit: Its source is being changed just now.
        is_cause_gone: What the failure was caused by elsewhere is well again.
        is_unknown_again: The last incident of this agent was not understood either.
        is_talking: The agent waits for an answer of a person, or may not work for some time: its session is left alone.
        is_critical: The agent cannot do without it; else its session is not touched for it.
        is_asked_only: A person asked for one measure and nothing beyond it, and that did not help.
        pause: Why no measure at all is taken now, such as an open breaker.
        forbidden: Measures that cannot be taken, and why.
    """

    incident: Incident
    policy: RecoveryPolicy
    acts: Sequence[Act]
    now: float
    is_exhausted: bool = False
    is_mid_edit: bool = False
    is_cause_gone: bool = False
    is_unknown_again: bool = False
    is_talking: bool = False
    is_critical: bool = True
    is_asked_only: bool = False
    pause: str = ""
    forbidden: Mapping[Rung, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The measure to take: WAIT and PERSON are none. `because` says also why none below it."""

    rung: Rung
    because: str


def choose(case: Case) -> Choice:
    """The mildest measure that can help and may be taken."""
    diagnosis = case.incident.diagnosis
    if why := _hopeless(case):
        return Choice(rung=Rung.PERSON, because=why)
    if why := _not_now(case):
        return Choice(rung=Rung.WAIT, because=why)
    passed: list[str] = []
    floor = _floor(case)
    for rung in HELPS[diagnosis.failure]:
        why = _passed(case, rung, floor)
        if not why:
            return _talking_or(case, rung, passed)
        passed.append(f"{rung.word}: {why}")
    reasons = "; ".join(passed) or "nothing of what envmgr can do would help"
    return Choice(rung=Rung.PERSON, because=f"{_what(case)}; {reasons}")


def is_code_broken(incident: Incident) -> bool:
    """The same for the third time. Only what the output says can be recognised; an end without words may have any cause."""
    diagnosis = incident.diagnosis
    is_told = any(evidence.source == "log" for evidence in diagnosis.evidence)
    return diagnosis.failure is FailureClass.CRASH and is_told and incident.symptoms >= _SAME_FAILURE


def is_own_mistake(incident: Incident) -> bool:
    """The agent's code, its template or a limit of its own: nothing that the host, or another agent, has part in."""
    failure = incident.diagnosis.failure
    is_own_class = failure in (FailureClass.CONFIGURATION, FailureClass.MEMORY)
    return is_own_class or is_code_broken(incident) or _is_of_code(incident)


def _is_of_code(incident: Incident) -> bool:
    """Its own words say that its code failed, such as a syntax error: neither another port nor a new session mends that."""
    diagnosis = incident.diagnosis
    return diagnosis.failure is FailureClass.CRASH and diagnosis.evidence[0].source == "log"


def delay_s(policy: RecoveryPolicy, rung: Rung, acts: Sequence[Act], *, now: float, draw: float) -> float:
    """Seconds before a measure. `acts` hold it already; `draw` is uniform from [0, 1], so that many agents do not act in step."""
    base_s = policy.of(rung).delay_s
    if rung is Rung.RESPAWN:
        before = max(0, _count(acts, rung, policy.respawn.budget, now) - 1)
        base_s = min(max(base_s, _RESPAWN_DELAY_CAP_S), base_s * 2 ** min(before, 16))
    return base_s * (1 + _JITTER * draw)


def remembered(policy: RecoveryPolicy, acts: Sequence[Act], *, now: float) -> tuple[Act, ...]:
    """Those that a budget can still see."""
    widest_s = max(rate.window_s for rate in (policy.any, *(policy.of(rung).budget for rung in MEASURES)))
    return tuple(act for act in acts if act.at > now - widest_s)


def _hopeless(case: Case) -> str:
    """Why a person is needed whatever the budgets say; empty when not."""
    diagnosis = case.incident.diagnosis
    if diagnosis.entry is Rung.PERSON or not HELPS[diagnosis.failure]:
        return _what(case)
    if is_code_broken(case.incident) and not case.is_mid_edit:
        return f"{_what(case)}; the same failure for the third time, so it is the code that is broken"
    if diagnosis.failure is FailureClass.UNKNOWN and case.is_unknown_again and _failed(case.incident):
        return f"{_what(case)}; two failures in a row that nobody can explain"
    if case.is_asked_only:
        return f"{_what(case)}; what a person asked for did not help"
    if not case.policy.rungs:
        return f"{_what(case)}; the template allows no measure"
    return ""


def _not_now(case: Case) -> str:
    failure = case.incident.diagnosis.failure
    if case.pause:
        return case.pause
    if case.is_mid_edit and failure in (FailureClass.CRASH, FailureClass.UNKNOWN):
        return "its source was changed within the last minute"
    is_elsewhere = failure in WAITED_OUT or case.incident.diagnosis.entry is Rung.WAIT
    if is_elsewhere and not case.is_cause_gone:
        return f"{_what(case)}; the cause is elsewhere, so nothing is done until it has gone"
    return ""


def _floor(case: Case) -> Rung:
    """The mildest rung that is not yet known to be useless for this incident."""
    floor = max(case.incident.diagnosis.entry, Rung.SERVICE)
    if case.is_exhausted and floor is Rung.SERVICE and not case.is_cause_gone:
        floor = Rung.SESSION
    for climb in _since_it_held(case.incident):
        if climb.outcome is ClimbOutcome.GIVEN_UP:
            continue  # that it was cut off says nothing of it
        if climb.outcome is ClimbOutcome.FAILED and climb.rung is not Rung.WAIT:
            floor = max(floor, Rung(min(climb.rung + 1, Rung.PERSON)))
        floor = max(floor, climb.rung)
    return floor


def _passed(case: Case, rung: Rung, floor: Rung) -> str:
    """Why this measure is not taken; empty when it can be."""
    if rung < floor:
        return "tried, or known not to help"
    if rung not in case.policy.rungs:
        return "the template does not allow it"
    if why := case.forbidden.get(rung, "") or _beyond(case, rung):
        return why
    everything = case.policy.any
    if sum(act.at > case.now - everything.window_s for act in case.acts) >= everything.count:
        return f"{everything.count} measures within {_span(everything)} already"
    budget = case.policy.of(rung).budget
    subject = case.incident.subject if rung is Rung.SERVICE else None
    if _count(case.acts, rung, budget, case.now, subject) >= budget.count:
        return f"done {counted(budget.count, 'time')} within {_span(budget)} already"
    return ""


def _beyond(case: Case, rung: Rung) -> str:
    """Why it would disturb more than it can mend."""
    if rung >= Rung.REALLOCATE and _is_of_code(case.incident):
        return "its log says that the code is broken"
    return "" if case.is_critical or rung in (Rung.SERVICE, Rung.REALLOCATE) else "it is not critical"


def _talking_or(case: Case, rung: Rung, passed: Sequence[str]) -> Choice:
    if case.is_talking and rung >= Rung.SESSION:
        return Choice(rung=Rung.WAIT, because=f"{rung.word} would help, but the agent waits for an answer")
    return Choice(rung=rung, because="; ".join((_what(case), *passed)))


def _what(case: Case) -> str:
    subject = f" of {case.incident.subject}" if case.incident.subject else ""
    return f"{case.incident.diagnosis.failure.value}{subject}: {case.incident.words}"


def _failed(incident: Incident) -> bool:
    return any(climb.outcome is ClimbOutcome.FAILED for climb in incident.climbs)


def _since_it_held(incident: Incident) -> Sequence[Climb]:
    """After a measure that held the ladder is entered anew; what it cost stays counted in the budgets."""
    held = [n for n, climb in enumerate(incident.climbs) if climb.outcome is ClimbOutcome.HELD]
    return incident.climbs[held[-1] + 1 :] if held else incident.climbs


def _count(acts: Sequence[Act], rung: Rung, rate: Rate, now: float, subject: str | None = None) -> int:
    return sum(
        act.rung is rung and act.at > now - rate.window_s and subject in (None, act.subject) for act in acts
    )


def _span(rate: Rate) -> str:
    if rate.window_s >= 3600:
        return f"{rate.window_s / 3600:g} h"
    return f"{rate.window_s / 60:g} min" if rate.window_s >= 60 else f"{rate.window_s:g} s"
