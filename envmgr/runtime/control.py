"""Change what runs of a running agent: restart units, or bring them to another spec, one change at a time per agent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from envmgr.core.replicas import differences, expand, members
from envmgr.core.waves import followers
from envmgr.errors import Conflict, EnvmgrError, NotFound
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import restart_history, run_when, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Act, Done, Moves, Settling, as_before, change_key, endings
from envmgr.runtime.steps import shared
from envmgr.runtime.steps.session import show_viewers
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

T = TypeVar("T")

_POLICY = "restart policy"


class Control:
    """All changes go through here; what is begun goes on when the asker has gone away."""

    def __init__(
        self,
        supervisor: Supervisor,
        health: Health,
        group: TaskGroup,
        *,
        reach: Callable[[str], None] = never,
    ) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor = supervisor
        self._health = health
        self._group = group
        self._reach = reach

    async def restart(
        self,
        actor: Actor,
        names: Collection[str],
        *,
        with_followers: bool = True,
        environment: Mapping[str, str] | None = None,
        cause: str = "restart",
    ) -> tuple[Done, ...]:
        """Stop and start units, containers staying the same; a service stands for its instances.

        Args:
            with_followers: Whether dependants by edges with `restart` follow.
            environment: Of the person who asks, for secrets.

        Raises:
            NotFound: There is no such service; the hint names those that are.
            Conflict: The agent does not run, or was stopped meanwhile.
        """

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            chosen = _chosen(inc, names)
            for task in (unit.name for unit in inc.services if unit.name in chosen):
                await run_when.forget(inc, task)  # it was asked for: it runs whatever it stands on
            more = followers(inc.services, chosen) if with_followers else frozenset()
            again = tuple(unit.name for unit in inc.services if unit.name in chosen | more)
            return await self._carry_out(actor, inc, None, Moves(restart=again), cause)

        return await self._alone(actor, act, environment)

    async def revive(self, actor: Actor, unit: str) -> tuple[Done, ...]:
        """Start one unit again that ended by itself, with its followers; its restart policy has said so.

        Raises:
            Conflict: The agent does not run any more, or somebody has changed the unit meanwhile.
        """

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            outcome = actor.services.get(unit)
            if outcome is None or outcome.state not in (ServiceState.FAILED, ServiceState.DONE):
                raise Conflict(f"{unit} is not down any more", hint="Nothing to do.")
            more = followers(inc.services, {unit})
            again = tuple(one.name for one in inc.services if one.name == unit or one.name in more)
            return await self._carry_out(actor, inc, None, Moves(restart=again), _POLICY)

        return await self._alone(actor, act, None)

    async def settle(
        self,
        actor: Actor,
        spec: AgentSpec | None = None,
        *,
        restart: Collection[str] = (),
        recreate: Collection[str] = (),
        expect: AgentSpec | None = None,
        environment: Mapping[str, str] | None = None,
        cause: str = "change",
    ) -> tuple[Done, ...]:
        """Bring what runs to a spec: units it lacks are stopped, new ones started, the listed ones start anew, no others.

        The spec is committed before anything is touched; until then an error leaves all as it was.

        Args:
            spec: None keeps the present one.
            expect: What the agent runs, in the caller's knowledge.
            restart, recreate: Units; dependants are named by the caller. `recreate` makes containers anew.

        Raises:
            Conflict: The agent does not run, was stopped meanwhile, or a port cannot be had.
        """

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            if expect is not None and inc.spec != expect:
                raise Conflict(f"{inc.name} was changed meanwhile", hint="Look again, then repeat it.")
            before = inc.services
            after = expand(spec.services) if spec is not None else before
            gone, come = differences(before, after)
            staying = {unit.name for unit in after} - {*gone, *come}
            moves = Moves(
                gone=endings(before, gone),
                come=come,
                restart=tuple(u.name for u in after if u.name in staying.intersection(restart)),
                recreate=tuple(u.name for u in after if u.name in staying.intersection(recreate)),
            )
            return await self._carry_out(actor, inc, spec, moves, cause)

        return await self._alone(actor, act, environment)

    async def keep(self, actor: Actor, spec: AgentSpec, *, cause: str = "change") -> None:
        """Another spec for an agent of which nothing runs; it counts from the next start on.

        Raises:
            Conflict: It is not stopped.
        """
        async with actor.busy:
            if actor.state.lifecycle not in (Lifecycle.STOPPED, Lifecycle.ERROR) or actor.state.holds:
                raise Conflict(
                    f"{actor.state.name} is not stopped", hint=f"`envmgr stop {actor.state.name}`."
                )
            with anyio.CancelScope(shield=True):
                await self._supervisor.systems.store.write(lambda tx: tx.save_spec(actor.state.id, spec))
                actor.spec = spec
                if actor.incarnation is not None:
                    actor.incarnation.spec = spec
            await self._tell(actor, "change.finished", {"next_start": True}, cause=cause)

    def finish(self, actor: Actor) -> None:
        """At start-up: a change that a crash cut off goes on, in the background."""
        self._group.start_soon(self._finish, actor)

    async def _finish(self, actor: Actor) -> None:
        store = self._supervisor.systems.store
        noted = await store.read(lambda tx: tx.get(change_key(actor.state.id)))
        if noted is None:
            return

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            moves = Moves.from_json(noted)
            await claim_ports(inc)
            return await self._move(actor, inc, moves, as_before(inc, moves, None))

        try:
            await self._alone(actor, act, None)
        except EnvmgrError as error:
            text = f"a change of services that was cut off could not be finished: {error.message}"
            await self._tell(actor, "notice", {"text": text})

    # --- one at a time ------------------------------------------------------------------------------------

    async def _alone(
        self,
        actor: Actor,
        act: Callable[[Incarnation], Awaitable[T]],
        environment: Mapping[str, str] | None,
    ) -> T:
        """Run a change in a task of its own: who asked may go away, and a stop of the agent ends it."""
        result: list[T] = []
        failure: list[BaseException] = []
        is_over = anyio.Event()

        async def run() -> None:
            try:
                async with actor.busy:
                    self._refuse_unless_running(actor)
                    inc = await self._supervisor.incarnation(actor)
                    if environment and not inc.environment:  # as after a restart of the daemon
                        actor.environment = inc.environment = environment
                    with anyio.CancelScope() as actor.changing:
                        result.append(await act(inc))
                    actor.changing = None
            except Exception as error:  # noqa: BLE001  raised again where it was asked for
                failure.append(error)
            finally:
                is_over.set()

        self._group.start_soon(run)
        await is_over.wait()
        if failure:
            raise failure[0]
        if not result:
            self._refuse_unless_running(actor)
            raise Conflict(f"the change of {actor.state.name} was given up", hint="Ask again.")
        return result[0]

    def _refuse_unless_running(self, actor: Actor) -> None:
        state = actor.state
        if state.lifecycle is not Lifecycle.RUNNING:
            hint = {
                Lifecycle.STOPPED: f"Start it first: `envmgr start {state.name}`.",
                Lifecycle.ERROR: f"See `envmgr why {state.name}`.",
            }
            raise Conflict(
                f"{state.name} is {state.lifecycle.value}; its services change only while it runs",
                hint=hint.get(state.lifecycle, "Wait until it has come to rest."),
            )

    # --- commit, then act ---------------------------------------------------------------------------------

    async def _carry_out(
        self, actor: Actor, inc: Incarnation, spec: AgentSpec | None, moves: Moves, cause: str
    ) -> tuple[Done, ...]:
        await inc.secrets()  # a missing one is told before anything is stopped
        before = inc.spec
        if spec is not None:
            await self._lease(inc, spec)
        await self._commit(actor, inc, spec, moves, cause)
        old = as_before(inc, moves, before)
        if spec is not None:
            actor.spec = inc.spec = spec
        done = await self._move(actor, inc, moves, old)
        await self._part(actor, inc, old)
        return done

    async def _part(self, actor: Actor, inc: Incarnation, old: Incarnation) -> None:
        """Leave the shared services that the agent no longer uses."""
        try:
            await shared.leave(old, staying=[s.name for s in sharing.shared_services(inc)])
        except EnvmgrError as error:  # tried again when the agent stops
            await self._tell(actor, "notice", {"text": f"a shared service was not ended: {error.message}"})

    async def _lease(self, inc: Incarnation, spec: AgentSpec) -> None:
        """Ports for new units, before anything else changes."""
        trial = replace(inc, spec=spec, ports=dict(inc.ports))
        try:
            await claim_ports(trial)
            await shared.hold(trial)
        except EnvmgrError:
            kept = set(inc.ports)
            await inc.systems.store.write(partial(_release, agent=inc.id, kept=kept))
            await shared.leave(trial, staying=[s.name for s in sharing.shared_services(inc)])
            raise
        inc.ports.update(trial.ports)

    async def _commit(
        self, actor: Actor, inc: Incarnation, spec: AgentSpec | None, moves: Moves, cause: str
    ) -> None:
        data = {
            "stop": [one.name for one in moves.gone],
            "start": list(moves.come),
            "restart": list(moves.again),
        }
        event = NewEvent(
            kind="change.started", agent=inc.id, generation=inc.generation, cause=cause, data=data
        )

        def change(tx: Transaction) -> None:
            tx.put(change_key(inc.id), moves.to_json())
            if spec is not None:
                tx.save_spec(inc.id, spec)
            for name in moves.again if cause != _POLICY else ():
                restart_history.begin_anew(tx, inc.id, name)

        with anyio.CancelScope(shield=True):
            await inc.systems.store.write(change)
            await self._supervisor.record(event)
        self._reach("change-committed")

    async def _move(self, actor: Actor, inc: Incarnation, moves: Moves, old: Incarnation) -> tuple[Done, ...]:
        actor.in_hand |= moves.touched
        for name in moves.touched & actor.pending.keys():
            actor.pending.pop(name).cancel()
        try:
            settling = Settling(
                actor, inc, moves, self._health, secrets=await inc.secrets(), reach=self._reach
            )
            done = await settling.run(old)
        except Exception:
            self._health.watch(actor, inc)  # whatever went wrong here, what runs is looked at
            raise
        finally:
            actor.in_hand -= moves.touched
        await self._end(actor, inc, done)
        if moves.gone or moves.come:
            await self._view(inc)
        return done

    async def _view(self, inc: Incarnation) -> None:
        try:
            await show_viewers(inc)
        except EnvmgrError as error:  # a convenience
            log.warning("viewers not changed", extra={"agent": inc.id, "why": error.message})

    async def _end(self, actor: Actor, inc: Incarnation, done: Sequence[Done]) -> None:
        """Give back the ports of what is gone, and watch what is there."""
        kept = {(unit.name, port.name) for unit in inc.services for port in unit.ports}
        for key in [key for key in inc.ports if key not in kept]:
            del inc.ports[key]

        def settle(tx: Transaction) -> None:
            _release(tx, agent=inc.id, kept=kept)
            tx.drop(change_key(inc.id))

        self._reach("change-before-end")
        await inc.systems.store.write(settle)
        failed = {one.unit: one.detail for one in done if one.act is Act.FAILED}
        await self._tell(actor, "change.finished", {"failed": failed} if failed else {})
        self._health.watch(actor, inc)

    async def _tell(self, actor: Actor, kind: str, data: Mapping[str, object], *, cause: str = "") -> None:
        state = actor.state
        event = NewEvent(kind=kind, agent=state.id, generation=state.generation, cause=cause, data=data)
        await self._supervisor.record(event)


def _release(tx: Transaction, *, agent: AgentId, kept: Collection[tuple[str, str]]) -> None:
    """Numbers stay remembered, for when the unit comes back."""
    idle = [x for x in tx.leases(agent) if x.held and (x.service, x.name) not in kept]
    tx.save_leases([replace(lease, held=False) for lease in idle])


def _chosen(inc: Incarnation, names: Collection[str]) -> frozenset[str]:
    """Units by the names of services or units; without names everything that runs on and on."""
    units = inc.services
    if not names:
        running = (ServiceKind.PROCESS, ServiceKind.CONTAINER)
        return frozenset(unit.name for unit in units if unit.kind in running and not unit.is_shared)
    found: set[str] = set()
    for name in names:
        these = members(units, name)
        if not these:
            listed = ", ".join(s.name for s in inc.spec.services) or "none"
            raise NotFound(f"{inc.name} has no service {name}", hint=f"Its services are: {listed}.")
        for unit in these:
            _refuse_foreign(inc, unit)
            found.add(unit.name)
    return frozenset(found)


def _refuse_foreign(inc: Incarnation, unit: ServiceSpec) -> None:
    if unit.kind is ServiceKind.EXTERNAL:
        raise Conflict(
            f"{unit.name} is external: {inc.name} only looks at it", hint="Restart it where it runs."
        )
    if unit.is_shared:
        raise Conflict(
            f"{unit.name} is shared by the agents of {inc.spec.repo}",
            hint="It is never restarted for one of them.",
        )
