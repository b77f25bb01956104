"""Own the agents of this host: apply stimuli one by one, commit, then act."""

from __future__ import annotations

import difflib
import logging
import secrets as randomness
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core import invariants
from envmgr.core.decision import Decision
from envmgr.core.lifecycle import decide
from envmgr.errors import Conflict, EnvmgrError, IllegalTransition, NotFound
from envmgr.model.agent import AgentState
from envmgr.model.event import Event, NewEvent
from envmgr.model.ids import AgentId, InstanceId
from envmgr.model.spec import AgentSpec, PortsPolicy
from envmgr.model.stimulus import ActivityReported, RemoveRequested, SpawnRequested, Stimulus, StopRequested
from envmgr.protocols.store import AgentRecord, OwedEffect, Transaction
from envmgr.protocols.workspaces import Repository
from envmgr.runtime import admission
from envmgr.runtime.actor import Actor
from envmgr.runtime.admission import Refused
from envmgr.runtime.bus import Bus
from envmgr.runtime.incarnation import Incarnation, Layout, Systems
from envmgr.runtime.measures import Measures
from envmgr.runtime.pulse import Pulse
from envmgr.runtime.rebuild import rebuild
from envmgr.runtime.room import Found, HostLimits, Room
from envmgr.runtime.saga import never

log = logging.getLogger(__name__)

_ID_BYTES = 4
_ENDED = frozenset({"assistant.exited", "session.lost", "agent.error"})
"""Nobody is the agent any more after these, whatever is left of its processes; the next start gives a new key."""

Perform = Callable[..., Coroutine[None, None, None]]
"""(actor, owed effect, was_cut_off=False): carry it out and settle it by the fact it ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say about this host."""

    limits: HostLimits = HostLimits()
    ports: PortsPolicy = PortsPolicy()
    validate: bool = False


