"""Start an agent's services in dependency order and tell when each is ready, done or failed."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

import anyio

from envmgr.core.counting import counted
from envmgr.core.hysteresis import Streak
from envmgr.core.replicas import FRONTS
from envmgr.core.waiting import settled
from envmgr.errors import EnvmgrError, PortTaken, Unavailable
from envmgr.model.probe import Readiness, Startup
from envmgr.model.service import Condition, Dependency, ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held
from envmgr.runtime import balancing, notify, outcomes, probes, rendering, run_when, tenancy
from envmgr.runtime.answers import Subject
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports, may_move
from envmgr.runtime.notify import Notified
from envmgr.runtime.outcomes import Outcome, ServiceFailed
from envmgr.runtime.progress import sparing
from envmgr.runtime.runners import Runner, Runners, SharedRunner
from envmgr.runtime.subjects import excerpt, port_thief, subject

_ALIVE_S = 0.25
_CONFLICT_RETRIES = 3
_LENIENCE_S = 30.0
_FIRST_DELAY_S, _SLOPE, _SLOWEST_S = 0.005, 0.04, 0.5

Tell = Callable[[str, ServiceState, str], None]
"""(service, state, detail): progress for people."""


class ServiceRun:
    """One start of some or all units of an incarnation. `start` may be called once."""

    def __init__(
        self,
        inc: Incarnation,
        runners: Runners,
        secrets: Mapping[str, str],
        tell: Tell,
        *,
        standing: Mapping[str, Outcome] | None = None,
    ) -> None:
        """`standing`: how units stand that are not to be started; one that is missing here counts as stopped."""
        self._inc = inc
        self._runners = runners
        self._secrets = secrets
        self._tell = tell
        self._held: dict[str, Held] = {}
        self._launched: dict[str, float] = {}
        self._notified: dict[str, Notified | None] = {}
        self._outcomes: dict[str, Outcome] = dict(standing or {})
        self._changed = anyio.Event()

    async def start(self, only: Collection[str] | None = None) -> Mapping[str, Outcome]:
        """Bring all units up, or just the named ones; returns how each unit of the agent stands.

        Raises:
            ServiceFailed: A required one failed; the message names it, the reason, and the end of its log.
        """
        failures: list[EnvmgrError] = []

        async def run(part: Callable[[], Awaitable[None]]) -> None:
            try:
                await part()
            except EnvmgrError as error:  # raised below: a task group would wrap it
                failures.append(error)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for runner in self._runners.all():
                group.start_soon(run, partial(self._follow, runner))
            await run(partial(self._start_all, only))
        if failures:
            raise failures[0]
        return dict(self._outcomes)

    async def _start_all(self, only: Collection[str] | None) -> None:
        first: list[EnvmgrError] = []

        async def one(service: ServiceSpec) -> None:
            try:
                await self._bring_up(service)
            except EnvmgrError as error:
                await balancing.note(self._inc, service, is_ready=False)
                self._set(service.name, ServiceState.FAILED, error.message)
                if service.critical:
                    first.append(error)
                    group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            chosen = [s for s in self._inc.services if only is None or s.name in only]
            for service in chosen:
                self._outcomes[service.name] = Outcome(state=ServiceState.WAITING)
            for service in chosen:
                group.start_soon(one, service)
        if first:
            raise first[0]

    async def _follow(self, runner: Runner) -> None:
        async for held in runner.changes():
            self._keep(held)
            self._wake()
        raise Unavailable(
            f"the keeper of {self._inc.name} ended while its services started",
            hint=f"Look at {self._inc.home / 'keeper.log'}.",
        )

    def _keep(self, held: Held) -> None:
        """Remember the latest word on a launch; the end of an earlier one may be told after the next began."""
        known = self._held.get(held.service)
        if known is None or held.launch > known.launch or (held.launch == known.launch and known.is_alive):
            self._held[held.service] = held

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _set(self, service: str, state: ServiceState, detail: str = "") -> None:
        self._outcomes[service] = Outcome(state=state, detail=detail)
        self._tell(service, state, detail)
        self._wake()

    async def _bring_up(self, service: ServiceSpec) -> None:
        if service.kind in FRONTS:
            await self._await_instance(service)
        else:
            for edge in service.depends_on:
                await self._await_edge(service, edge)
        self._set(service.name, ServiceState.STARTING)
        for attempt in range(_CONFLICT_RETRIES + 1):
            try:
                await self._launch(service)
                return
            except PortTaken as taken:
                await self._runners.of(service).stop(service.name, grace_s=2.0)
                if attempt == _CONFLICT_RETRIES or not may_move(self._inc, service, taken.port):
                    raise
                await self._move(service, taken)

    async def _await_edge(self, service: ServiceSpec, edge: Dependency) -> None:
        upstream = self._inc.service(edge.service)
        begun_at = time.monotonic()
        while not (outcome := self._settled(edge.condition, upstream)):
            left_s = self._patience(edge, upstream, begun_at)
            if left_s <= 0:
                break
            with anyio.move_on_after(min(left_s, self._until_started(upstream))):
                await self._changed.wait()
        if outcome == "met" or not edge.required:
            return
        if outcome:
            raise ServiceFailed(
                f"{service.name} cannot start: {edge.service} is {self._state(edge.service).value},"
                f" not {edge.condition.value}",
                hint=f"Look at `envmgr why {self._inc.name}`.",
            )
        waited_s = time.monotonic() - begun_at
        raise ServiceFailed(
            f"{service.name} waited {waited_s:.1f} s for {edge.service} to be {edge.condition.value}",
            hint=f"Raise `timeout` of that dependency, or look at the log of {edge.service}.",
        )

    def _patience(self, edge: Dependency, upstream: ServiceSpec, begun_at: float) -> float:
        """Seconds that are left to wait. Without a limit of its own, what comes before the launch is not counted, as a pull."""
        if edge.timeout_s is not None:
            return begun_at + edge.timeout_s - time.monotonic()
        launched_at = self._launched.get(upstream.name, math.inf)
        return launched_at + outcomes.start_deadline(upstream) + _LENIENCE_S - time.monotonic()

    async def _await_instance(self, front: ServiceSpec) -> None:
        """Until one instance is ready, or none can become so; each has a deadline of its own."""
        behind = [self._inc.service(edge.service) for edge in front.depends_on]
        while "met" not in (states := {self._settled(Condition.READY, one) for one in behind}):
            if states == {"failed"}:
                raise ServiceFailed(
                    f"of {counted(len(behind), 'instance')} of {front.name} none is ready",
                    hint=f"Look at `envmgr why {self._inc.name}`.",
                )
            await self._changed.wait()

    def _settled(self, condition: Condition, upstream: ServiceSpec) -> str:
        is_started = not self._until_started(upstream)
        return settled(condition, upstream.kind, self._state(upstream.name), is_started=is_started)

    def _state(self, unit: str) -> ServiceState:
        return self._outcomes[unit].state if unit in self._outcomes else ServiceState.STOPPED

    def _until_started(self, upstream: ServiceSpec) -> float:
        """Seconds until it counts as started: executed, and alive for 250 ms."""
        launched_at = self._launched.get(upstream.name, math.inf)
        return max(0.0, launched_at + _ALIVE_S - time.monotonic())

    async def _launch(self, service: ServiceSpec) -> None:
        if service.kind is ServiceKind.EXTERNAL:
            await self._await_ready(service, None)
            return
        if service.kind is ServiceKind.GROUP:
            self._set(service.name, ServiceState.READY)
            return
        standing = await run_when.look(self._inc, service, self._secrets)
        if standing is not None and standing.skip:
            self._set(service.name, ServiceState.DONE, standing.skip)
            return
        if standing is not None:  # a run that fails half-way may have undone what an earlier one did
            await run_when.forget(self._inc, service.name)
        with notify.listening(self._inc, service) as self._notified[service.name]:
            await self._run(service)
            if service.kind is ServiceKind.TASK:
                await run_when.remember(self._inc, service, self._secrets, standing)
                code = self._held[service.name].exit_code
                self._set(service.name, ServiceState.DONE, f"exited with {code}")

    async def _run(self, service: ServiceSpec) -> None:
        say = sparing(partial(self._tell, service.name, ServiceState.STARTING))
        held = await self._runners.of(service).launch(service, self._secrets, say)
        self._keep(held)
        self._launched[service.name] = time.monotonic()
        self._wake()
        if held.error:
            raise outcomes.unexecuted(service, held)
        if service.kind is ServiceKind.TASK:
            await self._await_task(service)
        else:
            await self._await_ready(service, held)

    async def _await_task(self, service: ServiceSpec) -> None:
        with anyio.move_on_after(service.timeout_s) as allowed:
            while self._held[service.name].is_alive:
                await self._changed.wait()
        held = self._held[service.name]
        if allowed.cancelled_caught:
            await self._runners.of(service).stop(service.name, grace_s=service.stop.grace_s)
            raise outcomes.never_ended(service, await excerpt(held))
        if held.exit_code not in service.success_exit_codes:
            raise outcomes.ended(self._inc.name, service, held, await excerpt(held))

    async def _await_ready(self, service: ServiceSpec, held: Held | None) -> None:
        """Until its probes say so, the one of its startup first; without any, alive for 250 ms."""
        for look in (service.startup, service.ready):
            if look is not None:
                await self._await_probe(service, look, held)
        if service.startup is None and service.ready is None:
            await self._sleep_alive(service, _ALIVE_S, held)
        if held is not None and service.is_shared:
            await tenancy.admit(self._inc, service, self._held[service.name], self._secrets)
        await balancing.note(self._inc, service, is_ready=True)
        self._set(service.name, ServiceState.READY)

    async def _await_probe(self, service: ServiceSpec, look: Startup | Readiness, held: Held | None) -> None:
        started, streak, why = time.monotonic(), Streak(), "no attempt yet"
        slowest_s = look.period_s if isinstance(look, Startup) else _SLOWEST_S
        await self._sleep_alive(service, look.initial_s, held)
        probe = rendering.probe_of(self._inc, service, look.probe, self._secrets)
        while True:
            answer = await probes.look(
                probe, self._subject(service, checks_owner=look.owner), timeout_s=look.timeout_s
            )
            streak = streak.after(is_good=answer.is_ready, up=look.up, down=1)
            if streak.is_up:
                return
            why = answer.why or why
            elapsed = time.monotonic() - started
            if elapsed > look.deadline_s:
                words = await excerpt(self._held.get(service.name))
                raise outcomes.never_ready(self._inc.name, service, look, why, words)
            # 4 % of the time it has taken so far, so that the last look comes soon after it listens
            await self._sleep_alive(service, min(slowest_s, max(_FIRST_DELAY_S, elapsed * _SLOPE)), held)

    async def _sleep_alive(self, service: ServiceSpec, seconds: float, held: Held | None) -> None:
        """Wait, but notice at once when the process ends."""
        with anyio.move_on_after(seconds):
            while held is None or self._held[service.name].is_alive:
                await self._changed.wait()
            taken = await port_thief(self._inc, service, self._subject(service))
            if taken is not None:
                raise taken
            held = self._held[service.name]
            raise outcomes.ended(self._inc.name, service, held, await excerpt(held))

    def _subject(self, service: ServiceSpec, *, checks_owner: bool | None = None) -> Subject:
        held, notified = self._held.get(service.name), self._notified.get(service.name)
        return subject(self._inc, service, held, self._secrets, notified=notified, checks_owner=checks_owner)

    async def _move(self, service: ServiceSpec, taken: PortTaken) -> None:
        """Lease another port in place of one that somebody else took between bind test and bind (R-32)."""
        runner = self._runners.of(service)
        if isinstance(runner, SharedRunner):
            await runner.move(service.name, taken=taken.port)
        else:
            await claim_ports(self._inc, busy={taken.port})
        self._tell(service.name, ServiceState.STARTING, f"{taken.message}; moved to another port")
