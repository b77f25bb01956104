"""Change what runs of a running agent: restart units, or bring them to another spec, one change at a time per agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.replicas import differences, expand
from envmgr.core.waves import followers
from envmgr.errors import Conflict, EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.service import ServiceState
from envmgr.model.spec import AgentSpec
from envmgr.runtime import choosing, run_when
from envmgr.runtime.actor import Actor
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.moving import POLICY, Mover
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Done, Moves, as_before, change_key, endings
from envmgr.runtime.supervisor import Supervisor

T = TypeVar("T")


class _Turn(Generic[T]):
    """One change and how it went, for everybody who asked for it."""

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.scope = anyio.CancelScope()
        self.result: list[T] = []
        self.failure: Exception | None = None
        self.is_over = anyio.Event()


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
        self._mover = Mover(supervisor, health, reach=reach)
        self._group = group
        self._waiting: dict[Hashable, _Turn[Any]] = {}  # each key has its own type of result

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

        The same, asked for by many at once, is done once more at most.

        Args:
            with_followers: Whether dependants by edges with `restart` follow.
            environment: Of the person who asks, for secrets.

        Raises:
            NotFound: There is no such service; the hint names those that are.
            Conflict: The agent does not run, or was stopped meanwhile.
        """

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            chosen = choosing.chosen(inc, names)
            for task in (unit.name for unit in inc.services if unit.name in chosen):
                await run_when.forget(inc, task)  # it was asked for: it runs whatever it stands on
            more = followers(inc.services, chosen) if with_followers else frozenset()
            again = tuple(unit.name for unit in inc.services if unit.name in chosen | more)
            return await self._mover.carry_out(actor, inc, None, Moves(restart=again), cause)

        known = frozenset(environment.items()) if environment else None
        key = (actor.state.id, frozenset(names), with_followers, cause, known)
        return await self._alone(actor, act, environment, key=key)

    async def revive(self, actor: Actor, *units: str) -> tuple[Done, ...]:
        """Start units again that ended by themselves, in one move, with their followers; their restart policies have said so.

        Raises:
            Conflict: The agent does not run any more, or somebody has changed the units meanwhile.
        """

        async def act(inc: Incarnation) -> tuple[Done, ...]:
            outcomes = {unit: actor.services.get(unit) for unit in units}
            down = {
                unit
                for unit, outcome in outcomes.items()
                if outcome and outcome.state in (ServiceState.FAILED, ServiceState.DONE)
            }
            if not down:
                raise Conflict(f"{', '.join(units)} is not down any more", hint="Nothing to do.")
            more = followers(inc.services, down)
            again = tuple(one.name for one in inc.services if one.name in down | more)
            return await self._mover.carry_out(actor, inc, None, Moves(restart=again), POLICY)

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
            return await self._mover.carry_out(actor, inc, spec, moves, cause)

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

    async def cut_off(self, actor: Actor) -> Moves | None:
        """At start-up: the change that a crash cut off, to be passed to `finish`; what it has ended is in hand from here on."""
        store = self._supervisor.systems.store
        noted = await store.read(lambda tx: tx.get(change_key(actor.state.id)))
        if noted is None:
            return None
        moves = Moves.from_json(noted)
        actor.in_hand |= moves.touched
        return moves

    def finish(self, actor: Actor, moves: Moves) -> None:
        """It goes on, in the background."""
        tasks.start(self._group, "finishing a change", self._finish, actor, moves)

    async def _finish(self, actor: Actor, moves: Moves) -> None:
        async def act(inc: Incarnation) -> tuple[Done, ...]:
            await claim_ports(inc)
            return await self._mover.move(actor, inc, moves, as_before(inc, moves, None))

        try:
            await self._alone(actor, act, None)
        except Exception as error:
            # Only here: what was moved is let go of by the move, and may be in the hand of the next one by now.
            actor.in_hand -= moves.touched
            self._mover.look_afresh(actor)
            if not isinstance(error, EnvmgrError):
                raise
            text = f"a change of services that was cut off could not be finished: {error.message}"
            await self._tell(actor, "notice", {"text": text})

    # --- one at a time ------------------------------------------------------------------------------------

    async def alone(
        self, actor: Actor, act: Callable[[Incarnation], Awaitable[T]], *, ends_with_asker: bool = False
    ) -> T:
        """Do something else to a running agent that nothing may come between; a stop ends it.

        Args:
            ends_with_asker: Whoever asked and is cancelled takes it along, and goes away when it has ended.

        Raises:
            Conflict: The agent does not run, or was stopped meanwhile.
        """
        return await self._alone(actor, act, None, ends_with_asker=ends_with_asker)

    async def carry_out(
        self, actor: Actor, inc: Incarnation, spec: AgentSpec | None, moves: Moves, *, cause: str
    ) -> tuple[Done, ...]:
        """One change, by somebody who is `alone` with the agent."""
        return await self._mover.carry_out(actor, inc, spec, moves, cause)

    async def _alone(
        self,
        actor: Actor,
        act: Callable[[Incarnation], Awaitable[T]],
        environment: Mapping[str, str] | None,
        *,
        key: Hashable = None,
        ends_with_asker: bool = False,
    ) -> T:
        """Run a change in a task of its own: who asked may go away, and a stop of the agent ends it.

        Args:
            key: Equal keys ask for the same; while none of them has begun they become one.
        """
        turn: _Turn[T] | None = self._waiting.get(key)
        if turn is None:
            turn = _Turn(key)
            if key is not None:
                self._waiting[key] = turn
            tasks.start(self._group, "a change", self._run, actor, act, environment, turn)
        try:
            await turn.is_over.wait()
        except anyio.get_cancelled_exc_class():
            if ends_with_asker:
                turn.scope.cancel()
                with anyio.CancelScope(shield=True):
                    await turn.is_over.wait()
            raise
        if turn.failure is not None:
            raise turn.failure
        if not turn.result:
            self._refuse_unless_running(actor)
            raise Conflict(f"the change of {actor.state.name} was given up", hint="Ask again.")
        return turn.result[0]

    async def _run(
        self,
        actor: Actor,
        act: Callable[[Incarnation], Awaitable[T]],
        environment: Mapping[str, str] | None,
        turn: _Turn[T],
    ) -> None:
        try:
            with turn.scope:
                async with actor.busy:
                    self._waiting.pop(turn.key, None)  # who asks from now on wants another one
                    self._refuse_unless_running(actor)
                    actor.changing = turn.scope  # a stop that comes from here on finds it
                    try:
                        inc = await self._supervisor.incarnation(actor)
                        if environment and not inc.environment:  # as after a restart of the daemon
                            actor.environment = inc.environment = environment
                        turn.result.append(await act(inc))
                    finally:
                        actor.changing = None
        except Exception as error:  # noqa: BLE001  raised again where it was asked for
            turn.failure = error
        finally:
            turn.is_over.set()

    def _refuse_unless_running(self, actor: Actor) -> None:
        state = actor.state
        if actor.restoring:
            raise Conflict(
                f"{state.name} is being brought back after the restart of the machine: it {actor.restoring}",
                hint=f"Wait until it runs: `envmgr show {state.name}`.",
            )
        if not state.is_alive:
            hint = {
                Lifecycle.STOPPED: f"Start it first: `envmgr start {state.name}`.",
                Lifecycle.ERROR: f"See `envmgr why {state.name}`.",
            }
            raise Conflict(
                f"{state.name} is {state.lifecycle.value}; its services change only while it runs",
                hint=hint.get(state.lifecycle, "Wait until it has come to rest."),
            )

    async def _tell(self, actor: Actor, kind: str, data: Mapping[str, object], *, cause: str = "") -> None:
        state = actor.state
        event = NewEvent(kind=kind, agent=state.id, generation=state.generation, cause=cause, data=data)
        await self._supervisor.record(event)
