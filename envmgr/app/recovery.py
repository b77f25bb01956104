"""Operations on failures: what happened, what was done, and what a person wants done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from envmgr.app import recovery_views as views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, argument, option
from envmgr.app.spans import seconds
from envmgr.core.incident_stats import TemplateStats, stats
from envmgr.errors import NotFound, UsageError
from envmgr.model.incident import Incident, Rung
from envmgr.runtime.recovery.by_hand import Foretold

RungWord = Literal["service", "session", "realloc", "respawn"]
_RUNGS = {rung.word: rung for rung in Rung}


class AskIncidents(Ask):
    """Which incidents."""

    agent: str = argument("Name or id of an agent, also of a removed one; all when left out", default="")
    open: bool = option("Only those that are not over", default=False)
    since: str = option("How far to look back: 90s, 30m, 6h, 2d", default="7d")
    show: int = option("One, by its number, with evidence and measures", default=0)
    stats: bool = option(
        "By template: time to recovery, success of each measure, what repeats", default=False
    )
    limit: int = option("At most so many", default=200, ge=1, le=10_000)


class AskRecover(Ask):
    """Whom to recover, and how."""

    agent: str = argument("Name or id", default="")
    from_: RungWord | None = option(
        "Take this measure: service, session, realloc or respawn; without it the mildest that can help",
        default=None,
    )
    dry_run: bool = option("Only tell what would be done, and what is left of the budgets", default=False)
    reset_budget: bool = option("Forget how often measures were taken already", default=False)
    all: bool = option("Leave safe mode: envmgr mends by itself again", default=False)


class AskSafeMode(Ask):
    """Whether to change it."""

    set: Literal["", "on", "off"] = argument("on or off; shown when left out", default="")


@operation(
    "incidents",
    route="GET /api/v1/incidents",
    gives=views.IncidentList,
    text=views.incidents,
    command="incidents",
)
async def incidents(ask: AskIncidents, app: App) -> views.IncidentList:
    """List failures, what they were taken for, and what was done about them."""
    supervisor = app.agents
    store, now = supervisor.systems.store, supervisor.systems.now()
    if ask.show:
        one = await store.read(lambda tx: tx.incident(ask.show))
        if one is None:
            raise NotFound(f"no incident {ask.show}", hint="See `envmgr incidents`.")
        return views.IncidentList(
            incidents=[_incident(one, app)], details=True, safe_mode=supervisor.safe_mode
        )
    after_at = now - seconds(ask.since)
    mine = await store.read(
        lambda tx: tx.incidents(agent=ask.agent, open_only=ask.open, after_at=after_at, limit=ask.limit)
    )
    if ask.agent and not mine:
        supervisor.named(ask.agent)  # an unknown name is told as one
    if ask.stats:
        told = [_stats(one) for one in stats(mine)]
        return views.IncidentList(stats=told, safe_mode=supervisor.safe_mode)
    return views.IncidentList(incidents=[_incident(one, app) for one in mine], safe_mode=supervisor.safe_mode)


@operation(
    "agent.recover",
    route="POST /api/v1/recover",
    gives=views.RecoveryView,
    text=views.recovery,
    touch=Touch.WRITE,
    command="recover",
)
async def recover(ask: AskRecover, app: App) -> views.RecoveryView:
    """Take a measure of the recovery ladder now, whatever the budgets say; or tell which one would be taken."""
    conductor = app.conductor
    if ask.all and ask.agent:
        hint = f"Say `envmgr recover {ask.agent}`, or leave safe mode with `envmgr recover --all`."
        raise UsageError("--all leaves safe mode and goes with no agent", hint=hint)
    if ask.all:
        await conductor.gate.leave_safe_mode(by="a person")
        conductor.wake()
        return views.RecoveryView(agent="", rung="wait", because="Safe mode is off; envmgr mends by itself.")
    if not ask.agent:
        raise UsageError("whom to recover?", hint="Name an agent, or leave safe mode with --all.")
    actor = app.agents.named(ask.agent)
    rung = _RUNGS[ask.from_] if ask.from_ else None
    if ask.reset_budget and not ask.dry_run:
        await conductor.by_hand.refill(actor)
    foretold = await conductor.by_hand.foretell(actor, rung)
    number = foretold.incident.id if foretold.incident else 0
    if not ask.dry_run:
        taken = await conductor.by_hand.recover(actor, rung, cause="recover")
        number = taken.id if taken is not None else 0
    return views.RecoveryView(
        agent=actor.state.name,
        rung=foretold.rung.word,
        because=foretold.because,
        dry_run=ask.dry_run,
        incident=number,
        budgets=_budgets(foretold),
    )


@operation(
    "host.safe_mode",
    route="POST /api/v1/safe-mode",
    gives=views.SafeModeView,
    text=views.safe_mode,
    touch=Touch.WRITE,
    command="safe-mode",
)
async def safe_mode(ask: AskSafeMode, app: App) -> views.SafeModeView:
    """Show safe mode, or switch it: on, nothing is spawned and nothing mended by itself; what runs goes on."""
    gate = app.conductor.gate
    if ask.set == "on":
        await gate.enter_safe_mode("a person switched it on", by_person=True)
    elif ask.set == "off":
        await gate.leave_safe_mode(by="a person")
    app.conductor.wake()
    safe = gate.state.safe
    return views.SafeModeView(
        on=safe is not None, reason=safe.reason if safe else "", since=safe.since if safe else None
    )


def _budgets(foretold: Foretold) -> list[views.BudgetView]:
    return [views.BudgetView(rung=rung.word, left=left, of=count) for rung, left, count in foretold.left]


def _incident(one: Incident, app: App) -> views.IncidentView:
    known = one.diagnosis
    return views.IncidentView(
        id=one.id,
        agent=one.agent,
        name=one.name,
        generation=one.generation,
        template=one.template,
        part=one.part.value,
        service=one.subject,
        words=one.words,
        failure=known.failure.value,
        confidence=known.confidence,
        fingerprint=known.fingerprint,
        advice=known.advice,
        evidence=[views.SignView(source=e.source, text=e.text) for e in known.evidence],
        climbs=_climbs(one),
        symptoms=one.symptoms,
        opened_at=one.opened_at,
        seen_at=one.seen_at,
        closed_at=one.closed_at,
        bundle=str(app.agents.layout.incidents / one.bundle) if one.bundle else "",
    )


def _climbs(one: Incident) -> list[views.ClimbView]:
    return [
        views.ClimbView(
            rung=climb.rung.word,
            outcome=climb.outcome.value,
            at=climb.at,
            ended_at=climb.ended_at,
            because=climb.because,
            result=climb.result,
        )
        for climb in one.climbs
    ]


def _stats(one: TemplateStats) -> views.TemplateStatsView:
    rungs: Sequence[views.RungStatsView] = [
        views.RungStatsView(rung=r.rung.word, taken=r.taken, held=r.held) for r in one.rungs
    ]
    return views.TemplateStatsView(
        template=one.template,
        incidents=one.incidents,
        mended=one.mended,
        mttr_s=one.mttr_s,
        rungs=list(rungs),
        problems=list(one.problems),
    )
