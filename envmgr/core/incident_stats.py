"""What past incidents say of a template: how often, how long until it was mended, which measure helps, what comes again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from envmgr.model.incident import Climb, ClimbOutcome, FailureClass, Incident, Part, Rung
from envmgr.model.recovery import MEASURES

_SAME_IN_AGENTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RungStats:
    """A measure: how often it was taken, and how often it helped."""

    rung: Rung
    taken: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateStats:
    """Of one template.

    Attributes:
        mended: Incidents after which all was well by a measure.
        mttr_s: Mean seconds from the first symptom of those until the measure that held was known to hold; None without any.
        problems: What several agents of it have in common: that is the template, not an agent.
    """

    template: str
    incidents: int
    mended: int
    mttr_s: float | None
    rungs: tuple[RungStats, ...]
    problems: tuple[str, ...]


def stats(incidents: Sequence[Incident]) -> Sequence[TemplateStats]:
    """Most incidents first."""
    templates = Counter(incident.template for incident in incidents)
    return [_of(name, [i for i in incidents if i.template == name]) for name, _ in templates.most_common()]


def _of(template: str, incidents: Sequence[Incident]) -> TemplateStats:
    times = [time_s for incident in incidents if (time_s := _mended_after(incident)) is not None]
    climbs = [climb for incident in incidents for climb in incident.climbs]
    return TemplateStats(
        template=template,
        incidents=len(incidents),
        mended=len(times),
        mttr_s=sum(times) / len(times) if times else None,
        rungs=tuple(_rung(rung, climbs) for rung in MEASURES if any(c.rung is rung for c in climbs)),
        problems=tuple(_problems(incidents)),
    )


def _mended_after(incident: Incident) -> float | None:
    held = [c for c in incident.climbs if c.outcome is ClimbOutcome.HELD and c.rung in MEASURES]
    return max(0.0, (held[-1].ended_at or held[-1].at) - incident.opened_at) if held else None


def _rung(rung: Rung, climbs: Sequence[Climb]) -> RungStats:
    ended = [c for c in climbs if c.rung is rung and c.outcome in (ClimbOutcome.HELD, ClimbOutcome.FAILED)]
    return RungStats(rung=rung, taken=len(ended), held=sum(c.outcome is ClimbOutcome.HELD for c in ended))


def _is_killed(incident: Incident) -> bool:
    """Ended by a signal without a word of its own: somebody's act, from which nothing follows for the template."""
    sources = {evidence.source for evidence in incident.diagnosis.evidence}
    return "SIGKILL" in incident.words and "log" not in sources


def _problems(incidents: Sequence[Incident]) -> Sequence[str]:
    agents: dict[tuple[str, FailureClass, str], set[str]] = {}
    told = (i for i in incidents if i.part is not Part.SESSION and not _is_killed(i))
    for incident in told:
        key = (
            incident.subject or incident.part.value,
            incident.diagnosis.failure,
            incident.diagnosis.fingerprint,
        )
        agents.setdefault(key, set()).add(incident.name)
    return [
        f"{subject} fails in the same way ({failure.value}) in {len(names)} agents: {', '.join(sorted(names))}"
        for (subject, failure, _), names in agents.items()
        if len(names) >= _SAME_IN_AGENTS
    ]
