"""End process services that exceed their limits where the kernel does not (tier C, docs/adr/0027).

A sample is soft: what is exceeded for less than three of them is not seen. Nobody is looked at who has no limits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.observe import Present, ProcessIdentity
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.stimulus import LimitSeen
from envmgr.protocols.keepers import Held, Keeper
from envmgr.protocols.processes import Marks, Usage
from envmgr.runtime import sharing, tiers
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps.assistant import find_pane
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_SAMPLES = 3
_CPU_SLACK = 1.05  # ticks of 10 ms are coarse
_KINDS = (ServiceKind.PROCESS, ServiceKind.TASK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """A launch of a unit that is looked at; without a `service` all of an agent together."""

    actor: Actor
    key: str
    marks: Marks
    service: ServiceSpec | None = None
    keeper: Keeper | None = None


class Guard:
    """Judges all agents at each look of the sampling loop that is due for it.

    Args:
        period_s: Seconds between samples.
    """

    def __init__(self, supervisor: Supervisor, *, period_s: float) -> None:
        self._supervisor = supervisor
        self._systems = supervisor.systems
        self.period_s = period_s
        self._over: dict[tuple[str, str], int] = {}
        self._cpu: dict[str, tuple[float, float]] = {}
        self._told: set[tuple[str, str]] = set()

    async def wards(self) -> Mapping[str, Ward]:
        """Who is to be looked at now, by a key of its own; nobody who has no limits that only the guard sees to."""
        wards: dict[str, Ward] = {}
        for actor in self._supervisor.actors():
            if (actor.state.lifecycle is Lifecycle.SPAWNING or actor.state.is_alive) and actor.incarnation:
                wards |= {ward.key: ward for ward in await self._wards(actor, actor.incarnation)}
        self._forget_others(wards)
        return wards

    async def judge(self, wards: Mapping[str, Ward], used: Mapping[str, Usage]) -> None:
        """What they were seen to use just now."""
        for key, ward in wards.items():
            try:
                await self._judge(ward, used[key])
            except EnvmgrError as error:  # the others still count
                log.warning("limit not enforced", extra={"unit": key, "why": error.message})

    def _forget_others(self, wards: Mapping[str, Ward]) -> None:
        self._over = {at: times for at, times in self._over.items() if at[0] in wards}
        self._cpu = {key: seen for key, seen in self._cpu.items() if key in wards}
        self._told = {at for at in self._told if at[0] in wards}

    # --- who is looked at ----------------------------------------------------------------------------------------

    async def _wards(self, actor: Actor, inc: Incarnation) -> Sequence[Ward]:
        found: list[Ward] = []
        is_limited = inc.spec.limits.memory_bytes is not None
        own = [s for s in inc.services if s.kind in _KINDS and s.container is None and not s.is_shared]
        if is_limited or any(tiers.needs_guard(s, self._systems.scopes) for s in own):
            held, keeper = await self._held(inc)
            found += [
                self._ward(actor, inc, s, held[s.name], keeper) for s in own if self._is_guarded(s, held)
            ]
            if is_limited:
                roots = [one.identity for one in held.values() if one.is_alive and one.identity]
                found.append(await self._whole(actor, inc, roots))
        for service in sharing.shared_services(inc):
            if service.container is None and tiers.needs_guard(service, self._systems.scopes):
                common = sharing.common(inc, service)
                held, keeper = await self._held(common)
                if self._is_guarded(service, held):
                    found.append(self._ward(actor, common, service, held[service.name], keeper))
        return found

    async def _held(self, inc: Incarnation) -> tuple[Mapping[str, Held], Keeper | None]:
        match await self._systems.keepers.find(inc.home, owner=inc.tag):
            case Present(keeper):
                return await keeper.status(), keeper
        return {}, None

    def _is_guarded(self, service: ServiceSpec, held: Mapping[str, Held]) -> bool:
        one = held.get(service.name)
        is_alive = one is not None and one.is_alive and one.identity is not None
        return is_alive and tiers.needs_guard(service, self._systems.scopes)

    def _ward(
        self, actor: Actor, inc: Incarnation, service: ServiceSpec, held: Held, keeper: Keeper | None
    ) -> Ward:
        assert held.identity is not None, "it is alive"
        return Ward(
            actor=actor,
            key=f"{inc.id}/{inc.generation}/{service.name}/{held.launch}",
            marks=inc.marks(held.identity, part=f"service:{service.name}"),
            service=service,
            keeper=keeper,
        )

    async def _whole(self, actor: Actor, inc: Incarnation, roots: list[ProcessIdentity]) -> Ward:
        """With the assistant, and with containers as far as their processes can be seen from here."""
        pane = await find_pane(inc)
        pids = [pane.pid] if pane is not None and not pane.dead else []
        if self._systems.watch is not None:
            pids += [container.pid for container in self._systems.watch.of(inc.id) if container.pid]
        more = [identity for pid in pids if (identity := await inc.identify(pid)) is not None]
        return Ward(actor=actor, key=f"{inc.id}/{inc.generation}", marks=inc.marks(*roots, *more))

    # --- what is done about it -----------------------------------------------------------------------------------

    async def _judge(self, ward: Ward, used: Usage) -> None:
        if ward.service is None:
            await self._judge_agent(ward, used)
            return
        if ward.service.name in ward.actor.in_hand:
            return
        for name, words in await self._exceeded(ward, ward.service, used):
            if name == "cpus":
                await self._remark(ward, f"{ward.service.name}.cpus", words)
            elif self._counts(ward, name, is_over=bool(words)):
                await self._end(ward, f"over its {name} limit: {words} (guard)")
                return

    async def _exceeded(self, ward: Ward, service: ServiceSpec, used: Usage) -> Sequence[tuple[str, str]]:
        """(limit, how it is exceeded; empty when it is not)."""
        limits, found = service.limits, []
        if limits.memory_bytes is not None:
            found.append(("memory", await self._memory(used, limits.memory_bytes)))
        if limits.pids is not None:
            found.append(("pids", f"{used.tasks} of {limits.pids}" if used.tasks > limits.pids else ""))
        if limits.cpus is not None:
            rate = self._rate(ward.key, used.cpu_s)
            is_over = rate > limits.cpus * _CPU_SLACK
            found.append(("cpus", f"uses {rate:.1f} of {limits.cpus:g} processors" if is_over else ""))
        return found

    async def _memory(self, used: Usage, limit: int) -> str:
        """What processes share counts once: exactly, but only when the cheap sum says that it may matter."""
        if used.resident_bytes <= limit:
            return ""
        exact = await self._systems.processes.memory(used.pids)
        return f"{tiers.megabytes(exact)} of {tiers.megabytes(limit)}" if exact > limit else ""

    def _rate(self, key: str, cpu_s: float) -> float:
        now = time.monotonic()
        before = self._cpu.get(key)
        self._cpu[key] = (now, cpu_s)
        return 0.0 if before is None or now <= before[0] else (cpu_s - before[1]) / (now - before[0])

    def _counts(self, ward: Ward, name: str, *, is_over: bool) -> bool:
        """Whether it has been so for three samples in a row."""
        at = (ward.key, name)
        self._over[at] = self._over.get(at, 0) + 1 if is_over else 0
        return self._over[at] >= _SAMPLES

    async def _end(self, ward: Ward, words: str) -> None:
        """As the kernel would: at once. Health hears of the end from the keeper, with these words."""
        assert ward.service is not None
        assert ward.keeper is not None, "who holds it was found with it"
        await self._record(ward, {"subject": ward.service.name, "reason": words})
        await ward.keeper.stop(ward.service.name, signal="SIGKILL", grace_s=0.0, over_limit=words)

    async def _record(self, ward: Ward, data: Mapping[str, object]) -> None:
        state = ward.actor.state
        event = NewEvent(kind="limit.exceeded", agent=state.id, generation=state.generation, data=data)
        await self._supervisor.record(event)

    async def _judge_agent(self, ward: Ward, used: Usage) -> None:
        limit = ward.actor.spec.limits.memory_bytes
        words = await self._memory(used, limit) if limit is not None else ""
        await self._remark(ward, "memory", f"uses {words}" if words else "")

    async def _remark(self, ward: Ward, subject: str, words: str) -> None:
        """Told once when it has been so for three samples, and once when it is over for as long."""
        at, under = (ward.key, subject), f"not {subject}"
        is_known = at in self._told
        is_over, is_under = (
            self._counts(ward, subject, is_over=bool(words)),
            self._counts(ward, under, is_over=not words),
        )
        if is_over and not is_known:
            self._told.add(at)
            await self._say(ward, subject, words)
        elif is_under and is_known:
            self._told.discard(at)
            await self._say(ward, subject, "")

    async def _say(self, ward: Ward, subject: str, reason: str) -> None:
        fact = LimitSeen(generation=ward.actor.state.generation, subject=subject, reason=reason)
        await self._supervisor.apply(ward.actor, fact)
