"""Turn what the supervisor knows into views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import anyio

from envmgr.app import views
from envmgr.model.agent import Activity, AgentState, Desired, Lifecycle
from envmgr.model.event import Event
from envmgr.model.ids import image_name
from envmgr.model.incident import ClimbOutcome, Incident, Rung
from envmgr.model.observe import Present, Seen, Unknown
from envmgr.model.service import ServiceSpec, ServiceState
from envmgr.model.spec import AgentSpec
from envmgr.protocols.scopes import Scopes
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import addresses, begun, owning, sharing, tiers
from envmgr.runtime.actor import Actor
from envmgr.runtime.begun import Begun
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supervisor import Supervisor

_ID_CHARS = 12
_ENGINE_S = 2.0
_TROUBLES = (
    "ServiceDown",
    "ServiceDegraded",
    "SessionLost",
    "AssistantExited",
    "Unobservable",
    "Quarantined",
)


def agent_view(actor: Actor, supervisor: Supervisor) -> views.AgentView:
    """An agent as it is now."""
    state, spec = actor.state, actor.spec
    inc = actor.incarnation
    return views.AgentView(
        id=state.id,
        name=state.name,
        lifecycle=state.lifecycle.value,
        activity=state.activity.value if state.activity else None,
        activity_source=state.evidence.source.value if state.evidence and state.activity else None,
        generation=state.generation,
        reason=state.reason,
        since=state.since,
        activity_since=state.activity_since,
        template=spec.template,
        assistant=spec.assistant.kind,
        repo=spec.repo,
        branch=spec.workspace.branch,
        worktree=str(inc.path) if inc else "",
        origin=f"{spec.origin.agent}, snapshot {spec.origin.snapshot}" if spec.origin else "",
        conditions=[
            *(
                views.ConditionView(type=c.type, subject=c.subject, reason=c.reason, since=c.since)
                for c in state.conditions
            ),
            *_half_restored(actor),
            *_coming_back(actor),
        ],
        services=[_service(actor, service, supervisor) for service in spec.services],
    )


async def begun_by(inc: Incarnation) -> dict[str, object]:
    """Fields of the agent's view about what it has begun itself; the engine is asked, and given little time."""
    if inc.systems.engine is None:
        return {}
    seen: Seen[Begun] = Unknown("the container engine is slow")
    with anyio.move_on_after(_ENGINE_S):
        seen = await begun.find(inc.systems.engine, begun.trace(inc))
    match seen:
        case Present(found):
            return {"begun": [*_begun_containers(found), *_begun_rest(found)]}
        case Unknown(reason):
            return {"begun_unknown": reason}
    return {}


def _begun_containers(found: Begun) -> Iterator[views.BegunView]:
    for one in (*found.containers, *found.kept):
        yield views.BegunView(
            kind="container", name=one.name, id=one.id[:_ID_CHARS], image=one.image, state=one.state,
            kept=one in found.kept,
        )  # fmt: skip


def _begun_rest(found: Begun) -> Iterator[views.BegunView]:
    yield from (views.BegunView(kind="network", name=name) for name in found.networks)
    yield from (views.BegunView(kind="volume", name=name) for name in found.volumes)


def _service(actor: Actor, service: ServiceSpec, supervisor: Supervisor) -> views.ServiceView:
    inc = actor.incarnation
    outcome = actor.services.get(service.name)
    leased = [p for p in service.ports if inc and (service.name, p.name) in inc.ports]
    is_over = actor.state.lifecycle in (Lifecycle.STOPPED, Lifecycle.ERROR) and not actor.state.holds
    if is_over and outcome is not None and outcome.state is not ServiceState.FAILED:
        outcome = None  # it was taken back with the others
    known = "stopped" if is_over or actor.state.lifecycle is Lifecycle.STOPPED else "unknown"
    return views.ServiceView(
        name=service.name,
        kind=service.kind.value,
        state=outcome.state.value if outcome else known,
        detail=outcome.detail if outcome else "",
        ports={p.name: inc.port(service.name, p.name) for p in leased if inc and not is_over},
        urls=[addresses.url(inc, service, p) for p in leased if inc and not is_over],
        container=_container(inc, service) if inc and not is_over else None,
        limits=_limits(service, supervisor.systems.scopes, _template_memory(actor.spec, service)),
        instances=[
            _service(actor, unit, supervisor)
            for unit in (inc.services if inc else ())
            if unit.replica_of == service.name
        ],
        shared_by=_sharers(actor, service, supervisor) if service.is_shared else [],
    )


