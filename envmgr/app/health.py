"""How an agent's services are and have been: what their probes saw, over some time."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.app import health_text
from envmgr.app.context import App
from envmgr.app.health_text import AgentHealth, SampleView, UnitHealth
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, argument, option
from envmgr.app.spans import seconds
from envmgr.core.trend import percentile
from envmgr.errors import NotFound
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.series import Sample
from envmgr.runtime.actor import Actor

_METRICS = ("probe.ready", "probe.live", "probe.latency_s", "restarts")


class AskHealth(Ask):
    """Whose health, and of what time."""

    agent: str = argument("Name, id, or a unique beginning of either")
    service: str = argument("Only this service", default="")
    since: str = option("How far to look back: 90s, 30m, 6h, 2d", default="1h")


@operation(
    "agent.health",
    route="GET /api/v1/agents/{agent}/health",
    gives=AgentHealth,
    text=health_text.health,
    command="health",
)
async def health(ask: AskHealth, app: App) -> AgentHealth:
    """Show how an agent's services are and have been, as their probes saw it."""
    supervisor = app.agents
    actor = supervisor.find(ask.agent)
    inc = await supervisor.incarnation(actor)
    now = supervisor.systems.now()
    since_at = now - seconds(ask.since)
    units = [
        unit for unit in inc.services if unit.kind is not ServiceKind.TASK and _is_meant(unit, ask.service)
    ]
    if ask.service and not units:
        names = ", ".join(unit.name for unit in inc.services if unit.kind is not ServiceKind.TASK)
        raise NotFound(f"{inc.name} has no service {ask.service}", hint=f"There are: {names or 'none'}.")
    kept = await supervisor.systems.series.read(inc.id, since_at=since_at)
    wanted = {unit.name for unit in units}
    seen = [one for one in kept if one.subject in wanted and one.metric in _METRICS]
    return AgentHealth(
        agent=inc.name,
        at=now,
        since_at=since_at,
        suspended=await supervisor.pulse.look(),
        services=[_unit(actor, unit, [one for one in seen if one.subject == unit.name]) for unit in units],
        series=[
            SampleView(service=one.subject, metric=one.metric, at=one.at, value=one.value, count=one.count)
            for one in seen
        ],
    )


def _is_meant(unit: ServiceSpec, name: str) -> bool:
    return name in ("", unit.name, unit.replica_of)


def _unit(actor: Actor, unit: ServiceSpec, seen: Sequence[Sample]) -> UnitHealth:
    outcome = actor.services.get(unit.name)
    latencies = [one.value for one in seen if one.metric == "probe.latency_s"]
    ready = [one for one in seen if one.metric == "probe.ready"]
    live = [one for one in seen if one.metric == "probe.live"]
    return UnitHealth(
        name=unit.name,
        kind=unit.kind.value,
        state=outcome.state.value if outcome else "unknown",
        detail=outcome.detail if outcome else "",
        since=_since(actor, unit.name),
        probes=[key for key in ("startup", "ready", "live") if getattr(unit, key) is not None],
        looks=sum(one.count for one in ready),
        ready_rate=_mean(ready),
        live_rate=_mean(live),
        latency_p50_s=percentile(latencies, 0.5) if latencies else None,
        latency_p95_s=percentile(latencies, 0.95) if latencies else None,
        restarts=round(sum(one.value * one.count for one in seen if one.metric == "restarts")),
    )


def _since(actor: Actor, unit: str) -> float | None:
    """When it came to be as it is, where that is known: ready, or with a condition."""
    outcome = actor.services.get(unit)
    if outcome is not None and outcome.state is ServiceState.READY:
        return actor.ready_since.get(unit)
    return next((one.since for one in actor.state.conditions if one.subject == unit), None)


def _mean(seen: Sequence[Sample]) -> float | None:
    count = sum(one.count for one in seen)
    return sum(one.value * one.count for one in seen) / count if count else None