class Supervisor:
    """Agents by id. `start` before anything else; all methods belong to the event loop's thread.

    Attributes:
        safe_mode: Why nothing is begun by itself, and nothing spawned; empty as a rule.
        measures: What agents and host use, as last seen.
    """

    def __init__(
        self,
        systems: Systems,
        layout: Layout,
        instance: InstanceId,
        *,
        bus: Bus,
        policy: Policy,
        perform: Perform,
        reach: Callable[[str], None] = never,
        pulse: Pulse | None = None,
    ) -> None:
        """`reach` is called at each named crash point of what is no effect."""
        self.pulse = pulse or Pulse()
        self.systems = systems
        self.layout = layout
        self.instance = instance
        self.bus = bus
        self.reach = reach
        self.safe_mode = ""
        self.measures = Measures()
        self.safe_mode = ""
        self._policy = policy
        self._perform = perform
        self._actors: dict[AgentId, Actor] = {}
        self._group: TaskGroup | None = None

    def start(self, group: TaskGroup) -> None:
        """Effects run in `group` from now on."""
        self._group = group

    # --- looking -----------------------------------------------------------------------------------------

    def actors(self) -> Sequence[Actor]:
        """All agents, oldest first."""
        return sorted(self._actors.values(), key=lambda actor: actor.created_at)

    def actor(self, agent: AgentId) -> Actor | None:
        """One agent by id."""
        return self._actors.get(agent)

    def named(self, reference: str) -> Actor:
        """By its whole name or id: a typing mistake must not destroy another one.

        Raises:
            NotFound: None is called like that; the hint names those that begin so.
        """
        exact = [a for a in self.actors() if reference in (a.state.name, a.state.id)]
        if exact:
            return exact[0]
        meant = self.find(reference).state.name
        raise NotFound(f"no agent {reference}", hint=f"This needs the whole name: did you mean {meant}?")

    def find(self, reference: str) -> Actor:
        """By name, id, or a unique beginning of either.

        Raises:
            NotFound: None, or several begin like that; the hint names them.
        """
        actors = self.actors()
        exact = [a for a in actors if reference in (a.state.name, a.state.id)]
        close = [a for a in actors if a.state.name.startswith(reference) or a.state.id.startswith(reference)]
        if len(exact or close) == 1:
            return (exact or close)[0]
        names = [a.state.name for a in (close or actors)]
        if close:
            raise NotFound(f"{reference} could be {_listed(names)}", hint="Give more of the name.")
        near = difflib.get_close_matches(reference, names, n=1)
        hint = f"There are: {_listed(names)}." if names else "Spawn one: `envmgr spawn --template web`."
        raise NotFound(f"no agent {reference}", hint=f"Did you mean {near[0]}?" if near else hint)

    # --- asking ------------------------------------------------------------------------------------------

    async def spawn(
        self, spec: AgentSpec, *, repo: Repository, environment: Mapping[str, str], cause: str
    ) -> Actor:
        """Admit and record a new agent, and begin to spawn it; returns at once.

        Raises:
            Conflict: The name is taken.
            Refused: The host has no room.
        """
        self._admit(spec, await self._look(spec))
        now = self.systems.now()
        blank = AgentState(id=AgentId(randomness.token_hex(_ID_BYTES)), name=spec.name, since=now)
        decision = decide(blank, SpawnRequested(), now)
        actor = Actor(decision.state, spec, 0, now)
        actor.environment = environment
        actor.repo = repo
        # The name counts as taken from here on, also for spawns that ask while this one is being written.
        if any(a.state.name == spec.name for a in self._actors.values()):
            raise Conflict(
                f"an agent named {spec.name} exists",
                hint=f"Start it again with `envmgr start {spec.name}`, remove it, or choose another --name.",
            )
        self._actors[actor.state.id] = actor

        def insert(tx: Transaction) -> tuple[Sequence[Event], Sequence[OwedEffect]]:
            tx.insert_agent(AgentRecord(state=decision.state, spec=spec, version=0, created_at=now))
            return _commit(tx, decision, cause, now)

        with anyio.CancelScope(shield=True):
            try:
                events, owed = await self.systems.store.write(insert)
            except BaseException:
                del self._actors[actor.state.id]
                raise
            self._follow_up(actor, events, owed)
        return actor

    async def start_again(self, actor: Actor, *, environment: Mapping[str, str], cause: str) -> None:
        """Spawn a new generation on the same worktree.

        Raises:
            IllegalTransition: It is not stopped, or a restore was begun and not finished.
        """
        if actor.unfinished:
            raise IllegalTransition(
                f"{actor.state.name} is half restored: {actor.unfinished}",
                hint=f"Restore it again: `envmgr snapshot list {actor.state.name}`, then `envmgr snapshot restore`.",
            )
        self._admit(actor.spec, await self._look(actor.spec), without=actor)
        actor.environment = environment or actor.environment
        actor.is_admitted = True
        try:
            await self.apply(actor, SpawnRequested(), cause=cause)
        finally:
            actor.is_admitted = False

    async def stop(self, actor: Actor, *, by: str, cause: str) -> None:
        """Ask for a stop; returns at once. Stopping a stopped agent does nothing."""
        await self.apply(actor, StopRequested(by=by), cause=cause)

    async def remove(self, actor: Actor, *, cause: str) -> None:
        """Ask for the removal of a stopped agent; what is at risk was settled by the caller."""
        await self.apply(actor, RemoveRequested(), cause=cause)

    @property
    def room(self) -> Room:
        """What agents take of this host."""
        return Room(
            actors=self.actors,
            measures=self.measures,
            limits=self._policy.limits,
            now=self.systems.now,
            pool=self._policy.ports,
        )

    async def _look(self, spec: AgentSpec) -> Found:
        return await admission.look(Path(spec.repo), self.systems, self.layout)

    def _admit(self, spec: AgentSpec, found: Found, *, without: Actor | None = None) -> None:
        if self.safe_mode:
            raise Refused(
                f"safe mode: {self.safe_mode}",
                hint="Look at `envmgr incidents --open`, then leave it with `envmgr safe-mode off`.",
            )
        admission.admit(spec, self.room, found, without=without)

    # --- the one way in which anything changes -------------------------------------------------------------

    async def apply(
        self, actor: Actor, stimulus: Stimulus, *, cause: str = "", settles: int | None = None
    ) -> Decision:
        """Decide, commit state, events and owed effects in one transaction, then let the effects run.

        Args:
            settles: The owed effect that this fact completes; settled in the same transaction.

        Raises:
            IllegalTransition: A request that does not fit; nothing changed.
        """
        async with actor.lock:
            now = self.systems.now()
            decision = decide(actor.state, stimulus, now)
            self._check(actor.state, stimulus, decision)
            if decision.ignored and settles is None:
                log.debug("stimulus ignored", extra={"agent": actor.state.id, "why": decision.ignored})
                return decision
            expect = actor.version

            def change(tx: Transaction) -> tuple[int, Sequence[Event], Sequence[OwedEffect]]:
                version = expect if decision.ignored else tx.save_state(decision.state, expect=expect)
                events, owed = _commit(tx, decision, cause, now)
                if self.systems.keys is not None and any(event.kind in _ENDED for event in events):
                    self.systems.keys.revoke_agent(tx, actor.state.id)
                if settles is not None:
                    tx.settle(settles)
                if decision.forget:
                    tx.delete_agent(decision.state.id)
                return version, events, owed

            # A caller that goes away must not leave memory behind what is committed.
            with anyio.CancelScope(shield=True):
                actor.version, events, owed = await self.systems.store.write(change)
                actor.state = decision.state
                if decision.forget:
                    actor.is_gone = True
                    del self._actors[actor.state.id]
                if isinstance(stimulus, ActivityReported) and not decision.ignored:
                    actor.reports.put(stimulus.activity)
                self._follow_up(actor, events, owed)
        return decision

    def _check(self, before: AgentState, stimulus: Stimulus, decision: Decision) -> None:
        if self._policy.validate and (broken := invariants.broken(before, stimulus, decision)):
            raise AssertionError(f"{stimulus!r} broke: {'; '.join(broken)}")

    def _follow_up(self, actor: Actor, events: Sequence[Event], owed: Sequence[OwedEffect]) -> None:
        self.bus.publish(events)
        actor.changed()
        for effect in owed:
            self.drive(actor, effect)

    def drive(self, actor: Actor, effect: OwedEffect, *, was_cut_off: bool = False) -> None:
        """Let an owed effect run; at start-up those that a crash cut off."""
        assert self._group is not None, "start() comes first"
        tasks.start(self._group, "an effect", partial(self._perform, actor, effect, was_cut_off=was_cut_off))

    # --- smaller doors -------------------------------------------------------------------------------------

    async def record(self, event: NewEvent) -> None:
        """Store an event and tell subscribers. An event that cannot be stored is logged: it stops nothing."""
        now = self.systems.now()
        try:
            seq = await self.systems.store.write(lambda tx: tx.append(event, at=now))
        except EnvmgrError as error:
            log.error(
                "event not stored", extra={"agent": event.agent, "kind": event.kind, "why": error.message}
            )
            return
        self.bus.publish([_numbered(event, seq, now)])

    def take_over(self, record: AgentRecord) -> Actor:
        """Load an agent from the store at start-up."""
        actor = Actor(record.state, record.spec, record.version, record.created_at)
        self._actors[record.state.id] = actor
        return actor

    async def incarnation(self, actor: Actor) -> Incarnation:
        """The present generation, rebuilt from the store when this daemon has not made it itself."""
        async with actor.rebuilding:
            if actor.incarnation is None or actor.incarnation.generation != actor.state.generation:
                actor.incarnation = await rebuild(
                    actor.state,
                    actor.spec,
                    environment=actor.environment,
                    instance=self.instance,
                    layout=self.layout,
                    systems=self.systems,
                    repo=actor.repo,
                )
            return actor.incarnation


def _commit(
    tx: Transaction, decision: Decision, cause: str, now: float
) -> tuple[Sequence[Event], Sequence[OwedEffect]]:
    events = []
    for new in decision.events:
        new = replace(new, cause=cause)
        events.append(_numbered(new, tx.append(new, at=now), now))
    agent = decision.state.id
    owed = [
        OwedEffect(id=tx.owe(agent, effect, cause=cause), agent=agent, effect=effect, cause=cause)
        for effect in decision.effects
    ]
    return events, owed


def _numbered(event: NewEvent, seq: int, at: float) -> Event:
    return Event(
        kind=event.kind,
        agent=event.agent,
        generation=event.generation,
        cause=event.cause,
        data=event.data,
        seq=seq,
        at=at,
    )


def _listed(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