def _limits(service: ServiceSpec, scopes: Scopes, raised_from: str) -> list[views.LimitView]:
    words = {"memory": raised_from}
    return [
        views.LimitView(name=one.name, value=one.value + words.get(one.name, ""), tier=one.tier.value)
        for one in tiers.in_force(service, scopes)
    ]


def _template_memory(spec: AgentSpec, service: ServiceSpec) -> str:
    """That a recovery has raised the limit of memory, and from what."""
    noted = spec.asked.raised.get(service.replica_of or service.name) if spec.asked else None
    if noted is None or noted.template.memory_bytes is None:
        return ""
    return f" (raised by a recovery; the template says {tiers.megabytes(noted.template.memory_bytes)})"


def _sharers(actor: Actor, service: ServiceSpec, supervisor: Supervisor) -> list[str]:
    """Agents of the repository that use the same instance just now."""
    return sorted(
        other.state.name
        for other in supervisor.actors()
        if other.spec.repo == actor.spec.repo
        and (other.state.lifecycle in (Lifecycle.SPAWNING, Lifecycle.RUNNING) or other.state.holds)
        and any(s.is_shared and s.name == service.name for s in other.spec.services)
    )


def _container(inc: Incarnation, service: ServiceSpec) -> views.ContainerView | None:
    """As last seen; the engine is not asked."""
    if service.container is None or inc.systems.watch is None:
        return None
    owner = sharing.runs_in(inc, service)
    seen = (c for c in inc.systems.watch.of(owner.id) if owning.unit_of(owner, c) == service.name)
    found = next(seen, None)
    return views.ContainerView(
        id=found.id[:_ID_CHARS] if found else "",
        name=owning.container(owner, service.name),
        image=service.container.image or image_name(owner.id, service.replica_of or service.name),
        published={f"{port}/{kind}": host for (port, kind), host in found.published.items()} if found else {},
    )


def _half_restored(actor: Actor) -> list[views.ConditionView]:
    if not actor.unfinished:
        return []
    return [views.ConditionView(type="HalfRestored", reason=actor.unfinished, since=actor.state.since)]


def _coming_back(actor: Actor) -> list[views.ConditionView]:
    if not actor.restoring:
        return []
    reason = f"the machine was restarted; it {actor.restoring}"
    return [views.ConditionView(type="Restoring", reason=reason, since=actor.state.since)]


def snapshot_view(snapshot: Snapshot) -> views.SnapshotView:
    """A snapshot with what is inside."""
    return views.SnapshotView(
        id=snapshot.id,
        name=snapshot.name,
        label=snapshot.label,
        kind=snapshot.kind.value,
        repo=snapshot.repo,
        branch=snapshot.branch,
        ref=snapshot.ref,
        at=snapshot.at,
        restored=snapshot.restored,
        volumes=[views.SavedVolumeView(name=v.name, bytes=v.bytes) for v in snapshot.volumes],
        bytes=snapshot.bytes,
        reason=snapshot.reason,
    )


def listed_snapshot(snapshot: Snapshot, supervisor: Supervisor) -> views.SnapshotView:
    """The same, with what `undo` would do with it now."""
    what = ""
    if supervisor.actor(snapshot.agent) is None:
        what = "brings the agent back" if snapshot.can_return else ""
    elif snapshot.kind in (SnapshotKind.RESTORE, SnapshotKind.CHECKPOINT):
        what = f"puts its files{' and volumes' if snapshot.volumes else ''} back"
    return snapshot_view(snapshot).model_copy(update={"undo": what})


def event_view(event: Event, supervisor: Supervisor) -> views.EventView:
    """A stored event, with the agent's name if it still exists."""
    actor = next((a for a in supervisor.actors() if a.state.id == event.agent), None)
    name = actor.state.name if actor else str(event.data.get("name", ""))
    return views.EventView(
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        agent=event.agent,
        name=name,
        generation=event.generation,
        cause=event.cause,
        data=dict(event.data),
    )


def what_next(state: AgentState) -> str:
    """One sentence on what happens next, and what a person can do."""
    name = state.name
    if state.desired is Desired.REMOVED:
        return "envmgr is removing it."
    match state.lifecycle:
        case Lifecycle.SPAWNING:
            return "envmgr goes on with the steps above; `envmgr stop` cancels and takes them back."
        case Lifecycle.STOPPING:
            return "envmgr ends what is left, then verifies that nothing is."
        case Lifecycle.STOPPED:
            return f"nothing until you ask: `envmgr start {name}`, or `envmgr rm {name}`."
        case Lifecycle.ERROR if state.rung is Rung.PERSON:
            return (
                f"nothing until you mend it, what is left of it runs: `envmgr incidents --show {state.incident}`,"
                f" then `envmgr recover {name}`."
            )
        case Lifecycle.ERROR if state.holds:
            return f"nothing until you ask: `envmgr stop {name}` releases what it still holds."
        case Lifecycle.ERROR:
            return (
                f"nothing until you ask: mend the cause, then `envmgr start {name}`, or `envmgr rm {name}`."
            )
        case Lifecycle.RUNNING if state.rung is not None:
            return f"envmgr mends it: `envmgr incidents --show {state.incident}`; a stop comes first."
        case Lifecycle.RUNNING:
            return _running_next(state)


def what_mends(actor: Actor, safe_mode: str, open_: Sequence[Incident]) -> str:
    """What envmgr will do about the trouble of an agent that runs; empty when it has none, or something is done just now."""
    state = actor.state
    down = [c for c in state.conditions if c.type in _TROUBLES]
    if state.lifecycle is not Lifecycle.RUNNING or state.rung is not None or not (down or actor.pending):
        return ""
    waits = [i for i in open_ if i.climbs and i.climbs[-1].outcome is ClimbOutcome.RUNNING]
    see = f" See `envmgr incidents --show {waits[-1].id}`." if waits else ""
    if safe_mode:
        held = f" (held back: {', '.join(sorted(actor.pending))})" if actor.pending else ""
        return f"nothing by itself in safe mode{held}: {safe_mode}; `envmgr safe-mode off` ends it.{see}"
    if actor.pending:
        return f"{', '.join(sorted(actor.pending))} is started again soon, as its restart policy says.{see}"
    if waits and waits[-1].climbs[-1].rung is Rung.WAIT:
        return f"envmgr waits: {waits[-1].climbs[-1].because}.{see}"
    named = ", ".join(c.subject or c.type for c in down)
    return f"it runs without what is wrong: {named}; `envmgr recover {state.name}` takes a measure now.{see}"


def _running_next(state: AgentState) -> str:
    match state.activity:
        case Activity.AWAITING_INPUT:
            return f"it waits for you: `envmgr attach {state.name}`."
        case Activity.READY:
            return f"it waits for work: `envmgr send {state.name} PROMPT`, or `envmgr attach {state.name}`."
        case Activity.WORKING | Activity.VALIDATING:
            return f"it works; watch with `envmgr attach {state.name}`."
        case None:
            return f"it runs; this assistant does not report what it does. `envmgr attach {state.name}` shows it."
